"""The levels that bind one node, its own and those above it: what fits there, what is held there.

Three questions, from the strictest: does a call fit *now*, beside all that is in flight and held;
would it fit *later*, when what is in flight is over and has cost nothing; would it *ever*, if all
other nodes had ended too and so held nothing any more. What a node and those above it hold
themselves is never theirs to spend while they go on, so that counts in all three.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from abyme.errors import BudgetExceeded
from abyme.ledger.amounts import KINDS, NOTHING, Sums, add, each, shown
from abyme.ledger.level import Level


class Blocked(NamedTuple):
    """Where a call does not fit now."""

    place: Level
    held_up: bool
    """It would not fit later either: other nodes hold too much."""
    crowded: bool = True
    """Further nodes would only hold more there."""
    full: bool = False
    """Enough nodes of that depth are at work: nobody who would be another need be asked."""


class Line:
    """The ``levels`` of a node, the root's first and its own last."""

    def __init__(self, levels: tuple[Level, ...]) -> None:
        self.levels = levels
        self.own = levels[-1]
        self._wish: Sums = NOTHING  # what is to be held; less is where there is not so much

    # -- what fits -----------------------------------------------------------------------------

    def blocked(self, ask: Sums, *, final: bool = False, spare: bool = False) -> Blocked | None:
        """The nearest level at which ``ask`` does not fit now; None where it fits.

        ``final`` may use what the node itself holds. ``spare``: as much again as other nodes hold
        has to stay free.
        """
        now = self._binding(ask, final, spare, in_flight=True)
        if now is None:
            return None
        later = self._binding(ask, final, spare, in_flight=False)
        return Blocked(now, False) if later is None else Blocked(later, True)

    def refuse_impossible(self, ask: Sums, *, final: bool = False) -> None:
        """Raise :class:`BudgetExceeded` where ``ask`` can never fit."""
        for level, kept in self._kept(final):
            kind = level.binding(ask, kept, in_flight=False)
            if kind is not None:
                need = f"this call may need {shown(kind, ask[kind])}" if ask[kind] > 1 else ""
                raise level.refusal(kind, final, need)

    def rooms(self, *, final: bool, alone: bool = False, in_flight: bool = False) -> list[float]:
        """What there is of each kind at the least, of all levels, once nothing is in flight.

        ``alone``: once all other nodes have ended, too. ``in_flight``: beside what is in flight.
        ``inf`` without a limit, never below 0.
        """
        usable = self.own.hold if final else NOTHING
        rooms = [math.inf] * len(KINDS)
        for level, kept in self._kept(final):
            for kind, most in level.bounds:
                held = kept[kind] if alone else level.held[kind] - usable[kind]
                left = most - level.settled[kind] - held
                if in_flight:
                    left -= level.reserved[kind]
                rooms[kind] = max(0, min(rooms[kind], left))
        return rooms

    def too_little(self, kind: int, need: str, *, final: bool) -> BudgetExceeded:
        """The error that there is too little room of this kind: whose limit it is, and ``need``."""
        rooms = (
            (level, level.free(kind, kept[kind], in_flight=False))
            for level, kept in self._kept(final)
        )
        level, room = min(rooms, key=lambda pair: pair[1])
        return level.too_little(kind, room, need)

    def _binding(self, ask: Sums, final: bool, spare: bool, *, in_flight: bool) -> Level | None:
        usable = self.own.hold if final else NOTHING
        for level, kept in reversed(self._kept(final)):
            held = each(int.__sub__, tuple_of(level.held), usable)
            if spare:
                held = each(int.__add__, held, each(int.__sub__, held, kept))
            if level.binding(ask, held, in_flight=in_flight) is not None:
                return level
        return None

    def _kept(self, final: bool) -> list[tuple[Level, Sums]]:
        """With each level what this node and those between hold, as long as they are there."""
        kept = NOTHING
        pairs: list[tuple[Level, Sums]] = []
        for level in reversed(self.levels):
            if level.hold is not NOTHING and not (final and level is self.own):
                kept = each(int.__add__, kept, level.hold)
            pairs.append((level, kept))
        pairs.reverse()
        return pairs

    # -- what is set aside ---------------------------------------------------------------------

    def take(self, ask: Sums, *, final: bool) -> Sums:
        """Set ``ask`` aside; the part of it that was held before."""
        of_hold = NOTHING
        if final:
            of_hold = each(min, ask, self.own.hold)
            self._wish = each(int.__sub__, self._wish, of_hold)
            self._keep(each(int.__sub__, self.own.hold, of_hold))
        for level in self.levels:
            add(level.reserved, ask)
            level.flying += 1
        return of_hold

    def give_back(self, ask: Sums) -> None:
        """What was set aside is so no longer."""
        for level in self.levels:
            add(level.reserved, ask, -1)
            level.flying -= 1

    def hold(self, wish: Sums) -> None:
        """Hold that from now on, or as much of it as there is."""
        self._wish = wish
        self.top_up()

    def hold_again(self, of_hold: Sums) -> None:
        """What was held before is to be held again."""
        self.hold(each(int.__add__, self._wish, of_hold))

    def hold_less(self, kind: int, by: int) -> int:
        """Hold ``by`` less of a kind, or nothing more of it; how much less that is."""
        less = min(by, self.own.hold[kind])
        hold = tuple_of([held - less * (at == kind) for at, held in enumerate(self.own.hold)])
        self._keep(hold)
        return less

    @property
    def short(self) -> bool:
        """Whether less is held than should be."""
        return self.own.hold != self._wish

    def top_up(self) -> None:
        """Hold what is to be held, as far as it is there now."""
        own = self.own.hold
        free = (
            min(level.free(kind, level.held[kind] - own[kind]) for level in self.levels)
            for kind in range(len(KINDS))
        )
        had = each(max, own, tuple(free))
        self._keep(each(min, self._wish, had))

    def _keep(self, hold: Sums) -> None:
        more = each(int.__sub__, hold, self.own.hold)
        for level in self.levels:
            add(level.held, more)
        self.own.hold = hold


def tuple_of(sums: list[int]) -> Sums:
    """The sums as they are now."""
    calls, tokens, prompt, output, cost = sums
    return (calls, tokens, prompt, output, cost)
