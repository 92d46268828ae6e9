"""What a run may spend, and the settings that have no place in a call's arguments."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from abyme.errors import ConfigError


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one run may spend, over its whole tree. ``None`` means: no limit of this kind."""

    max_turns: int = 30
    """Replies of the root that are followed by running code."""
    max_calls: int | None = 1000
    """Model calls, the root's own included."""
    max_tokens: int | None = None
    """Input and output tokens together."""
    max_cost: float | None = 5.0
    """US dollars. Binds only where the prices of the models are known."""
    max_seconds: float | None = 1800.0
    """Wall-clock seconds from the start of the run to its answer."""
    max_depth: int = 1
    """1: sub-calls are plain model calls. Children with a REPL of their own are not built yet."""
    max_width: int | None = None
    """Model calls of this run in flight at once, from the start. None: as many as the endpoint
    bears, found out by beginning with 16."""
    cell_seconds: float = 120.0
    """Seconds that one cell may compute; the clock stops while it waits for host calls."""
    call_seconds: float = 600.0
    """Seconds that one model call may take, all its attempts and waits included."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if problem := limit_problem(name, getattr(self, name)):
                raise ConfigError(f"{name} {problem}")

    @property
    def most_at_once(self) -> int:
        """The most model calls that can ever be in flight at once."""
        return self.max_width or WIDEST


WIDEST = 1024
"""Calls that are in flight at one endpoint at the very most, unless ``max_width`` says more."""
OPTIONAL = ("max_calls", "max_tokens", "max_cost", "max_seconds", "max_width")
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
    if name == "max_depth" and value != 1:
        return "can only be 1 in this version: sub-calls are plain calls"
    return ""


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
