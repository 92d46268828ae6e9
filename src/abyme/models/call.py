"""The state of one call to a model while it lasts: its reservation, its attempts, what it spent."""

from __future__ import annotations

import asyncio
import time

import msgspec

from abyme.errors import AbymeError, ModelError
from abyme.events import CallEnded, CallKind, CallStarted
from abyme.ledger import Reservation
from abyme.models.base import Model, OnText, Request
from abyme.models.patience import Siblings
from abyme.models.scheduler import Turn
from abyme.types import Reply, Usage


class Call:
    """The state of one call while it lasts."""

    def __init__(
        self,
        model: Model,
        request: Request,
        key: str,
        reservation: Reservation,
        final: bool,
        on_text: OnText | None,
        level: tuple[int, bool],
        turn: Turn,
    ) -> None:
        self.model = model
        self.request = request
        self.key = key
        self.reservation = reservation
        self.final = final
        self.on_text = on_text
        self.level = level
        self.turn = turn
        self.attempts = 0
        self.failures: list[ModelError] = []
        self.sent = False  # the attempt in hand has gone out
        self.siblings: Siblings | None = None
        self.cut_early = False  # an attempt was, long before its deadline
        self.began: float | None = None
        self._opened = time.monotonic()
        self._usage = Usage()
        self._cost: float | None = 0.0
        self._charged = False

    def begin(self) -> None:
        """An attempt has its slot: the call's seconds run from the first one on."""
        if self.began is None:
            self.began = time.monotonic()

    def settle(self, usage: Usage, cost: float | None) -> None:
        """The endpoint's count is in: charge that, in place of what was reserved."""
        usage = msgspec.structs.replace(usage, calls=self.reservation.amount.calls)
        self.reservation.settle(usage, cost)
        self._spent(usage, cost)

    def charge(self, *, sent: bool) -> None:
        """Charge the attempt's reservation where it was ``sent``; else keep it for the next."""
        if sent:
            self._charged = True
            self._spent(self.reservation.charge(), self.reservation.amount.cost)

    def ended(self, reply: Reply) -> CallEnded:
        """The event for a call that was answered."""
        return self._ended(text=reply.text, cut=reply.cut)

    def failed(self, error: BaseException) -> CallEnded:
        """The event for a call that was not."""
        if isinstance(error, asyncio.CancelledError):
            text = "cancelled"
        else:  # as code saw it, so that a re-run cell sees the same
            text = error.for_code if isinstance(error, AbymeError) else str(error)
        return self._ended(error=text or "failed", error_type=type(error).__name__)

    def _spent(self, usage: Usage, cost: float | None) -> None:
        self._usage += usage
        self._cost = None if cost is None or self._cost is None else self._cost + cost

    def _ended(
        self, *, text: str = "", cut: bool = False, error: str = "", error_type: str = ""
    ) -> CallEnded:
        return CallEnded(
            key=self.key,
            text=text,
            usage=self._usage,
            cost=self._cost,
            seconds=time.monotonic() - self._opened,
            attempts=self.attempts,
            error=error,
            error_type=error_type,
            cut=cut,
            charged=self._charged,
        )


def started(call: Call, node: str, cell: int, kind: CallKind, prompt: str) -> CallStarted:
    """The event for a call that was reserved and goes out."""
    return CallStarted(
        key=call.key,
        node=node,
        cell=cell,
        kind=kind,
        model=call.model.name,
        prompt=prompt,
        messages=len(call.request.messages),
        max_tokens=call.request.max_tokens,
        reserved_tokens=call.reservation.amount.tokens,
        reserved_cost=call.reservation.amount.cost,
    )
