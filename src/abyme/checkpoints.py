"""When a checkpoint of a node's REPL is taken, and where it is: while the model is thinking.

It only shortcuts a restore, which otherwise re-runs all cells. So it is taken where these cost
something, it is given up as soon as a cell comes, and there is none where it cannot be whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time

from abyme.errors import JournalError, SandboxError
from abyme.events import Checkpointed, CheckpointRefused, Emit
from abyme.journal.blobs import Blobs
from abyme.journal.node_tape import Saved
from abyme.sandbox.base import NoCheckpoint, Repl
from abyme.threads import in_thread

DUE_SECONDS = 1.0
"""CPU time of the cells since the last checkpoint from which on another is worth its price."""
AFTER_SECONDS = 0.05
"""How long it waits first: the next request goes out before it, and a last turn has none."""
MOST_SECONDS = 20.0
"""How long it may take."""


class Checkpoints:
    """The checkpoints of node ``node``, as far as any are ``wanted``; the newest is kept."""

    def __init__(
        self,
        node: str,
        blobs: Blobs,
        emit: Emit,
        newest: Saved | None = None,
        *,
        wanted: bool = True,
    ) -> None:
        self._node = node
        self._blobs = blobs
        self._emit = emit
        self._seconds = 0.0
        self._due = DUE_SECONDS if wanted else math.inf
        self._taking: asyncio.Task[bytearray | None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.newest = newest

    def ran(self, cpu_seconds: float) -> None:
        """A cell used this much CPU time."""
        self._seconds += cpu_seconds

    def thinking(self, repl: Repl, cell: int) -> None:
        """The model is asked now, and cells up to ``cell`` have run in ``repl``."""
        busy = self._keeping is not None and not self._keeping.done()
        if self._seconds >= self._due and not busy:
            self._taking = asyncio.create_task(self._take(repl, cell))
            self._keeping = asyncio.create_task(self._keep(self._taking, cell))

    async def settle(self) -> None:
        """A cell has come: give up a checkpoint that the worker is still at."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.gather(self._taking, return_exceptions=True)

    async def close(self) -> None:
        """Give it up, or let it be written where it was taken already."""
        await self.settle()
        if self._keeping is not None:
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def read(self) -> bytes | None:
        """The newest one; None where there is none, or not any more."""
        if self._keeping is not None:
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self.newest is None:
            return None
        try:
            return await in_thread(self._blobs.get, self.newest.blob)
        except JournalError:
            self.newest = None
            return None

    async def forget(self) -> None:
        """There is no further use for it."""
        await self.close()
        saved, self.newest = self.newest, None
        if saved is not None:
            await in_thread(self._blobs.drop, saved.blob)

    async def _keep(self, taking: asyncio.Task[bytearray | None], cell: int) -> None:
        started, used = time.monotonic(), self._seconds
        await asyncio.wait([taking])
        data = None if taking.cancelled() else taking.result()
        if data is None:
            return
        try:
            blob = await in_thread(self._blobs.put, data)
        except OSError as error:
            self._refused(cell, f"it cannot be written: {error.strerror}")
            return
        self._seconds -= used
        self._due = DUE_SECONDS
        seconds = round(time.monotonic() - started, 6)
        with contextlib.suppress(JournalError):  # whatever is told next raises it again
            self._emit(Checkpointed(self._node, cell, blob, len(data), seconds))
        before, self.newest = self.newest, Saved(cell, blob)
        if before is not None and before.blob != blob:
            await in_thread(self._blobs.drop, before.blob)

    async def _take(self, repl: Repl, cell: int) -> bytearray | None:
        await asyncio.sleep(AFTER_SECONDS)
        self._due *= 2  # where this fails, the next trial is worth its price when there is more
        try:
            async with asyncio.timeout(MOST_SECONDS):
                return await repl.checkpoint()
        except NoCheckpoint as error:
            self._refused(cell, str(error))
        except TimeoutError:
            self._refused(cell, f"it took more than {MOST_SECONDS:g} s")
        except SandboxError as error:  # the next cell finds that the worker is gone
            self._refused(cell, str(error))
        return None

    def _refused(self, cell: int, reason: str) -> None:
        with contextlib.suppress(JournalError):
            self._emit(CheckpointRefused(self._node, cell, reason[:1_000]))
