"""Before a batch or a job: are enough calls left for it? And telling how much is to come."""

from __future__ import annotations

from abyme.errors import CallFailed
from abyme.events import CallKind, CallRefused, CallsAsked, Emit
from abyme.ledger import Account
from abyme.subcalls.book import CallBook, Identified
from abyme.subcalls.rerun import NOT_MADE


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

    def check_batch(self, whole: Identified, kind: CallKind, count: int, *, children: bool) -> None:
        """:meth:`check`, or what it came to when the cell first ran."""
        if whole.recorded is not None:
            if whole.recorded is not NOT_MADE:
                whole.replayed()
            return
        try:
            self.check(count, children=children)
        except CallFailed as error:
            refused = (whole.key, self._book.node, whole.cell, kind, str(error), error.kind)
            self._emit(CallRefused(*refused))
            raise

    def tell(self, cell: int, count: int, *, children: bool = False) -> None:
        """Tell whoever shows progress that so many calls are to be made, or children to work."""
        if count:
            self._emit(CallsAsked(self._book.node, cell, count, children))
