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
        self._closing: set[asyncio.Task[None]] = set()

    async def dismiss(self, worker: Leaver) -> None:
        """Let go of one. Whatever becomes of this call, it is closed."""
        closing = asyncio.create_task(worker.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await worker.dismiss()

    async def all_gone(self) -> None:
        """Wait for them."""
        if self._closing:
            await asyncio.gather(*self._closing)
