"""Work in a forked process, for tests that kill it."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_a_child(work: Callable[[], object]) -> int:
    """Do ``work`` in a forked process, in which the engine is started anew; how that ended."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
