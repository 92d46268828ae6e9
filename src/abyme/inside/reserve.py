"""Memory kept back from cells: what reports a cell has some when the cell has taken all."""

from __future__ import annotations

import mmap

_BYTES = 8 << 20
_LEAST = 1 << 20


class Reserve:
    """Address space that counts under the worker's limit and takes no memory: it is never touched.

    Held while a cell runs. A cell that fills all there is, and keeps it, gets its MemoryError; the
    worker goes on with what was kept back, and so does the next cell, which can delete variables.
    """

    def __init__(self) -> None:
        self._held: mmap.mmap | None = None

    def hold(self) -> None:
        """A cell begins. As much as there is: nothing where earlier cells left nothing."""
        size = _BYTES
        while size >= _LEAST and self._held is None:
            try:
                self._held = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            except OSError:
                size //= 2

    def release(self) -> None:
        """It is over."""
        if self._held is not None:
            self._held.close()
            self._held = None
