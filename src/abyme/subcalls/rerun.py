"""Cells that run again: what their calls are given from the record, each outcome once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from abyme.events import cell_of
from abyme.journal.outcomes import Outcome, Outcomes
from abyme.subcalls.keys import stem_of

NOT_MADE = Outcome(
    error="this call was not made when the cell first ran, and is not made now",
    error_type="CallError",
)
PATIENCE_SECONDS = 30.0
"""How long the call of a thread waits for cells to have been run again."""


class Rerun:
    """What calls are given while a worker runs cells that an earlier one ran, and after that.

    A call is given the outcome of its own key. Where this is not there, or has been given already,
    it is that of an equal request that another of these cells made: a thread that outlives its cell
    asks when it comes to it, and which cell runs by then may be another one every time. What is on
    record of these cells is so never asked again, whoever asks first.
    """

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self._given: set[str] = set()
        self._not_again: set[int] = set()
        self._equal: dict[str, list[str]] | None = None
        self._caught_up = asyncio.Event()
        self._patient = True
        self._then: list[Callable[[], None]] = []
        self.whole = False
        """The cell that runs had run to its end: it is given no call that is not on record."""

    def cells_before(self, node: str) -> int:
        """The number of the last cell of questions that have been dealt with."""
        return self._outcomes.cells_before(node)

    def leave_out(self, cells: Iterable[int]) -> None:
        """These do not run again: nobody is given what they were."""
        self._not_again.update(cells)

    def cell_begins(self, *, whole: bool) -> None:
        """A cell runs again; if it is not ``whole``, it was cut off and may ask for more."""
        self.whole = whole
        if not whole:
            self.caught_up()  # it is the last of them

    def caught_up(self) -> None:
        """All cells have been run again: from now on calls that are not on record are made."""
        self.whole = False
        self._caught_up.set()
        then, self._then = self._then, []
        for do in then:
            do()

    def when_caught_up(self, do: Callable[[], None]) -> None:
        """Do it once all cells have been run again, or now if they have; never in a replay."""
        if self._caught_up.is_set():
            do()
        else:
            self._then.append(do)

    def recorded(self, key: str) -> Outcome | None:
        """What is on record of an item of a job, whose request no other call can equal."""
        outcome = self._outcomes.of(key)
        if outcome is None and (equal := self._equal_to(key)):
            outcome = self._outcomes.of(equal[0])  # a thread began the job, in another cell then
        return outcome

    def take(self, key: str) -> Outcome | None:
        """What a call is given; ``NOT_MADE`` where it is to be given nothing; None: it is made."""
        for found in (key, *self._equal_to(key)):
            outcome = self._outcomes.of(found)
            if outcome is None or found in self._given:
                continue
            if self.whole or outcome.answered:
                self._given.add(found)
                return outcome
        return NOT_MADE if self.whole else None

    async def until_caught_up(self) -> None:
        """For a thread that has come further than it first had: wait for the cells.

        Not for ever: a cell that does otherwise than it first did may be waiting for this thread.
        """
        if not self._patient:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._caught_up.wait()
        except TimeoutError:
            self._patient = False

    def _equal_to(self, key: str) -> list[str]:
        """Keys on record of equal requests that other cells made, of those that run again."""
        if self._outcomes.of(key) is not None and key not in self._given:
            return []  # it has one of its own
        if self._equal is None:
            self._equal = {}
            for known in self._outcomes:
                self._equal.setdefault(stem_of(known), []).append(known)
        equal = self._equal.get(stem_of(key), [])
        equal[:] = [known for known in equal if known not in self._given]
        return [known for known in equal if cell_of(known) not in self._not_again]
