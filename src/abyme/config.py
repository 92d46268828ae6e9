"""What a run may spend, and the settings that have no place in a call's arguments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from abyme.errors import ConfigError

MOST_DEPTH = 8
"""``max_depth`` at most."""


class ChildLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one child may spend, itself and all below it, of what its parent has left.

    ``None``: all that the parent has left.
    """

    max_turns: int = 15
    """Replies of the child that are followed by running code."""
    max_calls: int | None = None
    max_tokens: int | None = None
    """Input and output tokens together."""
    max_cost: float | None = None
    """US dollars."""
    max_seconds: float | None = None
    """From its start to its answer."""

    def __post_init__(self) -> None:
        _check(self, self.__struct_fields__)


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one run may spend, over its whole tree. ``None`` means: no limit of this kind."""

    max_turns: int = 30
    """Replies of the root that are followed by running code."""
    max_calls: int | None = 1000
    """Model calls, the root's own included."""
    max_tokens: int | None = None
    """Input and output tokens together."""
    max_input_tokens: int | None = None
    """Input tokens alone."""
    max_output_tokens: int | None = None
    """Output tokens alone."""
    max_cost: float | None = 5.0
    """US dollars. Binds only where the prices of the models are known."""
    max_seconds: float | None = 1800.0
    """Wall-clock seconds from the start of the run to its answer."""
    max_depth: int = 1
    """1: sub-calls are plain model calls. 2: they may be children with a REPL of their own, whose
    sub-calls are plain; and so on."""
    max_width: int | None = None
    """Model calls of this run in flight at once, from the start. None: as many as the endpoint
    bears, found out by beginning with 16."""
    cell_seconds: float = 120.0
    """Seconds that one cell may compute; the clock stops while it waits for host calls."""
    call_seconds: float = 600.0
    """Seconds that one model call may take, all its attempts and waits included."""
    children: tuple[ChildLimits, ...] = ()
    """What a child may spend: the first entry is for the root's children, the second for theirs;
    the last holds for all below. Empty: as :class:`ChildLimits` has it by default."""

    def __post_init__(self) -> None:
        _check(self, NUMBERS)
        if problem := children_problem(self.children):
            raise ConfigError(f"children {problem}")

    def at_depth(self, depth: int) -> Limits:
        """The limits of a node ``depth`` levels below the root; these for 0.

        They are its own: what its parents have left binds beside them.
        """
        if depth == 0:
            return self
        entries = self.children or (ChildLimits(),)
        own = msgspec.structs.asdict(entries[min(depth, len(entries)) - 1])
        return msgspec.structs.replace(self, max_input_tokens=None, max_output_tokens=None, **own)

    @property
    def most_at_once(self) -> int:
        """The most model calls that can ever be in flight at once."""
        return self.max_width or WIDEST


NUMBERS = tuple(name for name in Limits.__struct_fields__ if name != "children")
"""The limits that are one number each."""
WIDEST = 1024
"""Calls that are in flight at one endpoint at the very most, unless ``max_width`` says more."""
OPTIONAL = (
    "max_calls", "max_tokens", "max_input_tokens", "max_output_tokens", "max_cost", "max_seconds",
    "max_width",
)  # fmt: skip
"""Limits that a run can do without."""
_FRACTIONS = frozenset({"max_cost", "max_seconds", "cell_seconds", "call_seconds"})
_MOST = 10**15


def limit_problem(name: str, value: object, no_limit: str = "None") -> str:
    """What is wrong with ``value`` as the limit ``name``, to be said behind that; "" if nothing.

    ``no_limit``: how whoever set it writes that there is none.
    """
    optional = name in OPTIONAL
    if value is None and optional:
        return ""
    number = "a number" if name in _FRACTIONS else "a whole number"
    kinds = int | float if name in _FRACTIONS else int
    if isinstance(value, bool) or not isinstance(value, kinds):
        return f"must be {number}{f' or {no_limit}' if optional else ''}, not {value!r}"
    if not value > 0:  # nan is not
        return f"must be above 0, not {value!r}"
    if value > _MOST:
        return f"must be at most {_MOST:,}" + (f"; {no_limit} is no limit" if optional else "")
    if name == "max_calls" and value == 1:
        return "must be at least 2: one call is kept for the last answer"
    if name == "max_depth" and value > MOST_DEPTH:
        return f"must be at most {MOST_DEPTH}"
    return ""


def children_problem(value: object) -> str:
    """What is wrong with ``value`` as the limits of children; "" if nothing."""
    if not isinstance(value, tuple) or not all(isinstance(each, ChildLimits) for each in value):
        return "must be a tuple of ChildLimits"
    if len(value) > MOST_DEPTH:
        return f"must be at most {MOST_DEPTH}, one for each depth"
    return ""


def children_above(children: tuple[ChildLimits, ...], own: Limits) -> dict[str, Any]:
    """The fields in which ``children`` allow more than ``own`` limits do, each with the most asked.

    None is no limit.
    """
    asked_limits = msgspec.structs.replace(own, children=children)
    above: dict[str, Any] = {}
    for depth in range(1, max(len(children), len(own.children)) + 1):
        asked, allowed = asked_limits.at_depth(depth), own.at_depth(depth)
        for name in ChildLimits.__struct_fields__:
            value, most = getattr(asked, name), getattr(allowed, name)
            if is_above(value, most) and is_above(value, above.get(name, most)):
                above[name] = value
    return above


def is_above(limit: float | None, own: float | None) -> bool:
    """Whether a limit allows more than ``own``; None is no limit."""
    return own is not None and (limit is None or limit > own)


def _check(limits: Limits | ChildLimits, names: tuple[str, ...]) -> None:
    for name in names:
        if problem := limit_problem(name, getattr(limits, name)):
            raise ConfigError(f"{name} {problem}")


def runs_folder(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Where runs are kept: the argument, else ``ABYME_RUNS``, else the user's data directory.

    Raises :class:`ConfigError` for the home of a user who does not exist.
    """
    named = explicit if explicit is not None else os.environ.get("ABYME_RUNS")
    if named:
        try:
            return Path(named).expanduser()
        except RuntimeError as error:
            raise ConfigError(f"the folder for runs, {named}: {error}") from None
    import platformdirs  # 40 ms, and needed only here

    return Path(platformdirs.user_data_dir("abyme", appauthor=False)) / "runs"
