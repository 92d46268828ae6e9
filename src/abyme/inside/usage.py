"""What a cell takes of time and memory, as this process sees it.

The kernel's files about this process are opened before it is held, because afterwards nothing of
``/proc`` can be.
"""

from __future__ import annotations

import os
import resource
import sys
import time

from .channel import Channel

_FORGET_PEAK = b"5"  # to /proc/self/clear_refs: the highest resident size starts anew (proc(5))


def tell_memory(channel: Channel) -> None:
    """Give the host the kernel's account of this process's memory, by descriptor, where it has one.

    A host that is not root may not open that of a process that is not dumpable. Before the
    lockdown, which lets no descriptor be sent.
    """
    descriptor = _opened("/proc/self/smaps_rollup", os.O_RDONLY)
    if descriptor is not None:
        channel.send({"t": "memory"}, [descriptor])
        os.close(descriptor)


class Usage:
    """Time, CPU time and highest resident size since :meth:`start`."""

    def __init__(self) -> None:
        self._status = _opened("/proc/self/status", os.O_RDONLY)
        self._forget = _opened("/proc/self/clear_refs", os.O_WRONLY)
        # Where a program was started in this process, getrusage(2) goes on to count what it took
        # before; it costs a tenth of reading the file.
        self._ask_kernel = _max_rss() <= self._resident()
        self._started = self._cpu = 0.0

    def start(self) -> None:
        """A cell begins."""
        if self._forget is not None:
            try:
                os.pwrite(self._forget, _FORGET_PEAK, 0)
            except OSError:  # an earlier cell closed the descriptor: the peak is that of all cells
                self._forget = None
        self._started, self._cpu = time.monotonic(), time.process_time()

    def figures(self) -> dict[str, float]:
        """``seconds``, ``cpu_seconds`` and ``peak_bytes`` of the cell."""
        return {
            "seconds": time.monotonic() - self._started,
            "cpu_seconds": time.process_time() - self._cpu,
            "peak_bytes": self._peak_bytes(),
        }

    def _peak_bytes(self) -> int:
        """Highest resident size since the peak was last forgotten."""
        return _max_rss() if self._ask_kernel else self._resident() or _max_rss()

    def _resident(self) -> int:
        """The same as the kernel's file says it; 0 where there is none to read."""
        try:
            figures = os.pread(-1 if self._status is None else self._status, 1 << 14, 0)
            return int(figures.partition(b"VmHWM:")[2].split(maxsplit=1)[0]) * 1024
        except (OSError, ValueError, IndexError):  # no Linux, or a cell closed the descriptor
            return 0


def _max_rss() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _opened(path: str, flags: int) -> int | None:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError:
        return None
