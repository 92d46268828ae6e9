"""Who waits for room in one tree, and in which order they are served.

Whoever waits, waits because a limit of his own node or of one above it would be passed. Served are
first last calls, then turns of nodes, then other calls, then children that are to begin, of these
the deepest first: so nodes at work finish rather than more beginning. Among equals it is by age.
What holds up whom depends on what is in the way:

- *Calls in flight* (the call fits beside all that is held, once these are over): then behind one
  who waits at a node's limit nobody else of that node or below it is granted anything. So small
  calls do not starve a large one that is older. One who waits at a limit of his own node does not
  hold up other nodes; only where both need their parent's rest does a small call wait its turn.
- *What other nodes hold* for their last calls (it fits once these have ended): he is *held up*.
  Calls of others go past him, since it is they whom he waits for; only children that would hold
  more at the same limit wait behind him.
- What no other node's end can mend is refused at once, and nobody waits for it.

**Nobody waits for ever.** Every reservation is closed in the end: its call has a deadline, and
whoever has one open, or has his turn at the scheduler, never waits here
(:mod:`abyme.models.caller`). Each time one is closed, a hold shrinks, a node ends or somebody joins
or leaves, all who may be next are looked at again. Suppose that from some moment on nothing of that
happens any more, and somebody waits.

1. Then nothing is in flight, so nobody waits for calls in flight: the first of those would have
   been granted. All who are left are held up, each by nodes that have not ended.
2. A node of which nobody waits, neither itself nor below, goes on: its code, turns and seconds are
   bounded, so it asks for something or ends, and something happens. So of each node that is in
   somebody's way, somebody waits.
3. That is what :mod:`abyme.ledger.tree` looks for after each change. It lets one go on with less,
   or has one node give way, of which all who wait are refused at once: then something has happened.
   From then on a node that gave way is refused all but its last call, and is refused that too where
   it would have to wait for others that wait. It makes no other call, so it ends.

Of that there are finitely many steps, since there are finitely many nodes, and each call that is
granted is spent from a budget.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from abyme.ledger.level import Level
from abyme.ledger.line import Blocked

Rank = tuple[int, int]
LAST_CALL: Rank = (0, 0)
TURN: Rank = (1, 0)
CALL: Rank = (2, 0)
Attempt = Callable[[bool], Blocked | None]
"""Grants or refuses one who waits, and returns None, or what is still in his way. True: he makes do
with less than he would rather have."""


def child_rank(depth: int) -> Rank:
    """That of a child of this depth that is to begin."""
    return (3, -depth)


class Waiter(NamedTuple):
    """One who waits, at ``places[-1]``: his node, after those above it, the root first."""

    rank: Rank
    number: int
    places: tuple[Level, ...]
    attempt: Attempt
    granted: asyncio.Future[Any]


class HeldUp(NamedTuple):
    """One who waits at ``place`` for other nodes to end."""

    waiter: Waiter
    place: Level


class Queue:
    """All who wait in one tree."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Rank, Level], dict[int, Waiter]] = {}  # each in order of age
        self._last = 0
        self.waiting: Counter[Level] = Counter()
        """How many wait at a node and below it."""

    @property
    def empty(self) -> bool:
        """Whether nobody waits."""
        return not self._lines

    def join(
        self,
        places: tuple[Level, ...],
        attempt: Attempt,
        granted: asyncio.Future[Any],
        rank: Rank,
    ) -> Waiter:
        """Wait in line; :meth:`serve` looks at it."""
        self._last += 1
        waiter = Waiter(rank, self._last, places, attempt, granted)
        self._lines.setdefault((rank, places[-1]), {})[waiter.number] = waiter
        self.waiting.update(places)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """He waits no longer. A second time it does nothing."""
        key = (waiter.rank, waiter.places[-1])
        line = self._lines.get(key, {})
        if line.pop(waiter.number, None) is None:
            return
        if not line:
            del self._lines[key]
        for place in waiter.places:
            self.waiting[place] -= 1
            if not self.waiting[place]:
                del self.waiting[place]

    def serve(self) -> tuple[list[HeldUp], list[Waiter]]:
        """Grant or refuse whoever need not wait any more.

        Returns who is held up, and who waits for calls in flight or behind such a one: of each
        line the first.
        """
        heads = [_head(line) for line in self._lines.values()]
        heapq.heapify(heads)
        held_up: list[HeldUp] = []
        moving: list[Waiter] = []
        taken: set[Level] = set()  # at which somebody waits for calls in flight
        crowded: dict[Level, None] = {}  # at which somebody is held up
        full: tuple[Rank, Level] | None = None  # of which nobody more can begin, and why
        while heads:
            waiter = heads[0][2]
            if full is not None and full[0] == waiter.rank:
                held_up.append(HeldUp(waiter, full[1]))
                heapq.heappop(heads)
                continue
            if not taken.isdisjoint(waiter.places):
                moving.append(waiter)
                heapq.heappop(heads)
                continue
            blocked = None
            if not waiter.granted.done():  # else he was cancelled
                blocked = self._behind(waiter, crowded) or waiter.attempt(False)
            if blocked is None:
                self.leave(waiter)
                line = self._lines.get((waiter.rank, waiter.places[-1]))
                if line:
                    heapq.heapreplace(heads, _head(line))
                    continue
            elif blocked.held_up:
                held_up.append(HeldUp(waiter, blocked.place))
                if blocked.full:
                    full = waiter.rank, blocked.place
                if blocked.crowded:
                    crowded[blocked.place] = None
            else:
                moving.append(waiter)
                taken.add(blocked.place)
            heapq.heappop(heads)
        return held_up, moving

    def drop_cancelled(self) -> bool:
        """Let those leave who were cancelled and have not come to it; whether there were any."""
        waiters = [waiter for line in self._lines.values() for waiter in line.values()]
        cancelled = [waiter for waiter in waiters if waiter.granted.done()]
        for waiter in cancelled:
            self.leave(waiter)
        return bool(cancelled)

    def _behind(self, waiter: Waiter, crowded: dict[Level, None]) -> Blocked | None:
        """A child that is to begin waits where somebody is held up already."""
        if waiter.rank < child_rank(len(waiter.places) + 1):
            return None
        place = next((place for place in waiter.places if place in crowded), None)
        return None if place is None else Blocked(place, True)

    def dismiss(self, place: Level, error: Exception, *, last_calls: bool = True) -> bool:
        """Refuse all who wait at a node, or all but last calls; whether there was anybody."""
        found = False
        for rank, at in list(self._lines):
            if at is not place or (rank == LAST_CALL and not last_calls):
                continue
            for waiter in list(self._lines[rank, at].values()):
                self.leave(waiter)
                if not waiter.granted.done():
                    waiter.granted.set_exception(error)
                    found = True
        return found


def _head(line: dict[int, Waiter]) -> tuple[Rank, int, Waiter]:
    first = next(iter(line.values()))
    return first.rank, first.number, first
