"""``abyme doctor``: what is set up here, whether a run could be made, and what to do next.

Nothing is sent but to the local servers that are looked for, unless ``--check`` is given. No
character of any key is shown.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from abyme.cli.doctor import diagnosis
from abyme.cli.doctor.diagnosis import OK, PROBLEM, WARNING, Item, ModelFound
from abyme.cli.model_choice import SUGGESTED, looked_at
from abyme.errors import ConfigError
from abyme.models.local import KNOWN, LocalServer, find_local
from abyme.settings import Loaded, load_settings

_COLUMNS = 80
_NAME = 16
_MARKS = {OK: " ", WARNING: "!", PROBLEM: "✗"}


class Section(NamedTuple):
    """What was found out about one thing."""

    name: str
    items: Sequence[Item]


class Report(NamedTuple):
    """All that was found out."""

    sections: Sequence[Section]
    next: Sequence[str]
    """One to three things to do."""

    @property
    def ready(self) -> bool:
        """Whether a run could be made."""
        return all(item.state != PROBLEM for part in self.sections for item in part.items)


def run(
    environ: Mapping[str, str], folder: Path, *, as_json: bool = False, check: bool = False
) -> tuple[str, int]:
    """The text to print, and the exit code: 0 where a run could be made, else 1."""
    report = examine(environ, folder, check=check)
    return (as_data(report) if as_json else as_text(report)), 0 if report.ready else 1


def examine(environ: Mapping[str, str], folder: Path, *, check: bool = False) -> Report:
    """Look at everything. ``check``: ask the configured endpoint for its list of models, too."""
    broken = ""
    try:
        loaded = load_settings(environ, folder)
    except ConfigError as error:
        loaded, broken = Loaded(), str(error)
    asked = () if broken else looked_at(loaded)
    servers = find_local(asked)
    model = ModelFound([], None)
    if not broken:
        model = diagnosis.model(loaded, environ, servers, check=check)
    sections = [
        Section("versions", diagnosis.versions()),
        Section("configuration", diagnosis.configuration(loaded, environ, broken)),
        Section("model", model.items),
        Section("local servers", [] if broken else diagnosis.local_servers(asked, servers)),
        Section("sandbox", diagnosis.sandbox(loaded)),
        Section("runs", diagnosis.runs(loaded)),
    ]
    problems = [item for part in sections for item in part.items if item.state == PROBLEM]
    steps = [f"put this right: {item.name}: {item.text}" for item in problems]
    if not broken:
        steps += _next_steps(loaded, environ, servers, model)
    return Report(sections, steps[:3])


def _next_steps(
    loaded: Loaded,
    environ: Mapping[str, str],
    servers: Sequence[LocalServer],
    model: ModelFound,
) -> list[str]:
    """What could be done, the most useful first."""
    steps = []
    choice = model.choice
    if choice is not None and not choice.note and model.priced:
        steps.append('ask: abyme ask "What is this about?" FILES…')
    if choice is not None and choice.model == "reader":
        if servers:
            ollama = servers[0].name == KNOWN[11434]
            how = "ollama pull qwen3:8b" if ollama else "see its manual"
            steps.append(f"give {servers[0].name} a model: {how}")
        if environ.get("OPENAI_API_KEY", "").strip():
            steps.append(f"use the key that is set: abyme ask … --model {SUGGESTED}")
        else:
            steps.append(
                "for answers by a language model start a local server (Ollama, LM Studio, "
                f"llama.cpp, vLLM), or set OPENAI_API_KEY and give --model {SUGGESTED}"
            )
    elif choice is not None and choice.note:
        name = choice.model.removeprefix("openai:")
        steps.append(f"to keep to this model whatever else is found: export ABYME_MODEL={name}")
    if not model.priced:
        steps.append(
            'say what the model costs: --price IN,OUT, or price = "0,0" in your own file where '
            "it is free"
        )
    if not loaded.files:
        steps.append("abyme init writes an abyme.toml with all that can be set")
    return steps or ["settle which model to use: --model NAME, or abyme doctor --check"]


def as_text(report: Report) -> str:
    """The report for people: aligned, in 80 columns, problems marked."""
    lines: list[str] = []
    for section in report.sections:
        if section.items:
            lines += [section.name, *(line for item in section.items for line in _lines(item)), ""]
    lines.append("next:")
    for number, step in enumerate(report.next, 1):
        lines += _wrapped(step, f"  {number}. ", "     ")
    return "\n".join(lines)


def as_data(report: Report) -> str:
    """The report as JSON."""
    data = {
        "ready": report.ready,
        **{
            section.name.replace(" ", "_"): [item._asdict() for item in section.items]
            for section in report.sections
        },
        "next": list(report.next),
    }
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()


def _lines(item: Item) -> list[str]:
    said = f"{item.state}: {item.text}" if item.state != OK else item.text
    head = f"  {_MARKS[item.state]} {item.name:<{_NAME}}"
    if len(item.name) >= _NAME:
        return [head, *_wrapped(said, " " * (4 + _NAME), " " * (4 + _NAME))]
    return _wrapped(said, head, " " * (4 + _NAME))


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    """``text`` in lines; a path or an address is never broken."""
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
