"""What is set aside for one call."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from abyme.ledger.amounts import Amount, Sums
from abyme.types import Usage


class Reservation:
    """A sum set aside for one call. The first of ``settle``, ``charge`` and ``release`` counts;
    what follows does nothing, so that ``finally: reservation.release()`` is always safe."""

    __slots__ = ("_closed", "amount", "of_hold", "open")

    def __init__(self, amount: Amount, of_hold: Sums, closed: Closed) -> None:
        self._closed = closed
        self.amount = amount
        self.of_hold = of_hold
        """The part of it that was held before."""
        self.open = True

    def settle(self, usage: Usage, cost: float | None) -> None:
        """The call was answered: charge what it used, which may be more than was reserved.

        ``cost`` is in US dollars, None where unknown. The calls counted are those reserved,
        whatever ``usage.calls`` says, so that an attempt more is not a call more.
        """
        spent = msgspec.structs.replace(usage, calls=self.amount.calls)
        self._close(spent, cost)

    def charge(self) -> Usage:
        """Nobody knows what the call used (cancelled or timed out in flight): charge all of it.

        Returns what was charged, marked as estimated.
        """
        amount = self.amount
        spent = Usage(
            input_tokens=amount.tokens - amount.output_tokens,
            output_tokens=amount.output_tokens,
            calls=amount.calls,
            estimated=True,
        )
        self._close(spent, amount.cost)
        return spent

    def release(self) -> None:
        """Nothing was spent: the call was rejected or never sent."""
        self._close(None, 0.0)

    def _close(self, spent: Usage | None, cost: float | None) -> None:
        if self.open:
            self.open = False
            self._closed(self, spent, cost)


Closed = Callable[[Reservation, Usage | None, float | None], None]
"""Told once of a reservation that is closed: what was spent (None: nothing), and its cost."""
