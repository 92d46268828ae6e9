"""How far loading has come, told while it lasts."""

from __future__ import annotations

import time
from collections.abc import Callable

Tell = Callable[[int, int], None]
"""Is told the documents and the bytes so far; what it raises ends the loading."""

_EVERY = 0.1


class Progress:
    """Counts, and tells ``tell`` at most ten times a second; called wherever time may pass."""

    def __init__(self, tell: Tell | None) -> None:
        self._tell = tell
        self._next = time.monotonic() + _EVERY
        self._documents = 0
        self._bytes = 0
        self._under_way = 0

    def beat(self) -> None:
        """Work goes on."""
        if time.monotonic() >= self._next:
            self.tell()

    def tell(self) -> None:
        """Tell it now, whenever that was done last: an end that is wanted comes here."""
        self._next = time.monotonic() + _EVERY
        if self._tell is not None:
            self._tell(self._documents, self._bytes + self._under_way)

    def wrote(self, size: int) -> None:
        """So many bytes of the next document are there."""
        self._under_way = size
        self.beat()

    def loaded(self, size: int) -> None:
        """A document of so many bytes is there."""
        self._documents += 1
        self._bytes += size
        self._under_way = 0
        self.beat()
