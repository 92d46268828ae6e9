"""What all accounts of a tree share: who is served after each change, and what ends a deadlock.

A node *goes on* as long as nobody of it or below it waits. Who is held up by what other nodes hold
can wait as long as, below the limit at which he waits, something is in flight, a node goes on, or
somebody waits who can himself wait. Where that is over for some of them, nothing that they wait for
can happen by itself any more. Then, one at a time:

1. The first in line who can go on with less does: a call with a shorter reply, a child although
   less is left free beside it than calls may need.
2. Else the node that began last among those that wait gives way: all of it that waits is refused,
   and it makes its last call. What it held comes free for the others. The last, because it has
   spent least, and because nothing else that waits can be below it.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from abyme.errors import AbymeError, BudgetExceeded
from abyme.ledger.level import Level
from abyme.ledger.line import Blocked, Line
from abyme.ledger.queue import HeldUp, Queue, Rank, Waiter

Got = TypeVar("Got")

AT_ONCE = 64
"""Children of one depth that work at the same time; others wait, with nothing of their own."""


class Tree:
    """Of one run."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.short: dict[Line, None] = {}
        """Those that hold less than they should, in the order in which that came up."""
        self._open: dict[Level, Line] = {}
        """The lines of all nodes that have not ended, by their own levels."""
        self.at_work: Counter[int] = Counter()
        """How many nodes of each depth have not ended."""
        self._opened = 0

    def opened(self, line: Line) -> None:
        """A node begins."""
        self._opened += 1
        line.own.number = self._opened
        self._open[line.own] = line
        self.at_work[len(line.levels) - 1] += 1
        if len(line.levels) > 1:
            line.levels[-2].below.add(line.own)

    def ended(self, line: Line) -> None:
        """A node has ended, and all below it."""
        del self._open[line.own]
        self.at_work[len(line.levels) - 1] -= 1
        if len(line.levels) > 1:
            line.levels[-2].below.discard(line.own)

    def keep(self, line: Line) -> None:
        """Remember whether this node should hold more than it does."""
        if line.short:
            self.short[line] = None
        else:
            self.short.pop(line, None)

    def make_good(self, line: Line) -> None:
        """More was spent at the last of ``line`` than was reserved: what is held gives way.

        Of the nodes below a limit that is passed, those that began last hold less, as much as is
        missing, until there is room again. Their last calls may be shorter then, or not be made.
        """
        for level in line.levels:
            for kind, most in level.bounds:
                missing = level.settled[kind] + level.reserved[kind] + level.held[kind] - most
                if missing > 0:
                    self._hold_less(level, kind, missing)

    def _hold_less(self, above: Level, kind: int, missing: int) -> None:
        below = [each for each in self._open.values() if above in each.levels[:-1]]
        for line in sorted(below, key=lambda each: -each.own.number):
            missing -= line.hold_less(kind, missing)
            self.keep(line)
            if not missing:
                return

    async def granted(
        self,
        line: Line,
        attempt: Callable[[bool], Got | Blocked],
        rank: Rank,
        undo: Callable[[Got], None],
        waits: Callable[[], None] | None = None,
        seconds: float = math.inf,
    ) -> Got:
        """What ``attempt`` comes to once nothing is in the way of the node; else what it raises.

        ``waits`` is called where that is not at once, ``undo`` where nobody wants it any more.
        Raises :class:`TimeoutError` where it has waited ``seconds``.
        """
        if self.queue.empty and not isinstance(got := attempt(False), Blocked):
            return got
        granted: asyncio.Future[Got] = asyncio.get_running_loop().create_future()

        def serve(least: bool) -> Blocked | None:
            try:
                got = attempt(least)
            except AbymeError as error:
                granted.set_exception(error)
                return None
            if isinstance(got, Blocked):
                return got
            granted.set_result(got)
            return None

        waiter = self.queue.join(line.levels, serve, granted, rank)
        self.serve()
        if not granted.done() and waits is not None:
            waits()
        async with asyncio.timeout(None if math.isinf(seconds) else seconds):
            return await self._wait(waiter, granted, undo)

    async def _wait(
        self, waiter: Waiter, granted: asyncio.Future[Got], undo: Callable[[Got], None]
    ) -> Got:
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                undo(granted.result())  # granted and cancelled within one step of the loop
            else:
                granted.cancel()
                self.queue.leave(waiter)
                self.serve()
            raise

    def serve(self) -> None:
        """Something has changed: what is held comes before whoever waits."""
        for line in tuple(self.short):
            line.top_up()
            self.keep(line)
        while not self.queue.empty:
            held_up, moving = self.queue.serve()
            stuck = self._stuck(held_up, moving)
            if not stuck:
                return
            if not self.queue.drop_cancelled() and not self._make_do(stuck):
                self._give_way(stuck)

    def _stuck(self, held_up: Sequence[HeldUp], moving: Sequence[Waiter]) -> list[HeldUp]:
        """Those for whom nothing can happen by itself any more, in the order of the line."""
        stuck = [each for each in held_up if not each.place.flying and not self._goes_on(each)]
        if not stuck:
            return []
        going = [*moving, *(each.waiter for each in held_up if each not in stuck)]
        while going:
            waiter = going.pop()
            freed = [each for each in stuck if _waits_for(each, waiter)]
            stuck = [each for each in stuck if each not in freed]
            going += [each.waiter for each in freed]
        return stuck

    def _goes_on(self, held_up: HeldUp) -> bool:
        """Whether below his limit a node goes on."""
        waiting = self.queue.waiting
        found = [held_up.place]
        while found:
            level = found.pop()
            if not waiting[level]:
                return True
            found += level.below
        return False

    def _make_do(self, stuck: Sequence[HeldUp]) -> bool:
        """Whether one of them can go on with less; he is granted or refused then."""
        for waiter, _ in stuck:
            if waiter.attempt(True) is None:
                self.queue.leave(waiter)
                return True
        return False

    def _give_way(self, stuck: Sequence[HeldUp]) -> None:
        limited = [each for each in stuck if each.place.limited]  # others wait for these to end
        waiter, place = max(limited, key=lambda each: each.waiter.places[-1].number)
        level = waiter.places[-1]
        if level.gave_way is None:
            level.gave_way = _no_room(place)
        if not self.queue.dismiss(level, level.gave_way, last_calls=False):
            self.queue.dismiss(level, level.gave_way)


def _waits_for(held_up: HeldUp, other: Waiter) -> bool:
    """Whether what comes of ``other`` can make room for one who is held up."""
    node = other.places[-1]
    return held_up.place in other.places and node not in held_up.waiter.places


def _no_room(place: Level) -> BudgetExceeded:
    """Why a node gives way that waits at ``place``: the kind of which least is left there."""

    def share_left(kind: int) -> float:
        return place.free(kind, in_flight=False) / (place.most[kind] or math.inf)

    kind = min((kind for kind, most in enumerate(place.most) if most is not None), key=share_left)
    why = "by nodes that wait for each other; this one began last, so it ends first"
    return place.refusal(kind, final=False, need=why)
