"""A sandbox of your own, for what is no argv: anything that carries bytes both ways.

A cloud's sandbox, a virtual machine over vsock, a queue: implement :class:`Pipe`, run
:func:`worker_argv` at its far end, and hand a function that opens one to :class:`PipeSandbox`.
``examples/own_sandbox.py`` does it over a local process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from abyme.errors import SandboxError
from abyme.sandbox.raw import RawOutput
from abyme.sandbox.recipes import Mount
from abyme.sandbox.stream import StreamSandbox, StreamWorkers
from abyme.sandbox.travel import BOOT, PYTHON_FLAGS

_READ = 1 << 16
_KILL_SECONDS = 15.0


class Pipe(Protocol):
    """Bytes to and from one worker, in order. Used by one task each way at a time."""

    async def send(self, data: bytes) -> None:
        """Hand all of it to the worker's standard input; wait while it takes no more."""

    async def receive(self) -> bytes:
        """The next bytes of its standard output, as they come; ``b""`` once it has ended."""

    async def kill(self) -> None:
        """End it for certain, and all that it started. May be called again, and after its end."""

    async def wait(self) -> int:
        """Its exit status once it has ended, as ``Popen.returncode``; -9 where nobody can tell.

        The last that is called: what the pipe holds may be let go of.
        """


def worker_argv(python: str = "python3") -> tuple[str, ...]:
    """What to run at the far end: a Python of at least 3.11, which takes its code from the pipe."""
    return (python, *PYTHON_FLAGS, "-c", BOOT)


class PipeSandbox(StreamSandbox, frozen=True, kw_only=True):
    """Settings of a sandbox behind pipes. ``data`` is ``pull``: there is no other way."""

    open_pipe: Callable[[], Awaitable[Pipe]]
    """Starts :func:`worker_argv` somewhere; called in the engine's event loop for each worker."""
    boundary: str = ""
    """What holds the code there, for the journal; "" where nothing does but the worker itself."""
    name: str = "pipe"

    def workers(self) -> AbstractAsyncContextManager[StreamWorkers]:
        """See :class:`abyme.sandbox.base.Sandbox`."""
        if self.data != "pull":
            raise SandboxError("through a pipe data can only be pulled")
        return StreamWorkers.of(self, _PipeSource(self))


class _PipeSource:
    """Opens the pipes: a :class:`~abyme.sandbox.stream.Source`."""

    def __init__(self, sandbox: PipeSandbox) -> None:
        self._open = sandbox.open_pipe
        self._seconds = sandbox.start_seconds
        self.name = sandbox.name
        self.boundary = sandbox.boundary
        self.sent = True
        self.packages: dict[str, list[str]] = {}

    async def begin(self, mounts: Sequence[Mount]) -> tuple[PipeChild, socket.socket]:
        """See :class:`~abyme.sandbox.stream.Source`."""
        try:
            async with asyncio.timeout(self._seconds):
                pipe = await self._open()
        except SandboxError:
            raise
        except Exception as error:
            raise SandboxError(f"{self.name}: no pipe could be opened: {error!r}") from error
        ours, theirs = socket.socketpair()
        return PipeChild(pipe, theirs), ours

    def advice(self, said: str) -> str:
        """See :class:`~abyme.sandbox.stream.Source`."""
        return ""


class PipeChild:
    """A :class:`~abyme.sandbox.child.Child` at the far end of a pipe.

    The host speaks over a socket as with all workers; two tasks carry what comes and goes.
    """

    def __init__(self, pipe: Pipe, near: socket.socket) -> None:
        near.setblocking(False)
        self._pipe = pipe
        self._near = near
        self._on_end: Callable[[], None] | None = None
        self._status: int | None = None
        self._killing: asyncio.Task[None] | None = None
        output, self._said = os.pipe()
        self.raw = RawOutput(output)
        self._carrying = asyncio.get_running_loop().create_task(self._carry())

    @property
    def pid(self) -> int:
        """None on this machine."""
        return 0

    def watch(self, on_end: Callable[[], None]) -> None:
        """See :class:`~abyme.sandbox.child.Child`."""
        self._on_end = on_end

    def unwatch(self) -> None:
        """See :class:`~abyme.sandbox.child.Child`."""
        self._on_end = None

    def interrupt(self) -> bool:
        """See :class:`~abyme.sandbox.child.Child`."""
        return False

    async def settle(self) -> None:
        """See :class:`~abyme.sandbox.child.Child`; frames do not overtake each other."""

    def kill(self) -> None:
        """See :class:`~abyme.sandbox.child.Child`."""
        if self._killing is None:
            self._killing = asyncio.get_running_loop().create_task(self._kill())

    async def reap(self, seconds: float | None = None) -> int | None:
        """See :class:`~abyme.sandbox.child.Child`."""
        if self._status is None:
            with contextlib.suppress(Exception):  # whatever a pipe raises, it cannot tell
                async with asyncio.timeout(seconds):
                    self._status = await self._pipe.wait()
        return self._status

    async def end(self) -> None:
        """See :class:`~abyme.sandbox.child.Child`."""
        self.unwatch()
        self.kill()
        if self._killing is not None:
            await asyncio.wait((self._killing,), timeout=_KILL_SECONDS)
        self._carrying.cancel()
        await asyncio.wait((self._carrying,))
        await self.reap(_KILL_SECONDS)
        self.raw.close()

    async def _kill(self) -> None:
        with contextlib.suppress(Exception):  # there is nobody who could do more about it
            await self._pipe.kill()

    async def _carry(self) -> None:
        """Both ways, until one of them ends."""
        ways = [asyncio.create_task(self._forth()), asyncio.create_task(self._back())]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is not None:
                    os.write(self._said, f"the pipe broke: {error!r}\n"[:4000].encode())
        finally:
            for task in ways:
                task.cancel()
            await asyncio.wait(ways)
            os.close(self._said)
            self._near.close()
            if self._on_end is not None:
                self._on_end()

    async def _forth(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._near, _READ):
            await self._pipe.send(data)

    async def _back(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await self._pipe.receive():
            await loop.sock_sendall(self._near, data)
