"""What is said before a run: what takes part in it without having been asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from abyme.cli.model_choice import Choice
from abyme.cli.text import child_flag
from abyme.config import Limits, children_above
from abyme.models.quoting import scrub, shorten
from abyme.settings import Loaded
from abyme.settings_file import FILE_NAME
from abyme.settings_values import LIMITS, as_toml

_FOLDER = f"./{FILE_NAME}"
_SHOWN = 80
"""Characters of one value: a stranger's list of patterns must not push the rest out of sight."""


def preface(settings: Loaded, choice: Choice, *, quiet: bool) -> Iterator[str]:
    """The lines. That a folder's file decides who is asked or what is spent is never left out."""
    if not quiet:
        if choice.note:
            yield choice.note
        for variable, meant in settings.unknown.items():
            yield f"{variable} means nothing" + (f": did you mean {meant}?" if meant else "")
        yield from _idle(settings)
    names = _of_folder(settings, choice)
    clauses = [f"sets {', '.join(_setting(settings, name) for name in names)}"] if names else []
    clauses += _refusal(settings)
    decides = {"model", "sub_model", "child_model", *LIMITS}.intersection(names)
    if clauses and (decides or not quiet):
        yield f"{_FOLDER} {'; it '.join(clauses)}"


def _idle(settings: Loaded) -> Iterator[str]:
    """What was asked of children, where there are none."""
    origins = (origin for name, origin in settings.origins.items() if name.startswith("child"))
    flags = [origin for origin in origins if origin.startswith("--")]
    if flags and settings.settings.limits.max_depth == 1:
        yield f"there are no children below --max-depth 2: {', '.join(flags)} does nothing"


def _of_folder(settings: Loaded, choice: Choice) -> list[str]:
    """What the folder's file has set and that counts: models first, patterns last."""
    order = ["model", "sub_model", "child_model", *LIMITS]
    found = [name for name, origin in settings.origins.items() if origin == _FOLDER]
    if not choice.sub_model and "sub_model" in found:
        found.remove("sub_model")  # a model that asks nobody took it away
    if not choice.child_models and "child_model" in found:
        found.remove("child_model")
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def _setting(settings: Loaded, name: str) -> str:
    values = settings.settings
    value = getattr(values.limits if name in LIMITS else values, name)
    return f"{name} = {shorten(scrub(as_toml(value)), _SHOWN)}"


def _refusal(settings: Loaded) -> list[str]:
    """That the folder's file asks for more than the user allows, and what would allow it."""
    asked = settings.unheeded
    if not asked:
        return []
    wanted = " and ".join(f"{name} = {as_toml(value)}" for name, value in asked.items())
    limits = settings.settings.limits
    own = " and ".join(as_toml(getattr(limits, name)) for name in asked)
    flags = " ".join(_flags(name, value, limits) for name, value in asked.items())
    return [f"asks for {wanted}, more than your own {own}: give {flags} to allow it"]


def _flags(name: str, value: Any, own: Limits) -> str:
    """What allows ``value`` for the limit ``name``."""
    if name == "children":
        above = children_above(value, own)
        return " ".join(f"{child_flag(each)} {_typed(most)}" for each, most in above.items())
    return f"--{name.replace('_', '-')} {_typed(value)}"


def _typed(value: object) -> str:
    return as_toml(value).strip('"')
