"""Jobs as code has them: calls that go on while the cell, and the model, do something else.

The job is the host's; here is what has been fetched of it. Every look is a call to the host, which
records what it answered, so that a cell that runs again sees what it saw.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from weakref import WeakSet

from .results import Failed, Results, item_from

_TAKING = threading.Lock()
_unfetched: WeakSet[Job] = WeakSet()


class Progress(NamedTuple):
    """How far a job is: ``failed`` of the ``done`` have no answer."""

    done: int
    failed: int
    total: int

    def __str__(self) -> str:
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{self.done:,} of {self.total:,} done{failed}"


class Job:
    """``total`` calls under way on the host, which knows them as job ``number``.

    Once everything was fetched the host is not asked any more, and the job can be kept as any
    other value.
    """

    def __init__(self, ask: Callable[[str, dict[str, Any]], Any], number: int, total: int) -> None:
        self.number = number
        self._total = total
        self._items: dict[int, Any] = {}
        self._order: list[int] = []
        self._ask: Callable[[str, dict[str, Any]], Any] | None = ask if total else None
        if total:
            _unfetched.add(self)

    def __len__(self) -> int:
        return self._total

    def __repr__(self) -> str:
        return f"<job {self.number}: {self._fetched()}>"

    def done(self) -> bool:
        """Whether all of its calls are over, one way or the other."""
        self._look("no")
        return self._ask is None

    def progress(self) -> Progress:
        """How many of its calls are over by now, and how many of these failed."""
        self._look("no")
        return self._fetched()

    def results(self, timeout: float | None = None) -> Results:
        """Wait for all answers: in the order of the prompts, a Failed where there is none.

        Raises TimeoutError after ``timeout`` seconds; the job then goes on.
        """
        self._look("all", timeout)
        if self._ask is not None:
            raise TimeoutError(f"job {self.number}: {self._fetched()}; it goes on")
        return Results(self._items[index] for index in range(self._total))

    def so_far(self) -> dict[int, Any]:
        """The answers that are there by now, by the index of their prompt."""
        self._look("no")
        return {index: self._items[index] for index in sorted(self._items)}

    def cancel(self) -> None:
        """Give up the calls that are not over: each is a Failed in its results."""
        if self._ask is not None:
            self._take(len(self._order), self._ask, "job_cancel", {})

    def _look(self, wait: str, seconds: float | None = None) -> None:
        """Fetch what has come since."""
        if self._ask is not None:
            given = {"wait": wait, "seconds": seconds}
            self._take(len(self._order), self._ask, "job_wait", given)

    def _take(self, after: int, ask: Callable[..., Any], name: str, given: dict[str, Any]) -> None:
        rows = ask(name, {"job": self.number, "after": after, **given})
        with _TAKING:  # another thread may have fetched some of it
            for index, item in rows[len(self._order) - after :]:
                self._order.append(index)
                self._items[index] = item_from(index, item)
            if len(self._order) == self._total:
                self._ask = None
                _unfetched.discard(self)

    def _fetched(self) -> Progress:
        failed = sum(isinstance(item, Failed) for item in list(self._items.values()))
        return Progress(len(self._order), failed, self._total)


def as_completed(job: Job, timeout: float | None = None) -> Iterator[tuple[int, Any]]:
    """Give ``(index, answer)`` of each call as it is over; an answer may be a Failed.

    Raises TimeoutError where ``timeout`` seconds pass in which none is.
    """
    place = 0
    while place < len(job):
        if place == len(job._order):
            job._look("any", timeout)
            if place == len(job._order):
                raise TimeoutError(f"job {job.number}: {job._fetched()}; it goes on")
        index = job._order[place]
        place += 1
        yield index, job._items[index]


def unfetched() -> str:
    """What there is to say of jobs of which something was not fetched; "" where there is none."""
    numbers = sorted(job.number for job in _unfetched)
    if not numbers:
        return ""
    return f"job {numbers[0]} is not over, or its results have not been fetched"
