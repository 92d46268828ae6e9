"""What a process takes of memory, as the system says: by descriptor on Linux, by pid on macOS.

Anonymous memory and swap count, in proportion to who shares them, so that a text that twenty
workers share counts once. A mapped file does not: the kernel can drop its pages.
"""

from __future__ import annotations

import ctypes
import os
import struct

_COUNTED = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")
_LIBRARY = "/usr/lib/libproc.dylib"
_FLAVOUR = 2
_FOOTPRINT = 16 + 7 * 8
"""Where ``ri_phys_footprint`` is in a ``rusage_info_v2`` (bsd/sys/resource.h of macOS)."""
_INFO_BYTES = 16 + 17 * 8


class Rollup:
    """The kernel's account of a Linux process: an open ``smaps_rollup`` of it, closed here."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def bytes(self) -> int:
        """See :class:`.memory.Account`."""
        if self._descriptor is None:
            return 0
        return counted(os.pread(self._descriptor, 1 << 13, 0))

    def close(self) -> None:
        """See :class:`.memory.Account`."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class Footprint:
    """What macOS counts as a process's own. Not run on a Mac yet; its reading is tested."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._library = ctypes.CDLL(_LIBRARY, use_errno=True)

    def bytes(self) -> int:
        """See :class:`.memory.Account`."""
        info = ctypes.create_string_buffer(_INFO_BYTES)
        if self._library.proc_pid_rusage(self._pid, _FLAVOUR, info) != 0:
            raise OSError(ctypes.get_errno(), "no such process")
        return footprint(info.raw)

    def close(self) -> None:
        """See :class:`.memory.Account`."""


def counted(figures: bytes) -> int:
    """Bytes in the kernel's account of a process, as text (proc(5), ``smaps_rollup``)."""
    return sum(
        int(line.split()[1]) * 1024 for line in figures.splitlines() if line.startswith(_COUNTED)
    )


def footprint(info: bytes) -> int:
    """Bytes in a ``rusage_info_v2``."""
    (size,) = struct.unpack_from("=Q", info, _FOOTPRINT)
    return int(size)
