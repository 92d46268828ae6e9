"""The sums of one node against its own limits, and its place in the tree."""

from __future__ import annotations

import math

from abyme.config import Limits
from abyme.errors import BudgetExceeded
from abyme.ledger.amounts import COST, KINDS, NANO, NOTHING, Sums, add, nano_limit, shown, used
from abyme.types import Usage


class Level:
    """What node ``node`` and all below it have spent, have in flight, and hold for last calls.

    ``of_child``: whether the limits are a child's, and not the run's own.
    """

    def __init__(self, node: str, limits: Limits, *, of_child: bool) -> None:
        self.node = node
        self._of_child = of_child
        self.most: tuple[int | None, ...] = (
            limits.max_calls,
            limits.max_tokens,
            limits.max_input_tokens,
            limits.max_output_tokens,
            nano_limit(limits.max_cost),
        )
        self.bounds = tuple((k, most) for k, most in enumerate(self.most) if most is not None)
        self.settled = [0] * len(KINDS)
        self.reserved = [0] * len(KINDS)
        self.held = [0] * len(KINDS)
        self.hold: Sums = NOTHING
        """The part of what is held that is for the last call of the node itself."""
        self.flying = 0
        """Reservations that are open, here and below."""
        self.number = 0
        """The how-manieth of its tree it is; of what was opened later it is larger."""
        self.below: set[Level] = set()
        """Those of children that have not ended."""
        self.gave_way: BudgetExceeded | None = None
        """Why it makes only its last call from now on (:mod:`abyme.ledger.tree`)."""
        self.usage = Usage()
        self.unpriced = 0
        """Settled calls whose price is not known."""

    def binding(self, ask: Sums, held: Sums, *, in_flight: bool) -> int | None:
        """The kind whose limit ``ask`` would pass. What asks nothing of a kind passes no limit.

        ``held``: so much counts as held. ``in_flight``: beside the calls in flight; else as if
        they were over and had cost nothing.
        """
        for kind, most in self.bounds:
            if ask[kind] == 0:
                continue
            total = self.settled[kind] + held[kind] + ask[kind]
            if in_flight:
                total += self.reserved[kind]
            if total > most:
                return kind
        return None

    def free(self, kind: int, held: int | None = None, *, in_flight: bool = True) -> float:
        """What is neither settled, reserved nor held; ``inf`` without a limit, never below 0.

        ``held``: so much counts as held, else all that is.
        """
        most = self.most[kind]
        if most is None:
            return math.inf
        taken = self.settled[kind] + (self.held[kind] if held is None else held)
        return max(0, most - taken - (self.reserved[kind] if in_flight else 0))

    @property
    def limited(self) -> bool:
        """Whether it has any limit."""
        return bool(self.bounds)

    def spend(self, usage: Usage, cost: float | None) -> None:
        """So much was spent here or below; ``cost`` is None where the price is not known."""
        add(self.settled, used(usage, cost))
        self.usage += usage
        self.unpriced += cost is None

    def passed(self) -> int | None:
        """The kind of which so much was spent that what is held is not there any more."""
        for kind, most in self.bounds:
            if self.settled[kind] + self.held[kind] > most:
                return kind
        return None

    def share(self, kind: int) -> float:
        """The part of the limit that is spent: 0 to 1, or above.

        What is set aside for calls in flight is not in it: most of that comes back.
        """
        most = self.most[kind]
        return self.settled[kind] / most if most else 0.0

    def refusal(self, kind: int, final: bool, need: str = "") -> BudgetExceeded:
        """One line: whose limit, what is used and kept, ``need``, and what raises it."""
        name, most = KINDS[kind], self.most[kind] or 0
        unit = "" if kind == COST else f" {name.replace('_', ' ')}"
        parts = [f"{shown(kind, self.settled[kind])} of {shown(kind, most)}{unit} are used"]
        if self.held[kind] and not final:
            parts.append(f"{shown(kind, self.held[kind])} kept for the final answer")
        parts += [need] if need else []
        return self._exceeded(kind, ", ".join(parts))

    def too_little(self, kind: int, left: float, need: str) -> BudgetExceeded:
        """One line: ``left`` of whose limit is left beside what is kept, and that ``need``."""
        most = self.most[kind] or 0
        if kind == COST:
            rest = f"${left / NANO:.4f} of ${most / NANO:g} are left"
        else:
            rest = f"{left:,.0f} of {most:,} {KINDS[kind].replace('_', ' ')} are left"
        return self._exceeded(kind, f"{rest} beside what is kept for the final answer; {need}")

    def _exceeded(self, kind: int, why: str) -> BudgetExceeded:
        name = f"max_{KINDS[kind]}"
        node = self.node if self._of_child else ""
        return BudgetExceeded(
            name, f"{name} of node {node}: {why}" if node else f"{name}: {why}", node
        )
