"""Many calls at once, of whatever kind: each has an outcome of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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


class Crew:
    """Tasks that make the calls of one node: about ``width``, whatever it asks for at once.

    Its batches and jobs have equal parts of them, each one at the least. A task for each of 100,000
    calls would stall the engine, and so would ``width`` for each of 600 batches.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._batches = 0

    @property
    def share(self) -> int:
        """How many tasks one batch may have now."""
        return max(1, self._width // max(1, self._batches))

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Around the work on one."""
        self._batches += 1
        try:
            yield
        finally:
            self._batches -= 1


async def answer_all(
    calls: Iterable[tuple[int, Identified]],
    count: int,
    ask: Ask,
    settle: Callable[[int, Item], None],
    crew: Crew,
) -> None:
    """Make all ``calls``, ``count`` or fewer, as many at once as ``crew`` does.

    ``settle`` is told of each as it ends. Once so many in a row were refused for want of budget as
    ``IN_A_ROW`` the rest need not ask one by one. Raises what is :data:`FATAL`; cancelling it
    cancels what is in flight.
    """
    waiting, left = iter(calls), count
    workers: set[asyncio.Task[None]] = set()
    in_a_row, refused = 0, False

    async def make(index: int, call: Identified) -> Item:
        nonlocal in_a_row, refused
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
        return item

    async def work() -> None:
        nonlocal left
        while left and len(workers) <= crew.share:
            if (each := next(waiting, None)) is None:
                left = 0
                return
            left -= 1
            settle(each[0], await make(*each))
            hire()

    def hire() -> None:
        for _ in range(min(crew.share - len(workers), left)):
            worker = asyncio.create_task(work())
            workers.add(worker)
            worker.add_done_callback(over)

    def over(worker: asyncio.Task[None]) -> None:
        workers.discard(worker)
        error = None if worker.cancelled() else worker.exception()
        if worker.cancelled() or done.done():
            return
        if error is not None:
            done.set_exception(error)
        elif left:
            hire()
        elif not workers:
            done.set_result(None)

    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with crew.batch():
        hire()
        try:
            if workers:
                await done
        finally:
            done.cancel()
            still = list(workers)
            for worker in still:
                worker.cancel()
            await to_the_end(_all_over(still))


async def _all_over(workers: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*workers, return_exceptions=True)


async def answers(calls: Sequence[Identified], ask: Ask, crew: Crew) -> list[Item]:
    """The outcomes of all ``calls``, in order."""
    items: list[Item] = [{}] * len(calls)
    await answer_all(enumerate(calls), len(calls), ask, items.__setitem__, crew)
    return items


def failed(error: AbymeError) -> Item:
    """The item of a call that came to ``error``."""
    return {"error": error_frame(error)}
