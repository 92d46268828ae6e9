"""Jobs: calls that a cell began and did not wait for. They are the host's, and outlive the cell.

A job is begun by a host call whose recorded value is the job's number. Its items are model calls
with keys of their own: job number and place belong to the request, so that each is found again
whoever asks, and equals no other. Every look at a job is a host call too, and what is recorded of
it says only which items were over by then; their texts are put in from what the items came to. So a
cell that runs again sees what it saw, and the journal stays small.

When cells run again the job is there again as soon as the call that began it is answered from the
record. What a look told then is told now. Everything else goes on once the cells have caught up:
items that were answered are on record, the others are asked, but for a job that was cancelled, or
whose question has been dealt with.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from abyme.errors import AbymeError, BudgetExceeded, CallFailed
from abyme.subcalls.batches import FATAL, Ask, Crew, Item, answer_all, failed
from abyme.subcalls.book import Asker, CallBook, Identified
from abyme.subcalls.host_calls import HostCalls
from abyme.subcalls.keys import Request
from abyme.subcalls.rerun import NOT_MADE
from abyme.types import JobStatus

_log = logging.getLogger("abyme")

MAX_OPEN = 100
"""Jobs of a node that are not over, or not fetched."""
MAX_CHARACTERS = 256_000_000
"""Of the prompts of all these."""
LINGER_SECONDS = 0.02
"""How long a look that waits for any item waits for more: so that few looks tell of many."""
CANCELLED = "cancelled with its job"
CLOSED = "closed, since its question had been dealt with"


class Begin(msgspec.Struct, frozen=True):
    """A job that is to be begun by the call ``name``, known by its ``arguments``.

    ``make`` gives the calls of job ``n`` and what makes one of them; ``refuse`` raises where it is
    not to be begun.
    """

    name: str
    arguments: dict[str, Any]
    make: Callable[[int], tuple[Sequence[Request], Ask]]
    refuse: Callable[[], None]


class Job:
    """One job: ``requests`` are its items' calls, ``ask`` makes one of them."""

    def __init__(
        self, number: int, name: str, cell: int, requests: Sequence[Request], ask: Ask, size: int
    ) -> None:
        self.number = number
        self.name = name
        self.cell = cell
        self.size = size
        self.items: dict[int, Item] = {}
        self.order: list[int] = []
        """The items that are over, in the order in which they ended, or were told of."""
        self.ended = ""
        self.fault: AbymeError | None = None
        self._requests = requests
        self._ask = ask
        self._failed = 0
        self._refused: Identified | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def total(self) -> int:
        """How many items it has."""
        return len(self._requests)

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return len(self.order) == self.total

    @property
    def status(self) -> JobStatus:
        """What is told of it."""
        done = len(self.order)
        return JobStatus(
            self.number, self.name, self.cell, self.total, done, self._failed, self.ended
        )

    def begin(self, book: CallBook, crew: Crew) -> None:
        """Make the calls of all items that are not over. A second time it does nothing.

        Of one that was ended, take what is on record.
        """
        if self._task is None and not self.over:
            self._task = asyncio.create_task(self._work(book, crew))

    async def _work(self, book: CallBook, crew: Crew) -> None:
        ended = bool(self.ended)
        missing = [index for index in range(self.total) if index not in self.items]
        calls = ((index, self._call(book, index, answered=True)) for index in missing)
        wanted = ((index, call) for index, call in calls if not (ended and call.is_new))

        def settle(index: int, item: Item) -> None:
            if ended or not self.ended:
                self._settle(index, item)

        try:
            await answer_all(wanted, len(missing), self._ask, settle, crew)
        except FATAL as error:
            self.fault = error  # whoever writes to the journal next is told, too
        except Exception as error:  # a fault of ours must not hang the cell that waits
            _log.exception("job %s", self.number)
            self.fault = CallFailed(f"Abyme itself failed: {type(error).__name__}: {error}")
        self._changed.set()

    def _call(self, book: CallBook, index: int, *, answered: bool = False) -> Identified:
        name, request = self._requests[index]
        return book.of_job(self.cell, name, request, answered=answered)

    def _settle(self, index: int, item: Item) -> None:
        if self._put(index, item):
            self.order.append(index)
            self._changed.set()

    def _put(self, index: int, item: Item) -> bool:
        """Keep what an item came to, unless that is known."""
        known = index in self.items
        if not known:
            self.items[index] = item
            self._failed += "error" in item
        return not known

    def end(self, why: str) -> None:
        """Give up what is not over; it stays so."""
        if self._task is not None:
            self._task.cancel()
        if not self.over:
            self.ended = why

    def give_up_rest(self) -> None:
        """Every item that is not over failed, because the job was ended."""
        for index in range(self.total):
            self._settle(index, failed(CallFailed(self.ended)))

    async def wait_over(self) -> None:
        """Wait until what was in flight when it was ended is over."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def wait(self, after: int, what: str, seconds: float | None) -> None:
        """Wait until more than ``after`` items are over, or ``all``; not at all for ``no``."""
        if self.ended:
            await self.wait_over()
        if what == "no":
            return
        least = self.total if what == "all" else min(after + 1, self.total)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                waited = await self._until(least)
                if what == "any" and waited and not self.over:
                    await asyncio.sleep(LINGER_SECONDS)

    async def _until(self, least: int) -> bool:
        """Whether that took any time."""
        waited = False
        while len(self.order) < least and not self.ended:
            if self.fault is not None:
                raise self.fault
            waited = True
            self._changed.clear()
            await self._changed.wait()
        return waited

    async def recall(self, book: CallBook, after: int, told: Sequence[int]) -> None:
        """A look is on record: these items were over by then, and those before ``after``."""
        for index in told:
            while index not in self.items:
                if self._task is None or self.ended:  # nobody makes it, or not any more
                    self._put(index, await self._recalled(book, index))
                else:  # asked again, since its cell was cut off
                    await self._until(len(self.order) + 1)
        if self.order[after : after + len(told)] == [*told]:
            return
        known = set(told)
        rest = [index for index in self.order if index not in known]
        self.order = [*rest[:after], *told, *rest[after:]]

    async def _recalled(self, book: CallBook, index: int) -> Item:
        call = self._call(book, index)
        if call.is_new:  # after one was refused for want of money the rest was not asked
            if self._refused is None:
                calls = (self._call(book, index) for index in range(self.total))
                self._refused = next(filter(_was_refused, calls), NEVER)
            call = self._refused
        try:
            return {"value": await self._ask(call, index)}
        except FATAL:
            raise
        except AbymeError as error:
            return failed(error)


NEVER = Identified("", 0, NOT_MADE)


def _was_refused(call: Identified) -> bool:
    return call.recorded is not None and call.recorded.error_type == BudgetExceeded.__name__


class Jobs:
    """Those of one node, whose calls ``crew`` makes."""

    def __init__(self, book: CallBook, host: HostCalls, crew: Crew) -> None:
        self._book = book
        self._host = host
        self._crew = crew
        self._jobs: dict[int, Job] = {}
        self._last = 0
        self._found: set[int] = set()
        self._news: dict[int, JobStatus] = {}
        self._lost: list[Job] = []

    async def start(
        self,
        asker: Asker,
        begin: Begin,
        told: dict[str, Any],
        size: int,
    ) -> int:
        """Begin a job, or have it again; its number.

        ``told`` is what the journal has of its arguments, ``size`` the characters that it holds.
        """

        async def number() -> int:
            self._check(size)
            begin.refuse()
            self._last += 1
            return self._last

        found = await self._host.make(asker, begin.name, begin.arguments, number, told)
        if not isinstance(found, int):
            raise CallFailed("the journal has no number of this job")
        self._last = max(self._last, found)
        self._found.add(found)
        if found not in self._jobs:
            requests, ask = begin.make(found)
            self._take_on(Job(found, begin.name, asker.cell, requests, ask, size))
        return found

    def _take_on(self, job: Job) -> None:
        if not job.total:
            return
        self._jobs[job.number] = job
        rerun = self._book.rerun
        if rerun is None:
            job.begin(self._book, self._crew)
            return
        if job.cell <= rerun.cells_before(self._book.node):
            job.end(CLOSED)
        rerun.when_caught_up(lambda: job.begin(self._book, self._crew))

    async def look(
        self, asker: Asker, number: int, after: int, wait: str, seconds: float | None
    ) -> list[list[Any]]:
        """``[index, item]`` of what is over of a job, but for the first ``after`` of them."""
        job = self._job(number)

        async def run() -> dict[str, Any]:
            await job.wait(after, wait, seconds)
            told: dict[str, Any] = {"over": ranges(job.order[after:])}
            return {**told, "ended": job.ended} if job.ended else told

        arguments = {"job": number, "after": after, "wait": wait, "seconds": seconds}
        return await self._told(asker, "job_wait", arguments, run, job)

    async def cancel(self, asker: Asker, number: int, after: int) -> list[list[Any]]:
        """Give up what is not over of a job; as :meth:`look`, and that is then all of it."""
        job = self._job(number)

        async def run() -> dict[str, Any]:
            told = {"over": ranges(job.order[after:]), "ended": job.ended or CANCELLED}
            job.end(CANCELLED)
            await job.wait_over()
            return told

        return await self._told(asker, "job_cancel", {"job": number, "after": after}, run, job)

    async def _told(
        self, asker: Asker, name: str, arguments: dict[str, Any], run: Any, job: Job
    ) -> list[list[Any]]:
        after = arguments["after"]
        told = await self._host.make(asker, name, arguments, run)
        over = indices(told.get("over", ""), job.total) if isinstance(told, dict) else []
        await job.recall(self._book, after, over)
        if isinstance(told, dict) and (why := told.get("ended")):
            job.end(str(why)[:200])
            job.give_up_rest()
            over = job.order[after:]
        if job.over and len(over) == job.total - after:
            self._fetched(job)
        return [[index, job.items[index]] for index in over]

    def _job(self, number: int) -> Job:
        if number not in self._jobs:
            raise CallFailed(f"there is no job {number} any more, or never was")
        return self._jobs[number]

    def _check(self, size: int) -> None:
        if len(self._jobs) >= MAX_OPEN:
            raise CallFailed(f"{MAX_OPEN} jobs are open: fetch their results, or cancel them")
        if size + sum(job.size for job in self._jobs.values()) > MAX_CHARACTERS:
            raise CallFailed(f"the jobs that are open hold over {MAX_CHARACTERS:,} characters")

    def _fetched(self, job: Job) -> None:
        """The code has all of it, and will not ask for it again."""
        gone, rerun = self._jobs.pop(job.number, None), self._book.rerun
        if gone is not None and (rerun is None or not rerun.whole):  # else it was told before
            self._news[job.number] = job.status

    # -- the node's turns ------------------------------------------------------------------------

    def run_again(self) -> None:
        """A fresh worker runs cells again: a job whose call does not come again is nobody's."""
        rerun = self._book.rerun
        self._found.clear()
        if rerun is not None:
            rerun.when_caught_up(self._drop_lost)

    def _drop_lost(self) -> None:
        for number in self._jobs.keys() - self._found:
            job = self._jobs.pop(number)
            job.end(CANCELLED)
            self._lost.append(job)

    def statuses(self) -> list[JobStatus]:
        """What there is to tell of: open jobs, and those that were fetched since this was asked."""
        news, self._news = self._news, {}
        return [*news.values(), *(job.status for _, job in sorted(self._jobs.items()))]

    async def close(self) -> list[JobStatus]:
        """The question has been dealt with: give up all that is not over, and tell of it."""
        going = [job for job in self._jobs.values() if not job.over and not job.ended]
        for job in going:
            job.end(CLOSED)
        lost, self._lost = self._lost, []
        for job in (*going, *lost):
            await job.wait_over()
        return [job.status for job in going]


def ranges(numbers: Sequence[int]) -> str:
    """``0-511,513``: numbers in their order, as short as that is."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def indices(text: Any, total: int) -> list[int]:
    """The numbers below ``total`` that :func:`ranges` wrote, each once."""
    numbers: dict[int, None] = {}
    for part in str(text).split(",") if text else ():
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal() and len(part) < 20:
            numbers |= dict.fromkeys(range(int(first), min(int(last or first) + 1, total)))
    return [number for number in numbers if number < total]
