"""Abyme: ask anything of data far larger than a model's window.

    from abyme import RLM
    answer = RLM("openai:gpt-5-mini").completion("Who signed first?", Path("contracts"))

The names below are all that is public; everything else may change between versions. They are
imported when first used, so that ``abyme --help`` and an early Ctrl-C need not wait for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from abyme.version import __version__

if TYPE_CHECKING:
    from abyme.config import ChildLimits, Limits
    from abyme.errors import (
        AbymeError,
        ConfigError,
        DataChanged,
        DataError,
        JournalError,
        ModelError,
    )
    from abyme.offline import replay
    from abyme.preview import Preview
    from abyme.progress import Progress
    from abyme.replaying import Difference, Replayed
    from abyme.rlm import RLM
    from abyme.session import Session
    from abyme.streaming import Stream
    from abyme.types import Answer, Quote, Usage

__all__ = [
    "RLM",
    "AbymeError",
    "Answer",
    "ChildLimits",
    "ConfigError",
    "DataChanged",
    "DataError",
    "Difference",
    "JournalError",
    "Limits",
    "ModelError",
    "Preview",
    "Progress",
    "Quote",
    "Replayed",
    "Session",
    "Stream",
    "Usage",
    "__version__",
    "replay",
]

_ROOMS = {
    "abyme.config": ("ChildLimits", "Limits"),
    "abyme.errors": (
        *("AbymeError", "ConfigError", "DataChanged", "DataError", "JournalError", "ModelError"),
    ),
    "abyme.offline": ("replay",),
    "abyme.preview": ("Preview",),
    "abyme.progress": ("Progress",),
    "abyme.replaying": ("Difference", "Replayed"),
    "abyme.rlm": ("RLM",),
    "abyme.session": ("Session",),
    "abyme.streaming": ("Stream",),
    "abyme.types": ("Answer", "Quote", "Usage"),
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'abyme' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_WHERE[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
