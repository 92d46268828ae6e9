"""What this process may use, and the rights it gives up. None of it needs any right to do."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import struct

from .kernel import call, control
from .syscalls import Architecture

MOST_DESCRIPTORS = 1024
_MOST_STACK = 64 << 20
_MOST_THREADS = 1 << 15
_ROOM = 64 << 30
"""Addresses for libraries, arenas and stacks, most of which are only reserved."""

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPSET = (126, 91)
_CAPABILITY_VERSION = 0x20080522
_CAP_DAC_READ_SEARCH = 2


def limit_memory(memory_bytes: int, mapped_bytes: int) -> None:
    """A MemoryError in the cell where it allocates past ``memory_bytes``, and no core dumps.

    RLIMIT_DATA counts private memory that can be written to, and not mapped files. ``mapped_bytes``
    are those of the data. Page tables are under no limit of their own: they are bounded by that on
    addresses, to some 4 MB for each 2 GB of them.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_DATA, memory_bytes)
    _limit(resource.RLIMIT_AS, 2 * memory_bytes + mapped_bytes + _ROOM)


def limit_resources() -> None:
    """Nothing written to files, and no more descriptors or threads than work needs.

    The stacks of ordinary threads count as memory and bound their number. RLIMIT_NPROC counts all
    that the user runs and exempts root, so it can only be far above what anybody needs.
    """
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, MOST_DESCRIPTORS)
    _limit(resource.RLIMIT_STACK, _MOST_STACK)
    _limit(resource.RLIMIT_NPROC, _MOST_THREADS)


def _limit(what: int, most: int) -> None:
    """Both the soft and the hard limit, and never above what they were."""
    soft, hard = (
        most if given == resource.RLIM_INFINITY else min(most, given)
        for given in resource.getrlimit(what)
    )
    resource.setrlimit(what, (soft, hard))


def no_new_privileges() -> None:
    """No program that it would start gains rights; Landlock and seccomp ask for it."""
    control(_PR_SET_NO_NEW_PRIVS, 1)


def undumpable() -> None:
    """No core, and no process of the same user may read its memory or trace it."""
    control(_PR_SET_DUMPABLE, 0)


def drop_capabilities(architecture: Architecture) -> None:
    """Give up what root has over others.

    But for reading: the standard library may lie in a folder of somebody else. Where that is not
    held there is nothing to keep.
    """
    keep = 1 << _CAP_DAC_READ_SEARCH
    for kept in (keep, 0):
        header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
        data = ctypes.create_string_buffer(struct.pack("=6I", kept, kept, 0, 0, 0, 0), 24)
        with contextlib.suppress(PermissionError):
            call(_CAPSET[architecture.column], header, data)
            return
