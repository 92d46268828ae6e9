"""The default sandbox: one CPython process a REPL, which locks itself in before it runs a cell.

What holds the code: a process and session of its own, an environment built here (no secret of the
host's is in it), descriptors instead of paths for the data, and the layers of
:mod:`abyme.inside.lockdown`, which the worker reports. Where they cannot be had no worker is
opened, unless ``unsafe_local`` says that the code may do what the user may.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import msgspec

from abyme.context.documents import Data
from abyme.inside.lockdown import LAYERS, MEMORY
from abyme.sandbox import zygotes
from abyme.sandbox.base import Function, Host, Repl
from abyme.sandbox.hello import hello
from abyme.sandbox.leaving import Leaving
from abyme.sandbox.memory import TreeMemory, most_of_this_machine
from abyme.sandbox.shared_text import SharedTexts, SharingRepl, worth_sharing
from abyme.sandbox.sizes import check_sizes
from abyme.sandbox.worker import Worker
from abyme.sandbox.zygote import ForkedChild, Spare, Zygote

_START_SECONDS = 30.0


class ProcessSandbox(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the default sandbox."""

    memory_bytes: int = 4 << 30
    """Private memory that a worker may allocate (RLIMIT_DATA)."""
    tree_bytes: int | None = None
    """Memory that all workers of a run may take together; None: three quarters of what there is."""
    text_bytes: int = 512 << 20
    """A document whose ``str`` would take more than this is a lazy text instead."""
    output_chars: int = 10_000
    """Characters of a cell's output that are kept, head and tail together."""
    grace_seconds: float = 2.0
    """Between the interrupt at a cell's deadline and the end of its worker."""
    unsafe_local: bool = False
    """Do not confine the code: it can read the user's files, use the network, start programs."""

    def __post_init__(self) -> None:
        check_sizes(self)

    @property
    def name(self) -> str:
        """``process``, or ``process, unsafe-local``."""
        return "process, unsafe-local" if self.unsafe_local else "process"

    def asked_layers(self) -> tuple[str, ...]:
        """What the worker is told to put on; the tests of a layer leave it out."""
        return (MEMORY,) if self.unsafe_local else LAYERS

    @contextlib.asynccontextmanager
    async def workers(self) -> AsyncIterator[ProcessWorkers]:
        """See :class:`abyme.sandbox.base.Sandbox`."""
        async with zygotes.in_use():
            workers = ProcessWorkers(self, await zygotes.zygote())
            try:
                yield workers
            finally:
                await workers.close()


class ProcessWorkers:
    """The workers of one run: forked from warm processes, watched together."""

    def __init__(self, sandbox: ProcessSandbox, zygote: Zygote) -> None:
        self._sandbox = sandbox
        self._texts = SharedTexts(sandbox.text_bytes)
        self._memory = TreeMemory(sandbox.tree_bytes or most_of_this_machine())
        self._leaving = Leaving()
        # Asked for now: while the data is loaded the zygote gets warm and forks the first worker.
        self._first: Spare | None = Spare(zygote)

    @contextlib.asynccontextmanager
    async def open(
        self, data: Data, host: Host, functions: tuple[Function, ...], seed: int = 0
    ) -> AsyncIterator[Repl]:
        """See :class:`abyme.sandbox.base.Workers`."""

        async def start(zygote: Zygote) -> Worker:
            return await self._start(zygote, data, host, functions, seed)

        worker = await start(await zygotes.zygote())
        repl: Worker | SharingRepl = worker
        if worth_sharing(data):
            repl = SharingRepl(worker, start, lambda: self._texts.zygote(data.documents[0]))
        self._leaving.entered(repl)
        try:
            yield repl
        finally:
            await self._leaving.dismiss(repl)

    async def close(self) -> None:
        """Wait until all are gone, and end what they shared."""
        first, self._first = self._first, None
        if first is not None:
            await first.close()
        await self._leaving.all_gone()
        await self._texts.close()
        await self._memory.close()

    async def _start(
        self,
        zygote: Zygote,
        data: Data,
        host: Host,
        functions: tuple[Function, ...],
        seed: int,
    ) -> Worker:
        child, end = await self._fork(zygote)
        box = self._sandbox
        first = hello(
            data,
            host,
            functions,
            text_bytes=box.text_bytes,
            output_chars=box.output_chars,
            memory_bytes=box.memory_bytes,
            packages=zygotes.importable_packages(),
            layers=box.asked_layers(),
            seed=seed,
        )
        worker = Worker(child, end, first, data, host, box.grace_seconds, self._memory)
        try:
            await worker.ready(_START_SECONDS)
        except BaseException:
            await worker.close()
            raise
        return worker

    async def _fork(self, zygote: Zygote) -> tuple[ForkedChild, socket.socket]:
        """A worker that has been told nothing yet: the first one, where it is still there."""
        first, self._first = self._first, None
        if first is not None:
            if first.zygote is zygote and zygote.alive:
                return await first.taken()
            await first.close()
        return await zygote.fork()
