"""The calls of one node's cells: who they are, what the record has of them, what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from abyme.errors import AbymeError, BudgetExceeded, CallFailed
from abyme.inside.hits import cut_end
from abyme.journal.outcomes import GIVEN_UP, Outcome
from abyme.subcalls.keys import Keys, Request, Written, hashes
from abyme.subcalls.rerun import NOT_MADE, Rerun
from abyme.threads import aside
from abyme.types import FailedCall
from abyme.unbroken import to_the_end

_FAILED_KEPT = 1_000
MAX_REFUSED = 10_000
"""Calls of a cell that were refused for want of budget: each costs a line in the journal."""
GIVEN_UP_SECONDS = 600.0
"""How long code that runs again may wait for what it gave up when it first ran."""


class Asker(msgspec.Struct, frozen=True):
    """Who asks: the cell that runs, and whether it is a thread beside the one that runs it.

    ``keys``: those that what it asked for was given, in order.
    """

    cell: int
    aside: bool = False
    keys: list[str] = msgspec.field(default_factory=list)


class Identified(msgspec.Struct, frozen=True):
    """A call that has its key. ``recorded``: what it is given; None where it is to be made."""

    key: str
    cell: int
    recorded: Outcome | None = None

    @property
    def is_new(self) -> bool:
        """Whether somebody has to be asked."""
        return self.recorded is None

    def replayed(self) -> Any:
        """The recorded value, or the recorded error raised again."""
        assert self.recorded is not None
        if self.recorded.error:
            raise CallFailed(self.recorded.error, self.recorded.error_type, self.recorded.details)
        return self.recorded.value


class CellCalls(msgspec.Struct):
    """Sub-calls of one cell: how many, and those that failed."""

    made: int = 0
    refused: int = 0
    asked: int = 0
    """Calls of tools and ``budget``."""
    failed: list[FailedCall] = msgspec.field(default_factory=list)

    def add_failure(self, error: AbymeError, index: int | None) -> None:
        """One failed; ``index`` is its place in a batch."""
        self.refused += error.kind == BudgetExceeded.__name__
        if len(self.failed) < _FAILED_KEPT:
            self.failed.append(FailedCall(cut_end(error.for_code, 500), index))


class CallBook:
    """Of node ``node``. ``rerun``: what the record has, where cells have been run again."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.rerun: Rerun | None = None
        self._keys = Keys(node)
        self._cells: dict[int, CellCalls] = {}

    def start_cell(self, cell: int) -> None:
        """A cell begins, perhaps again."""
        self._keys.start_cell(cell)
        self._cells[cell] = CellCalls()

    def of_cell(self, cell: int) -> CellCalls:
        """The sub-calls that ``cell`` has made so far."""
        return self._cells.setdefault(cell, CellCalls())

    async def identify(
        self,
        asker: Asker,
        requests: Sequence[Request],
        written: Written | None = None,
        *,
        many: bool = False,
    ) -> list[Identified]:
        """The calls of these names and arguments; ``written`` spares writing long texts again.

        Where they are ``many`` they are hashed beside the engine. A thread that has come further
        than it had when its cell first ran waits for the cells that are run again.
        """
        cell = asker.cell

        async def count() -> list[str]:
            keys = self._keys.each(cell, await aside(many, hashes, requests, written))
            asker.keys.append(keys[0])
            return keys

        # To its end: what is given up is counted when its cell runs again, too.
        keys = await (to_the_end(count()) if many else count())
        rerun = self.rerun
        if rerun is None:
            return [Identified(key, cell) for key in keys]
        found = [rerun.take(key) for key in keys]
        if asker.aside and NOT_MADE in found:
            await rerun.until_caught_up()
            pairs = zip(keys, found, strict=True)
            found = [rerun.take(key) if given is NOT_MADE else given for key, given in pairs]
        pairs = zip(keys, found, strict=True)
        return [Identified(key, cell, given) for key, given in pairs]

    async def until_given_up(self, call: Identified) -> None:
        """Wait where the code gave this call up when it first ran: it will do so again."""
        if call.recorded is GIVEN_UP:
            await asyncio.sleep(GIVEN_UP_SECONDS)

    def take_back(self, calls: Sequence[Identified]) -> None:
        """None of these calls of one cell is made: a batch is refused whole."""
        for cell in {call.cell for call in calls}:
            self._keys.take_back(cell, (call.key for call in calls))

    def check_refused(self, cell: int) -> None:
        """Raise :class:`CallFailed` where a cell was refused so many that it asks no more."""
        if self.of_cell(cell).refused >= MAX_REFUSED:
            raise CallFailed(
                f"{MAX_REFUSED:,} calls of this cell were refused: it can make no more",
                BudgetExceeded.__name__,
            )

    def of_job(
        self, cell: int, name: str, arguments: dict[str, Any], *, answered: bool = False
    ) -> Identified:
        """An item of a job, with what is on record of it; or that alone if it was ``answered``."""
        key = self._keys.only(cell, name, arguments)
        found = None if self.rerun is None else self.rerun.recorded(key)
        if answered and found is not None and not found.answered:
            found = None
        return Identified(key, cell, found)
