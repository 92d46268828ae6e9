"""What a run may spend, and the settings that have no place in a call's arguments."""

from __future__ import annotations

import math
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
    max_width: int = 64
    """Model calls of this run in flight at once."""
    cell_seconds: float = 120.0
    """Seconds that one cell may compute; the clock stops while it waits for host calls."""
    call_seconds: float = 600.0
    """Seconds that one model call may take, all its attempts and waits included."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{name} must be a number, not {value!r}")
            if math.isnan(value) or value <= 0:
                raise ConfigError(f"{name} must be above 0, not {value!r}")
        if self.max_depth != 1:
            raise ConfigError("max_depth can only be 1 in this version: sub-calls are plain calls")


def runs_folder(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Where runs are kept: the argument, else ``ABYME_RUNS``, else the user's data directory."""
    if explicit is not None:
        return Path(explicit).expanduser()
    if configured := os.environ.get("ABYME_RUNS"):
        return Path(configured).expanduser()
    import platformdirs  # 40 ms, and needed only here

    return Path(platformdirs.user_data_dir("abyme", appauthor=False)) / "runs"
