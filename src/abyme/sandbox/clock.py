"""A deadline whose clock stops while a cell waits for the host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class CellClock:
    """Calls ``expired``, once, when ``seconds`` have passed in which no host call was in flight."""

    def __init__(self, seconds: float, expired: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = seconds
        self._expired = expired
        self._waiting = 0
        self._since = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._start()

    def pause(self) -> None:
        """A host call began."""
        self._waiting += 1
        if self._waiting == 1 and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._left -= self._loop.time() - self._since

    def resume(self) -> None:
        """A host call ended."""
        self._waiting -= 1
        if self._waiting == 0:
            self._start()

    def stop(self) -> None:
        """The cell is over; ``expired`` will not be called any more."""
        self._expired = _nothing
        if self._timer is not None:
            self._timer.cancel()

    def _start(self) -> None:
        self._since = self._loop.time()
        self._timer = self._loop.call_later(max(0.0, self._left), self._expire)

    def _expire(self) -> None:
        expired, self._expired = self._expired, _nothing  # calls may still come and go
        expired()


def _nothing() -> None:
    """What a clock does that is stopped or has expired."""
