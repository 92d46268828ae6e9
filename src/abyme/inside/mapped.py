"""A document's bytes, mapped: its pages are given back as they are read."""

from __future__ import annotations

import mmap
import sys
from typing import Any

_KEPT = 64 << 20
"""Bytes that are read before the pages of all of them are given back."""


class Mapped(mmap.mmap):
    """A file mapped for reading, which takes little resident memory however much of it is read.

    The kernel would give the pages of a mapped file back by itself, but only when it runs out of
    memory, and until then they count as this process's: under a limit on that, and to whoever
    watches it. Pages given back come from the file's cache again where they are read again.
    """

    _read = 0

    @classmethod
    def of(cls, descriptor: int, size: int, offset: int = 0) -> Mapped:
        """``size`` bytes of an open file, which may be closed then; ``offset``: of whole pages."""
        if sys.version_info >= (3, 13):
            return cls(descriptor, size, access=mmap.ACCESS_READ, offset=offset, trackfd=False)
        return cls(descriptor, size, access=mmap.ACCESS_READ, offset=offset)

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        if isinstance(part, bytes):
            self.was_read(len(part))
        return part

    def find(self, sub: Any, start: int = 0, end: int | None = None) -> int:
        """As ``bytes.find``."""
        end = len(self) if end is None else end
        at = super().find(sub, start, end)
        self.was_read((end if at < 0 else at) - start)
        return at

    def rfind(self, sub: Any, start: int = 0, end: int | None = None) -> int:
        """As ``bytes.rfind``."""
        end = len(self) if end is None else end
        while True:
            low = max(start, end - _KEPT - len(sub))
            at = super().rfind(sub, low, end)
            self.was_read(end - (low if at < 0 else at))
            if at >= 0 or low <= start:
                return at
            end = low + len(sub) - 1

    def give_back(self) -> None:
        """Let go of all pages."""
        self._read = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            self.madvise(mmap.MADV_DONTNEED)

    def was_read(self, size: int) -> None:
        """So many bytes were read, perhaps in another way than by the methods above."""
        self._read += size
        if self._read >= _KEPT:
            self.give_back()
