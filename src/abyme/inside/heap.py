"""How this process's allocator treats the memory of windows over a large text."""

from __future__ import annotations

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 32 << 20  # what glibc takes at most
_KEPT = 128 << 20


def reuse_freed_memory() -> None:
    """Let a window be built where the last one lay, in pages that are there already.

    By itself glibc gives so large a piece back to the kernel when it is freed. Getting its pages
    anew then takes twice as long as decoding a text into them. Does nothing under other libraries.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _KEPT)
