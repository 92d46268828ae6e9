"""What was handed over to a run that keeps no texts: held here, and under no name.

A long text, and whatever was piped in, lies in a file of the run's folder that has no name. A short
one stays in memory as it was given: a run may have more of them than a process has descriptors. A
worker that asks for one gets a file without a name.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from abyme.context.spool import slices_of, write_unnamed

SHORT = 1 << 20
"""Characters or bytes of a text that stays in memory."""


class Unnamed:
    """Holds what one run was given, with files in ``folder``, until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[HeldFile] = []

    def text(self, given: str | bytes, written: Callable[[int], None]) -> HeldFile | HeldText:
        """Hold a text. ``written`` and what is raised are as of :func:`.spool.write`."""
        if len(given) > SHORT:
            return self.stream(slices_of(given), written)
        held = HeldText(given, self._folder)
        written(held.bytes)
        return held

    def stream(self, slices: Iterable[bytes], written: Callable[[int], None]) -> HeldFile:
        """Hold all that ``slices`` give; as :meth:`text`."""
        held = HeldFile(write_unnamed(self._folder, slices, written))
        self._files.append(held)
        return held

    def close(self) -> None:
        """Let go of it: what nobody else has open is gone. May be called twice."""
        while self._files:
            self._files.pop().close()


class HeldFile:
    """A :class:`~abyme.context.documents.Held` in a file. Any thread may use it."""

    def __init__(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self.bytes = found.st_size
        self.inode = found.st_ino
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def open(self) -> int:
        """See :class:`~abyme.context.documents.Held`."""
        with self._lock:
            descriptor = self._checked()
            try:
                # Opened anew where that can be: a worker shares its position and flags with nobody.
                return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return os.dup(descriptor)

    def read(self, start: int, length: int) -> bytes:
        """See :class:`~abyme.context.documents.Held`."""
        parts: list[bytes] = []
        with self._lock:
            while length > 0 and (part := os.pread(self._checked(), length, start)):
                parts.append(part)
                start, length = start + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Let go of it. May be called twice."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def _checked(self) -> int:
        if self._descriptor < 0:
            raise OSError(errno.EBADF, "its run is over")
        return self._descriptor


class HeldText:
    """A :class:`~abyme.context.documents.Held` in memory; of files for it, in ``folder``."""

    inode = 0

    def __init__(self, given: str | bytes, folder: Path) -> None:
        self._given = given
        self._folder = folder
        self.bytes = len(self._raw())

    def open(self) -> int:
        """See :class:`~abyme.context.documents.Held`."""
        return write_unnamed(self._folder, (self._raw(),), lambda _: None)

    def read(self, start: int, length: int) -> bytes:
        """See :class:`~abyme.context.documents.Held`."""
        return self._raw()[start : start + max(0, length)]

    def _raw(self) -> bytes:
        given = self._given
        return given if isinstance(given, bytes) else given.encode("utf-8", "surrogatepass")
