"""What code has asked for and does not have yet: calls, children, jobs; a fold over events."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from abyme.events import (
    CallRefused,
    CallsAsked,
    CallStarted,
    CellEnded,
    Event,
    HostAnswered,
    HostCalled,
    NodeStarted,
    cell_of,
)

JOB_BEGINS = ("llm_start", "rlm_start")
"""The calls of the host that begin a job."""
JOB_LOOKS = ("job_wait", "job_cancel")
"""Those that tell of one."""
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


class Waiting:
    """What code asked for and has not begun, by the cell that asked.

    What a cell does not come to is nobody's any more when it is over, unless it is a job's.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int, bool]] = Counter()
        self._with_jobs: set[tuple[str, int]] = set()

    def count(self, *, children: bool) -> int:
        """Of children, or of plain calls."""
        return sum(n for (_, _, child), n in self._counts.items() if child == children)

    def take(self, event: Event) -> None:
        """Take the next event that has to do with it."""
        match event:
            case CallsAsked():
                self._counts[event.node, event.cell, event.children] += event.count
            case CallStarted():
                self._begun(event.node, event.cell, children=False)
            case CallRefused():
                asked = self._counts[event.node, event.cell, True]
                self._begun(
                    event.node, event.cell, children=event.kind == "rlm_query" and asked > 0
                )
            case NodeStarted():
                self._begun(event.parent, cell_of(event.key), children=True)
            case HostCalled() if event.name in JOB_BEGINS:
                self._with_jobs.add((event.node, event.cell))
            case CellEnded() if (event.node, event.cell) not in self._with_jobs:
                for child in (False, True):
                    del self._counts[event.node, event.cell, child]
            case _:
                pass

    def _begun(self, node: str, cell: int, *, children: bool) -> None:
        if self._counts[node, cell, children] > 0:
            self._counts[node, cell, children] -= 1


def job_size(begun: HostCalled) -> int:
    """How many calls or children a job has, by the call that began it."""
    size = begun.arguments.get("prompts", begun.arguments.get("children"))
    return size if isinstance(size, int) else 0


class Jobs:
    """Jobs that code has begun and does not have all results of."""

    def __init__(self) -> None:
        self._asked: dict[str, HostCalled] = {}
        self._sizes: dict[tuple[str, int], int] = {}

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._sizes)

    def left_by(self, node: str) -> None:
        """A node is over, and with it its jobs."""
        for job in [job for job in self._sizes if job[0] == node]:
            del self._sizes[job]

    def take(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, HostCalled) and event.name in (*JOB_BEGINS, *JOB_LOOKS):
            self._asked[event.key] = event
        elif isinstance(event, HostAnswered) and (asked := self._asked.pop(event.key, None)):
            if asked.name in JOB_BEGINS and isinstance(event.value, int):
                self._sizes[asked.node, event.value] = job_size(asked)
            elif asked.name in JOB_LOOKS and isinstance(event.value, dict):
                self._looked(asked, event.value)

    def _looked(self, asked: HostCalled, told: dict[str, Any]) -> None:
        """What a look told of: all results there are, where their number says so."""
        job = (asked.node, asked.arguments.get("job", 0))
        over = sum(map(_length, _RANGE.findall(str(told.get("over", "")))))
        before = asked.arguments.get("after", 0)
        before = before if isinstance(before, int) else 0
        if told.get("ended") or before + over >= self._sizes.get(job, 0):
            self._sizes.pop(job, None)


def _length(part: tuple[str, str]) -> int:
    first, last = part
    return 1 + int(last or first) - int(first)
