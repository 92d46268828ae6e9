"""System calls by number and ``prctl``, through the C library that is loaded anyway."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(number: int, *arguments: Any) -> int:
    """A system call. Raises OSError where it fails."""
    # An int would be passed with 32 bits, and what lies above them be left to chance.
    whole = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *whole))


def control(option: int, *arguments: int) -> int:
    """``prctl``. Raises OSError where it fails."""
    whole = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(_libc.prctl(option, *whole))


def _checked(result: int) -> int:
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)
