"""Write the events into docs/journal.md: ``python scripts/make_journal_docs.py``.

The events are dataclasses with docstrings; what the page says of one is what stands there, and what
becomes of a field in a journal without texts is the rule that the writer goes by.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
import typing
from pathlib import Path

import msgspec

PAGE = Path(__file__).resolve().parents[1] / "docs" / "journal.md"
_MARK = "<!-- made by scripts/make_journal_docs.py -->\n"
_RULES = {
    "_keep": "kept",
    "_text": "hash",
    "_texts": "hash of each",
    "_value": "hash of its JSON",
    "_values": "hash of each value's JSON",
    "_kind": "hash, but for types of Python and Abyme",
}
_ROLE = re.compile(r":\w+:`~?([^`]*)`")


def page() -> str:
    """The whole page, its tables made anew."""
    return PAGE.read_text(encoding="utf-8").partition(_MARK)[0] + _MARK + tables()


def tables() -> str:
    """A section for each event, then one for each value in them."""
    from abyme import events, types
    from abyme.journal.redaction import FIELDS

    kinds = typing.get_args(events.JOURNALLED)
    values = [kind for kind in FIELDS if kind not in kinds]
    parts = [_section(kind) for kind in kinds]
    parts.append("\n## Values in events\n")
    parts += [_section(events.Terms)]
    parts += [_section(kind) for kind in [*values, types.Usage] if kind is not events.Terms]
    return "".join(parts)


def _section(kind: type[msgspec.Struct]) -> str:
    from abyme.journal.redaction import FIELDS

    rules = FIELDS.get(kind, {})
    notes = _notes(kind)
    lines = [f"\n### {kind.__name__}\n", f"\n{_plain(inspect.getdoc(kind) or '')}\n"]
    fields = msgspec.structs.fields(kind)
    if fields:
        lines.append("\n| field | type | default | without texts | |\n|---|---|---|---|---|\n")
    for field in fields:
        rule = rules.get(field.name)
        name = "kept" if rule is None else _RULES.get(rule.__name__, "as below")
        cells = (
            f"`{field.name}`",
            f"`{_type(kind.__annotations__[field.name])}`",
            _default(field),
            name,
            notes.get(field.name, ""),
        )
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def _type(name: str) -> str:
    """A type as the source has it; of a choice between words, the words."""
    from abyme import events, types

    choice = getattr(events, name, getattr(types, name, None))
    words = [json.dumps(word) for word in typing.get_args(choice)]
    if name.startswith("Literal["):
        words = name.removeprefix("Literal[").removesuffix("]").replace("'", '"').split(", ")
    return " or ".join(words) if words else name.replace(" | ", " or ")


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "always there"
    made = field.default_factory is not msgspec.NODEFAULT
    value = field.default_factory() if made else field.default
    shown = msgspec.json.encode(value).decode()
    return f"`{shown}`"


def _notes(kind: type[msgspec.Struct]) -> dict[str, str]:
    """What stands beneath a field in the source."""
    found: dict[str, str] = {}
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    field = ""
    for statement in body.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            field = statement.target.id
        elif field and isinstance(statement, ast.Expr):
            assert isinstance(statement.value, ast.Constant)
            found[field] = _plain(inspect.cleandoc(str(statement.value.value))).replace("\n", " ")
            field = ""
    return found


def _plain(text: str) -> str:
    """A docstring as Markdown."""
    text = _ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", text)
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
