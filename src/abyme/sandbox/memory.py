"""A cap on the memory of all workers of a run together, watched from outside.

Each worker has a limit of its own (RLIMIT_DATA), at which an allocation fails and the cell gets a
MemoryError. What many workers take together only the host can see (:mod:`.accounts`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from abyme.threads import in_thread

_EVERY = 0.25
"""Seconds between two looks, while a cell runs."""
_PAUSE = 20
"""A look takes at most one part in so many of the time: the kernel walks the worker's pages."""
_SHARE = 0.75

Over = Callable[[str], None]


class Account(Protocol):
    """Where the memory of one process can be read."""

    def bytes(self) -> int:
        """What it takes now. Raises OSError where it has ended."""

    def close(self) -> None:
        """It is not asked again. May be called twice."""


class Member:
    """One worker as :class:`TreeMemory` sees it. Its account is closed with it."""

    def __init__(self, tree: TreeMemory, account: Account, over: Over) -> None:
        self._tree = tree
        self._account = account
        self.over = over
        self.bytes = 0
        """When last looked at."""

    def measure(self) -> None:
        """Look at its memory now. Nothing where it is gone."""
        try:
            self.bytes = self._account.bytes()
        except OSError:
            self.bytes = 0

    def cell_begins(self) -> None:
        """Its memory may grow from now on."""
        self._tree.running(self)

    def cell_ended(self) -> None:
        """It no longer does."""
        self._tree.idle(self)

    def close(self) -> None:
        """It is gone. May be called again."""
        self._tree.leave(self)
        self._account.close()


class TreeMemory:
    """Ends the largest of a run's workers that runs a cell when all take over ``most`` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._members: set[Member] = set()
        self._running: set[Member] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None

    def join(self, account: Account, over: Over) -> Member:
        """A worker, by its account; ``over`` is called with the reason when it has to go."""
        member = Member(self, account, over)
        self._members.add(member)
        return member

    def running(self, member: Member) -> None:
        """Watch it."""
        self._running.add(member)
        self._look_in(_EVERY)

    def idle(self, member: Member) -> None:
        """Its memory stays what it was when last looked at."""
        self._running.discard(member)

    def leave(self, member: Member) -> None:
        """It is gone."""
        self._members.discard(member)
        self._running.discard(member)

    async def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            await asyncio.wait((self._looking,))

    def _look_in(self, seconds: float) -> None:
        if self._timer is None and self._looking is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._start_looking)

    def _start_looking(self) -> None:
        self._timer = None
        if self._running:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        running = list(self._running)
        await in_thread(_measure, running)
        total = sum(member.bytes for member in self._members)
        if total > self._most and (still := self._running.intersection(running)):
            largest = max(still, key=lambda member: member.bytes)
            largest.over(
                f"the workers of this run took {_shown(total)} of memory, and {_shown(self._most)} "
                f"is the most: this one, which had {_shown(largest.bytes)}, was ended. "
                "Work through the data in smaller pieces and keep less of it in variables"
            )
        self._looking = None
        if self._running:
            self._look_in(max(_EVERY, _PAUSE * (loop.time() - began)))


def _measure(members: Sequence[Member]) -> None:
    for member in members:
        member.measure()


def most_of_this_machine() -> int:
    """Three quarters of the memory that this process may have: the machine's, or its cgroup's."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            sizes.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # no cgroup, or "max"
            continue
    return int(min(sizes) * _SHARE)


def _shown(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
