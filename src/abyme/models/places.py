"""So many at once, the others in a fair queue: what bounds a run, and what bounds an endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from abyme.models.queues import FairQueue, Line


class Places:
    """Places that are taken and given back; who waits for one is served fairly.

    ``limit`` says how many there are *now*. Where it grows by itself, :meth:`serve` lets in those
    for whom there is room from then on. Belongs to one event loop.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self.taken = 0
        self._limit = limit
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue()

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    async def take(self, line: Line, *, first: bool = False) -> None:
        """Take a place, at once or in turn; ``first`` goes before all others of its line.

        Cancelling it while it waits leaves nothing behind and loses no place.
        """
        if not self._waiting and self.taken < self._limit():
            self.taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.push(line, turn, first=first)
        self.serve()
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.discard(line, turn)
            if turn.done() and not turn.cancelled():
                self.give_back()  # given a place and cancelled within one step of the loop
            raise

    def give_back(self) -> None:
        """A place that was taken is free again."""
        self.taken -= 1
        self.serve()

    def serve(self) -> None:
        """Let in as many as there are places for."""
        if not self._waiting:
            return
        limit = self._limit()
        while self._waiting and self.taken < limit:
            turn = self._waiting.pop()
            if not turn.done():  # else it is being cancelled
                self.taken += 1
                turn.set_result(None)
