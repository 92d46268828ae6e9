"""Before a batch or a job: are enough calls left for it? And telling how much is to come."""

from __future__ import annotations

from collections.abc import Sequence

from abyme.errors import CallFailed
from abyme.events import CallKind, CallRefused, CallsAsked, Emit
from abyme.ledger import Account
from abyme.subcalls.book import Asker, CallBook, Identified
from abyme.subcalls.keys import Request, Written
from abyme.subcalls.rerun import NOT_MADE

_MANY = 1_000
"""Calls of a batch that take the engine 10 ms to identify."""


class Room:
    """That of one node, whose calls are ``book``'s."""

    def __init__(self, book: CallBook, account: Account, emit: Emit) -> None:
        self._book = book
        self._account = account
        self._emit = emit

    def check(self, count: int, *, children: bool = False) -> None:
        """Raise :class:`CallFailed` where fewer calls are left than prompts, or children, wanted.

        The calls that are left are worth more than the first few answers of such a batch.
        """
        left = self._account.snapshot()["calls"]["left"]
        if left is not None and count > left:
            what = "children" if children else "prompts"
            raise CallFailed(
                f"{count:,} {what}, but only {left:,} calls are left: none was sent; put more "
                "items into a prompt",
                "BudgetExceeded",
            )

    async def identify_batch(
        self,
        asker: Asker,
        kind: CallKind,
        whole: Request,
        requests: Sequence[Request],
        *,
        children: bool,
    ) -> list[Identified]:
        """The calls of a batch, which is known by ``whole``; told how many of them are to be made.

        Raises :class:`CallFailed` where it is refused, or was when the cell first ran: before its
        calls are identified, so that nothing is kept of them.
        """
        written: Written = {}  # a batch is known by all its texts, each of its calls by one of them
        many = len(requests) > _MANY
        (batch,) = await self._book.identify(asker, [whole], written, many=many)
        await self._book.until_given_up(batch)
        # It was cut off where its run was left: what some of its calls came to may be on record.
        cut_off = batch.recorded is None and self._book.rerun is not None
        if not cut_off:
            self._check_batch(batch, kind, len(requests), children=children)
        calls = await self._book.identify(asker, requests, written, many=many)
        missing = sum(call.is_new for call in calls)
        if cut_off:
            try:
                self._check_batch(batch, kind, missing, children=children)
            except CallFailed:
                self._book.take_back(calls)
                raise
        self.tell(asker.cell, missing, children=children)
        return calls

    def _check_batch(
        self, batch: Identified, kind: CallKind, count: int, *, children: bool
    ) -> None:
        """:meth:`check`, or what it came to when the cell first ran."""
        if batch.recorded is not None and batch.recorded is not NOT_MADE:
            batch.replayed()
        if batch.recorded is None:
            try:
                self.check(count, children=children)
            except CallFailed as error:
                refused = (batch.key, self._book.node, batch.cell, kind, str(error), error.kind)
                self._book.of_cell(batch.cell).refused += 1
                self._emit(CallRefused(*refused))
                raise

    def tell(self, cell: int, count: int, *, children: bool = False) -> None:
        """Tell whoever shows progress that so many calls are to be made, or children to work."""
        if count:
            self._emit(CallsAsked(self._book.node, cell, count, children))
