"""One copy of a run's text for all its workers, built when the first of them needs it.

A worker has its text from the process that it is forked from, and shares its pages with all others
forked from there (copy-on-write, and nobody writes to a ``str``). So the text must be there before
the worker is. But most runs first ask their model, and building the text for nothing would cost
memory: the worker is forked without it, and when its very first cell names ``context`` another one,
which has it, takes its place. Nothing is lost by that: no code has run in the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from abyme.context.documents import Data, Document
from abyme.errors import SandboxError
from abyme.sandbox import zygotes
from abyme.sandbox.worker import Worker
from abyme.sandbox.zygote import Zygote
from abyme.types import CellResult, Finish

SHARED_FROM = 4 << 20
"""Bytes of a document that is worth a process of its own (12 MB, most of it shared)."""


def worth_sharing(data: Data) -> bool:
    """Whether the workers over ``data`` should have one copy of its text."""
    if data.kind != "text":
        return False
    document = data.documents[0]
    # A part of a text is one child's alone.
    return not document.file_bytes and document.bytes >= SHARED_FROM


class SharedTexts:
    """The zygotes that hold the texts of a run, one a document."""

    def __init__(self, text_bytes: int) -> None:
        self._text_bytes = text_bytes
        self._built: dict[tuple[str, int, int, int], asyncio.Task[Zygote | None]] = {}

    async def zygote(self, document: Document) -> Zygote | None:
        """One that holds the text of a document; None where it is too large for a ``str``.

        Raises :class:`~abyme.errors.DataError` where the document cannot be read.
        """
        key = (document.path, document.bytes, document.mtime_ns, document.inode)
        building = self._built.get(key)
        if building is not None and building.done() and not _usable(building):
            del self._built[key]
            building = None
        if building is None:
            building = self._built[key] = asyncio.create_task(self._build(document))
        return await asyncio.shield(building)

    async def close(self) -> None:
        """End them."""
        for building in self._built.values():
            building.cancel()
            await asyncio.wait((building,))
            if (zygote := _result(building)) is not None:
                await zygote.close()
        self._built.clear()

    async def _build(self, document: Document) -> Zygote | None:
        zygote = await (await zygotes.zygote()).fork_zygote()
        try:
            if await zygote.build(document, self._text_bytes):
                document.check()  # what changed meanwhile may be a mixture
                return zygote
        except BaseException:
            await zygote.close()
            raise
        await zygote.close()
        return None


def _usable(building: asyncio.Task[Zygote | None]) -> bool:
    if building.cancelled() or building.exception() is not None:
        return False
    zygote = building.result()
    return zygote is None or zygote.alive


def _result(built: asyncio.Task[Zygote | None]) -> Zygote | None:
    return None if built.cancelled() or built.exception() is not None else built.result()


class SharingRepl:
    """A :class:`~abyme.sandbox.base.Repl` whose worker may be replaced before its first cell."""

    def __init__(
        self,
        worker: Worker,
        start: Callable[[Zygote], Awaitable[Worker]],
        shared: Callable[[], Awaitable[Zygote | None]],
    ) -> None:
        self._worker = worker
        self._start = start
        self._shared = shared
        self._begun = False
        self._bound: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """See :class:`~abyme.sandbox.base.Repl`."""
        return self._worker.pid

    @property
    def layers(self) -> tuple[str, ...]:
        """See :class:`~abyme.sandbox.base.Repl`."""
        return self._worker.layers

    @property
    def alive(self) -> bool:
        """See :class:`~abyme.sandbox.base.Repl`."""
        return self._worker.alive

    async def run(
        self, cell: int, code: str, seconds: float, clock: float | None = None
    ) -> CellResult:
        """See :class:`~abyme.sandbox.base.Repl`."""
        if not self._begun and self.alive and "context" in code:
            await self._share()
        self._begun = True
        return await self._worker.run(cell, code, seconds, clock)

    async def bind(self, names: dict[str, Any]) -> None:
        """See :class:`~abyme.sandbox.base.Repl`."""
        await self._worker.bind(names)
        if not self._begun:
            self._bound |= names

    async def look(self, name: str) -> Finish | None:
        """See :class:`~abyme.sandbox.base.Repl`."""
        return await self._worker.look(name)

    async def checkpoint(self) -> bytearray:
        """See :class:`~abyme.sandbox.base.Repl`."""
        return await self._worker.checkpoint()

    async def restore(self, data: bytes | bytearray) -> None:
        """See :class:`~abyme.sandbox.base.Repl`. The text may be part of what is restored."""
        if not self._begun and self.alive:
            await self._share()
        self._begun = True
        await self._worker.restore(data)

    async def dismiss(self) -> None:
        """See :meth:`.worker.Worker.dismiss`."""
        await self._worker.dismiss()

    async def close(self) -> None:
        """See :meth:`.worker.Worker.close`."""
        await self._worker.close()

    async def _share(self) -> None:
        """Put a worker that has the text in the place of the one that has nothing yet.

        Where there is no shared text the worker builds its own.
        """
        try:
            zygote = await self._shared()
            if zygote is None:
                return
            worker = await self._started(zygote)
        except SandboxError:
            return
        worker.reads((0,))  # as if it had been handed the document: it is checked after each cell
        unused, self._worker = self._worker, worker
        await unused.close()

    async def _started(self, zygote: Zygote) -> Worker:
        """A worker that knows what the one in whose place it comes was told."""
        worker = await self._start(zygote)
        try:
            if self._bound:
                await worker.bind(self._bound)
        except BaseException:
            await worker.close()
            raise
        return worker
