"""Workers that have been let go of: killed at once, waited for when their run is over."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Leaver(Protocol):
    """A worker that can be ended in two steps."""

    async def dismiss(self) -> None:
        """Kill it and give up its calls; no event of its run comes from it afterwards."""

    async def close(self) -> None:
        """The same, and wait until it is gone."""


class Leaving:
    """The workers of one run that are on their way out.

    A killed process takes a millisecond or two until it is gone. Its node need not wait for that,
    nor need the end of the run, which has a journal to bring to the disk meanwhile.
    """

    def __init__(self) -> None:
        self._here: set[Leaver] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def entered(self, worker: Leaver) -> None:
        """There is one, which will be let go of at the latest with the run."""
        self._here.add(worker)

    async def dismiss(self, worker: Leaver) -> None:
        """Let go of one. Whatever becomes of this call, it is closed."""
        self._here.discard(worker)
        closing = asyncio.create_task(worker.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await worker.dismiss()

    async def all_gone(self) -> None:
        """Let go of those that are left, and wait for all."""
        for worker in list(self._here):
            await self.dismiss(worker)
        if self._closing:
            await asyncio.gather(*self._closing)
