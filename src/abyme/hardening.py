"""The host's own process, closed to others of the same user: it holds keys and answers."""

from __future__ import annotations

import contextlib
import resource

_PR_SET_DUMPABLE = 4


def harden() -> None:
    """Let no process of the same user read this one's memory or environment, and write no core.

    A worker cannot do that in any case; this holds against whatever else runs. Debuggers and
    profilers cannot attach any more either (PR_SET_DUMPABLE in prctl(2); Linux, where it costs
    2 ms for ctypes; elsewhere only the core).
    """
    import ctypes

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
