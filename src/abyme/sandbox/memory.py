"""A cap on the memory of all workers of a run together, watched from outside.

Each worker has a limit of its own (RLIMIT_DATA), at which an allocation fails and the cell gets a
MemoryError. What many workers take together only the host can see (:mod:`.accounts`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from abyme.threads import in_thread

_EVERY = 0.25
"""Seconds between two looks while a cell runs."""
_SELDOM = 2.0
"""While none does: threads that a cell left behind may go on."""
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
    """Ends the largest of a run's workers when all together take over ``most`` bytes."""

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
        self._look_in(_SELDOM)
        return member

    def running(self, member: Member) -> None:
        """It runs a cell."""
        self._running.add(member)
        self._look_in(_EVERY)

    def idle(self, member: Member) -> None:
        """It no longer does."""
        self._running.discard(member)

    def leave(self, member: Member) -> None:
        """It is gone."""
        self._members.discard(member)
        self._running.discard(member)

    async def close(self) -> None:
        """Stop watching."""
        self._members.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            await asyncio.wait((self._looking,))

    def _look_in(self, seconds: float) -> None:
        """Look after so many seconds, or sooner where that was said before."""
        if self._looking is not None:
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + seconds:
                return
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._start_looking)

    def _start_looking(self) -> None:
        self._timer = None
        if self._members:
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await in_thread(_measure, tuple(self._members))
            self._end_the_largest()
        finally:
            self._looking = None
            if self._members:
                pause = _EVERY if self._running else _SELDOM
                self._look_in(max(pause, _PAUSE * (loop.time() - began)))

    def _end_the_largest(self) -> None:
        total = sum(member.bytes for member in self._members)
        if total <= self._most:
            return
        largest = max(self._members, key=lambda member: member.bytes)
        largest.over(
            f"the workers of this run took {_shown(total)} of memory, and {_shown(self._most)} "
            f"is the most: this one, which had {_shown(largest.bytes)}, was ended. "
            "Work through the data in smaller pieces and keep less of it in variables"
        )


def _measure(members: Sequence[Member]) -> None:
    for member in members:
        member.measure()


def most_of_this_machine() -> int:
    """Three quarters of the memory that this process may have: the machine's, or its cgroup's."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in limit_files(_read("/proc/self/cgroup")):
        with contextlib.suppress(ValueError):  # none there, or "max"
            sizes.append(int(_read(path)))
    return int(min(sizes) * _SHARE)


def limit_files(groups: str) -> Iterator[str]:
    """Where the limits of a process's control groups are said (cgroups(7)), and of those above.

    ``groups``: its ``/proc/self/cgroup``. Of both versions.
    """
    for line in groups.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            root, name = "/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            root, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts) + 1):
            yield "/".join((root, *parts[:depth], name))


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _shown(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"
