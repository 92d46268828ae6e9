"""Many calls at once, of whatever kind: each has an outcome of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from abyme.errors import AbymeError, BudgetExceeded, CallFailed, DataError, JournalError
from abyme.sandbox.answering import error_frame
from abyme.subcalls.book import Identified
from abyme.subcalls.rerun import NOT_MADE
from abyme.unbroken import to_the_end

MAX_BATCH = 100_000
FATAL = (JournalError, DataError)
"""What ends the run rather than one item of a batch."""

IN_A_ROW = 64
"""Calls refused one after the other; a single one may just be too dear."""
UNASKED = f"not asked: the budget did not pay for {IN_A_ROW} in a row before it"

Item = dict[str, Any]
"""``{"value": …}``, or ``{"error": {"type": …, "message": …}}``: as the REPL is told of it."""
Ask = Callable[[Identified, int], Awaitable[Any]]
"""Makes the call that has this place among the others, and gives its value.

Where the call is not new, from the record. Raises an :class:`AbymeError` where it failed.
"""


async def answer_all(
    calls: Iterable[tuple[int, Identified]],
    ask: Ask,
    settle: Callable[[int, Item], None],
    width: int,
) -> None:
    """Make all ``calls``, ``width`` of them at once; ``settle`` is told of each as it is over.

    Once so many in a row were refused for want of budget as ``IN_A_ROW`` the rest need not ask one
    by one. Raises what is :data:`FATAL`; cancelling it cancels what is in flight.
    """
    waiting = iter(calls)
    in_a_row, refused = 0, False

    async def work() -> None:
        nonlocal in_a_row, refused
        for index, call in waiting:
            # Where a cell runs again, those without a record are the ones that were not asked then.
            unasked = refused if call.recorded is NOT_MADE else in_a_row >= IN_A_ROW
            try:
                if unasked and call.recorded in (None, NOT_MADE):
                    raise CallFailed(UNASKED, BudgetExceeded.__name__)
                item = {"value": await ask(call, index)}
                in_a_row = 0
            except FATAL:
                raise
            except AbymeError as error:
                if error.kind == BudgetExceeded.__name__:
                    refused, in_a_row = True, in_a_row + 1
                item = failed(error)
            settle(index, item)

    # As many at once as may be in flight: a task for each of 100,000 would stall the engine.
    workers = [asyncio.create_task(work()) for _ in range(width)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await to_the_end(_all_over(workers))


async def _all_over(workers: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*workers, return_exceptions=True)


async def answers(calls: Sequence[Identified], ask: Ask, width: int) -> list[Item]:
    """The outcomes of all ``calls``, in order."""
    items: list[Item] = [{}] * len(calls)
    await answer_all(enumerate(calls), ask, items.__setitem__, min(width, len(calls)))
    return items


def failed(error: AbymeError) -> Item:
    """The item of a call that came to ``error``."""
    return {"error": error_frame(error)}
