"""Workers at the far end of a stream of bytes: what commands and pipes have in common."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from abyme.context.documents import Data, shown
from abyme.errors import SandboxError
from abyme.inside.arrivals import MOUNTED
from abyme.inside.lockdown import LAYERS, MEMORY
from abyme.sandbox.base import Function, Host, Repl
from abyme.sandbox.child import Child
from abyme.sandbox.hello import hello
from abyme.sandbox.leaving import Leaving
from abyme.sandbox.memory import TreeMemory, most_of_this_machine
from abyme.sandbox.recipes import Mount, Way
from abyme.sandbox.sizes import check_sizes
from abyme.sandbox.travel import parcels
from abyme.sandbox.worker import Worker

MOUNT_FROM = 1 << 20
"""Bytes of a document that is worth a mount; smaller ones are pulled, many at once."""
MOST_MOUNTS = 64
_UNMOUNTABLE = frozenset(',:"\\\n')
"""Characters that Docker's arguments for mounts take for something else."""
_WAY_OUT = (
    "Nothing else holds the code there, so none is run. Name what does as the boundary, if "
    "something does, or use another sandbox"
)


class StreamSandbox(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of any sandbox at the far end of a stream."""

    data: Way = "pull"
    """How data comes to the worker; see :data:`~abyme.sandbox.recipes.Way`."""
    memory_bytes: int = 4 << 30
    """Private memory that a worker may allocate (RLIMIT_DATA)."""
    tree_bytes: int | None = None
    """As in :class:`~abyme.sandbox.process.ProcessSandbox`; only where data is ``passed``."""
    text_bytes: int = 512 << 20
    """A document whose ``str`` would take more than this is a lazy text instead."""
    output_chars: int = 10_000
    """Characters of a cell's output that are kept, head and tail together."""
    grace_seconds: float = 2.0
    """Between the interrupt at a cell's deadline and the end of its worker."""
    start_seconds: float = 60.0
    """Until a worker has to be there: containers take their time."""
    layers: tuple[str, ...] = LAYERS
    """What the worker puts on inside; the tests of a boundary leave it out."""

    def __post_init__(self) -> None:
        check_sizes(self)


class Source(Protocol):
    """Where the workers of a sandbox come from."""

    name: str
    boundary: str
    """What holds the code before the worker does anything, as a layer; "" for nothing."""
    sent: bool
    """Whether the worker's code has to be sent."""
    packages: dict[str, list[str]]
    """Packages that code may import, with the folders they lie in, as the worker sees them."""

    async def begin(self, mounts: Sequence[Mount]) -> tuple[Child, socket.socket]:
        """One worker that is about to start, and the host's end of its stream.

        Raises :class:`SandboxError`.
        """

    def advice(self, said: str) -> str:
        """What to do where this was said and no worker started."""


class StreamWorkers:
    """The workers of one run."""

    def __init__(self, sandbox: StreamSandbox, source: Source) -> None:
        self._sandbox = sandbox
        self._source = source
        self._memory = TreeMemory(sandbox.tree_bytes or most_of_this_machine())
        self._leaving = Leaving()

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, sandbox: StreamSandbox, source: Source) -> AsyncIterator[StreamWorkers]:
        """For as long as the run lasts."""
        workers = cls(sandbox, source)
        try:
            yield workers
        finally:
            await workers._leaving.all_gone()
            await workers._memory.close()

    @contextlib.asynccontextmanager
    async def open(
        self, data: Data, host: Host, functions: tuple[Function, ...], seed: int = 0
    ) -> AsyncIterator[Repl]:
        """See :class:`abyme.sandbox.base.Workers`."""
        worker = await self._start(data, host, functions, seed)
        self._leaving.entered(worker)
        try:
            yield worker
        finally:
            await self._leaving.dismiss(worker)

    async def _start(
        self, data: Data, host: Host, functions: tuple[Function, ...], seed: int
    ) -> Worker:
        box, source = self._sandbox, self._source
        mounts = _mounts(data) if box.data == "mount" else {}
        for index in mounts:
            data.documents[index].check()
        first = hello(
            data,
            host,
            functions,
            text_bytes=box.text_bytes,
            output_chars=box.output_chars,
            memory_bytes=box.memory_bytes,
            packages=source.packages,
            # Where nothing else holds the code, none of them can be left out.
            layers=(box.layers or (MEMORY,)) if source.boundary else LAYERS,
            seed=seed,
        )
        first |= {"data": box.data, "boundary": source.boundary}
        for index, mount in mounts.items():
            first["documents"][index]["path"] = mount.target
        child, end = await source.begin(tuple(mounts.values()))
        worker = Worker(
            child,
            end,
            first,
            data,
            host,
            box.grace_seconds,
            self._memory,
            before=parcels() if source.sent else b"",
            way_out=_WAY_OUT,
        )
        worker.reads(tuple(mounts))
        try:
            await worker.ready(box.start_seconds)
        except SandboxError as error:
            await worker.close()
            said = child.raw.text().strip()
            if not said:
                raise SandboxError(f"{source.name}: {error}") from None
            raise SandboxError(f"{source.name} started no worker: {self._why(said)}") from error
        except BaseException:
            await worker.close()
            raise
        return worker

    def _why(self, said: str) -> str:
        """The line that matters, and what to do. A tool says first what is wrong, Python last."""
        lines = said.splitlines()
        line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
        advice = self._source.advice(said)
        line = shown(line.strip(), 500)  # whoever wrote it: nothing in it acts on a terminal
        return f"{line.rstrip('.?')}; {advice}" if advice else line


def _mounts(data: Data) -> dict[int, Mount]:
    """The documents that are worth a mount, by their index."""
    worth = [
        index
        for index, document in enumerate(data.documents)
        if document.bytes >= MOUNT_FROM
        and document.held is None  # it has no path: its bytes are pulled
        and not _UNMOUNTABLE.intersection(document.path)
    ]
    largest = sorted(worth, key=lambda index: -data.documents[index].bytes)[:MOST_MOUNTS]
    return {
        index: Mount(os.path.realpath(data.documents[index].path), f"{MOUNTED}/{index}")
        for index in sorted(largest)
    }
