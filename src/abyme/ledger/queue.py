"""Who waits for calls in flight to settle, and in which order they are served. One for a tree.

Whoever waits, waits because a limit of his own node or of one above it would be passed beside the
calls in flight. He is served by age among those who need the same limit:

- Behind one who waits at a node's limit, nobody else of that node or below it is granted anything.
  So small calls do not starve a large one that is older.
- One who waits at a limit of his own node does not hold up other nodes. So a small call goes past
  a large one of a sibling; only where both need their parent's rest does it wait its turn.
- A last call goes before all others.

**Everybody who waits is granted or refused in the end.** He waits for open reservations alone:
what would not fit if these were all closed is refused at once, and what other nodes hold counts as
spent, so nobody waits for a hold to be given up. Every reservation is closed in the end: its call
has a deadline, and never waits here while it has one open (a further attempt is reserved after the
one before was charged). Each time one is closed, the oldest who wait are looked at again. The
oldest of all waits behind nobody, so he is granted or refused at the latest when nothing is in
flight any more; then the next one is the oldest. So no circle can form, neither of what a parent
holds and its child asks for nor of two siblings' holds.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple


class Waiter(NamedTuple):
    """One who waits. ``attempt`` grants or refuses him and returns None; or it returns the place at
    which he still has to wait, one of ``places``: his node and those above it, the root first."""

    number: int
    places: tuple[Hashable, ...]
    attempt: Callable[[], Hashable | None]
    granted: asyncio.Future[Any]


class Queue:
    """All who wait in one tree."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[Waiter]] = {}  # by node: all of one share their path
        self._last = self._first = 0

    @property
    def empty(self) -> bool:
        """Whether nobody waits."""
        return not self._lines

    def join(
        self,
        places: tuple[Hashable, ...],
        attempt: Callable[[], Hashable | None],
        granted: asyncio.Future[Any],
        *,
        first: bool,
    ) -> None:
        """Wait in line, ``first`` of all or last, and be served at once where that can be."""
        line = self._lines.setdefault(places[-1], deque())
        if first:
            self._first -= 1
            line.appendleft(Waiter(self._first, places, attempt, granted))
        else:
            self._last += 1
            line.append(Waiter(self._last, places, attempt, granted))
        self.serve()

    def serve(self) -> None:
        """Grant or refuse whoever need not wait any more. To be called when a sum has shrunk."""
        heads = [(line[0].number, place) for place, line in self._lines.items()]
        heapq.heapify(heads)
        taken: set[Hashable] = set()  # places at which somebody older waits
        while heads:
            place = heads[0][1]
            line = self._lines[place]
            waiter = line[0]
            if not waiter.granted.done():  # else he was cancelled
                if not taken.isdisjoint(waiter.places):
                    heapq.heappop(heads)
                    continue
                if (blocked := waiter.attempt()) is not None:
                    taken.add(blocked)
                    if blocked is waiter.places[0]:  # all paths lead through the root
                        return
                    heapq.heappop(heads)
                    continue
            line.popleft()
            if line:
                heapq.heapreplace(heads, (line[0].number, place))
            else:
                heapq.heappop(heads)
                del self._lines[place]

    def dismiss(self, place: Hashable, error: Exception) -> None:
        """Refuse all who wait at a node."""
        for waiter in self._lines.pop(place, ()):
            if not waiter.granted.done():
                waiter.granted.set_exception(error)
