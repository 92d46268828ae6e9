"""The command that goes on with a run as it was: what is printed has to do the same again.

A run that lies in the user's folder of runs, or is known by its seal, has its terms in its journal.
Of any other, what was given on the command line has to be given again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from abyme.cli.model_choice import Choice
from abyme.cli.text import limit_met, raised
from abyme.config import ChildLimits, Limits
from abyme.errors import ConfigError
from abyme.events import NodeStarted, Terms
from abyme.journal.reader import Record
from abyme.journal.seal import has_seal
from abyme.models.prices import price_of
from abyme.models.quoting import public_url
from abyme.models.registry import OPENAI_URL
from abyme.recorded import child_price_of, is_nameable, is_on_this_machine
from abyme.settings import Loaded
from abyme.settings_values import CHILD, LIMITS, NO_LIMIT, PRICES
from abyme.types import Answer


def command_to_go_on(answer: Answer, loaded: Loaded, choice: Choice, *, unsafe_local: bool) -> str:
    """The command that goes on with a run which a limit, an interruption or a failure ended.

    ``loaded``: the settings that it was asked with.
    """
    words = ["abyme resume", answer.run]
    settings = loaded.settings
    if name := limit_met(answer.reason):
        words.append(raised(name, getattr(settings.limits, name)))
    if "--accept-different" in answer.reason:
        words.append("--accept-different")
    if not is_nameable(choice.model):
        words.append(_flag("model", choice.model))
    url = choice.base_url if loaded.origin("base_url") == "--base-url" else None
    if url and (choice.key_from or not is_on_this_machine(url)):  # a key needs it named again
        words.append(_flag("base_url", public_url(url)))
    if settings.runs and loaded.origin("runs") == "--runs":
        words.append(_flag("runs", settings.runs))
        if not has_seal(Path(settings.runs).expanduser() / answer.run):
            words += _given(loaded, but=name)
    if unsafe_local:
        words.append("--unsafe-local")
    return " ".join(words)


def check_as_it_was(
    records: Sequence[Record],
    terms: Terms,
    recorded: Limits,
    now: Loaded,
    run: str,
    given: Mapping[str, Any],
) -> None:
    """Raise :class:`ConfigError` where a run could only be resumed as another one.

    For one that is not known to be the user's, so that they get what they do not name from their
    own settings: ``now``; ``recorded`` are its own limits. Less depth would leave children that
    were paid for, and make others of its calls; without prices its limit of cost would not bind.
    The message has the whole command: of ``run`` and what was ``given``, by names of settings.
    """
    limits, reasons, flags = now.settings.limits, [], []
    named = {name for name, value in given.items() if value}
    has_children = any(isinstance(r.event, NodeStarted) and r.event.depth for r in records)
    if has_children and "max_depth" not in named and limits.max_depth < recorded.max_depth:
        reasons.append(
            f"its depth of {recorded.max_depth} does not count, so it would leave its children"
        )
        flags.append(_flag("max_depth", recorded.max_depth))
    prices = list(_prices(terms, named, now.settings.base_url or OPENAI_URL))
    if prices and limits.max_cost is not None and "max_cost" not in named:
        reasons.append(f"its prices do not count, so ${limits.max_cost:g} would not bind")
        flags += prices
    if reasons:
        again = [_flag(name, given[name]) for name in sorted(named)]
        command = " ".join(["abyme resume", shlex.quote(run), *again, *flags])
        raise ConfigError(
            f"this run is not known to be yours: {', and '.join(reasons)}; {command} goes on as it "
            "was"
        )


def _prices(terms: Terms, named: set[str], url: str) -> Iterator[str]:
    """Flags for the prices that only the journal has."""
    models = [("price", terms.model)]
    if terms.sub_model != terms.model:
        models.append(("sub_price", terms.sub_model))
    found = {flag: (model, terms.prices.get(model)) for flag, model in models}
    others = [m for m in terms.child_models if m not in (terms.model, terms.sub_model)]
    if others:
        found["child_price"] = (others[0], child_price_of(terms))
    for flag, (model, pair) in found.items():
        replaced = flag in named or flag.replace("price", "model") in named
        if pair is not None and not replaced and price_of(model, url) is None:
            yield _flag(flag, pair)


def _given(loaded: Loaded, but: str) -> Iterator[str]:
    """What the command line said of prices and limits; of the limit ``but`` something else is."""
    settings = loaded.settings
    for name in (*PRICES, *LIMITS):
        if name == but or not loaded.origin(name).startswith("--"):
            continue
        if name == "children":
            yield from _children(settings.limits.children)
        else:
            values = settings if name in PRICES else settings.limits
            yield _flag(name, getattr(values, name))


def _children(children: Sequence[ChildLimits]) -> Iterator[str]:
    """Flags say the same of all depths."""
    for flag, name in CHILD.items():
        value = getattr(children[0], name) if children else None
        if value != getattr(ChildLimits(), name):
            yield _flag(flag, value)


def _flag(name: str, value: Any) -> str:
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return " ".join(_flag(name, each) for each in value)
    if isinstance(value, tuple):
        return f"{option} {','.join(map(_number, value))}"
    if value is None:
        return f"{option} {NO_LIMIT}"
    return f"{option} {shlex.quote(value) if isinstance(value, str) else _number(value)}"


def _number(value: float) -> str:
    return f"{value:.15g}"
