"""Zygotes as the host holds them: warm processes that fork workers (:mod:`abyme.inside.zygote`)."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from abyme.context.documents import Document
from abyme.errors import SandboxError
from abyme.inside.codec import Frame
from abyme.sandbox.channel import Channel
from abyme.sandbox.child import Child, StartedChild
from abyme.sandbox.ends import ends
from abyme.sandbox.raw import RawOutput

_START = Path(__file__).parent.parent / "inside" / "start.py"
_GONE = -signal.SIGKILL
_CLOSE_SECONDS = 2.0
_ANSWER_SECONDS = 10.0
_BUILD_SECONDS = 60.0


class ForkedChild:
    """A :class:`~abyme.sandbox.child.Child` that a zygote forked and looks after."""

    def __init__(self, zygote: Zygote, number: int, output: int) -> None:
        self._zygote = zygote
        self._number = number
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._on_end: Callable[[], None] | None = None
        self._killed = False
        self._interrupts = 0  # asked for and not yet sent
        self._settled = asyncio.Event()
        self._settled.set()
        self.raw = RawOutput(output)

    @property
    def pid(self) -> int:
        """See :class:`~abyme.sandbox.child.Child`; to be asked for once it has started."""
        return self._started.result()

    async def started(self) -> None:
        """Wait until there is a process. Raises :class:`SandboxError` where there is none."""
        try:
            await self._started
        except BaseException:
            self.unwatch()
            self.kill()
            self.raw.close()
            raise

    def watch(self, on_end: Callable[[], None]) -> None:
        """See :class:`~abyme.sandbox.child.Child`."""
        self._on_end = on_end

    def unwatch(self) -> None:
        """See :class:`~abyme.sandbox.child.Child`."""
        self._on_end = None

    def interrupt(self) -> bool:
        """See :class:`~abyme.sandbox.child.Child`."""
        if not self._ended.done():
            self._interrupts += 1
            self._settled.clear()
            self._signal(signal.SIGINT)
        return True

    async def settle(self) -> None:
        """See :class:`~abyme.sandbox.child.Child`; the zygote says when it has sent one."""
        if self._settled.is_set():
            return
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._settled.wait()
        except TimeoutError:
            self._zygote.give_up()
            await self._settled.wait()

    def kill(self) -> None:
        """See :class:`~abyme.sandbox.child.Child`."""
        if not self._killed:
            self._killed = True
            self._signal(signal.SIGKILL)

    async def reap(self, seconds: float | None = None) -> int | None:
        """See :class:`~abyme.sandbox.child.Child`."""
        await asyncio.wait((self._ended,), timeout=seconds)
        return self._ended.result() if self._ended.done() else None

    async def end(self) -> None:
        """See :class:`~abyme.sandbox.child.Child`."""
        self.unwatch()
        self.kill()
        if await self.reap(_ANSWER_SECONDS) is None:
            self._zygote.give_up()
            if await self.reap(_ANSWER_SECONDS) is None:  # that one's own parent is stopped too
                self.has_ended(_GONE, "it does not answer")
        self.raw.close()

    def has_started(self, pid: int) -> None:
        """For the zygote."""
        if not self._started.done():
            self._started.set_result(pid)

    def was_interrupted(self) -> None:
        """For the zygote, which has sent it one signal that was asked for."""
        self._interrupts -= 1
        if not self._interrupts:
            self._settled.set()

    def has_ended(self, status: int, reason: str) -> None:
        """For the zygote, which has seen it end, or has ended itself and taken it along."""
        if not self._started.done():
            self._started.set_exception(SandboxError(f"cannot start a worker: {reason}"))
        if not self._ended.done():
            self._ended.set_result(status)
            self._settled.set()
            if self._on_end is not None:
                self._on_end()

    def _signal(self, number: signal.Signals) -> None:
        # The zygote sends it: only a parent knows that a process id is still that of its child.
        if not self._ended.done():
            self._zygote.send({"t": "signal", "id": self._number, "signal": int(number)})


class Zygote:
    """One zygote: forks workers, and zygotes that hold a text."""

    def __init__(self, child: Child, end: socket.socket) -> None:
        self._child = child
        self._numbers = itertools.count(1)
        self._forked: dict[int, ForkedChild] = {}
        self._built: asyncio.Future[bool] | None = None
        self.alive = True
        self._channel = Channel(end, self._on_frame, lambda reason: self._on_end())
        child.watch(self._on_end)

    @classmethod
    def start(cls, environment: dict[str, str], packages: dict[str, list[str]]) -> Zygote:
        """A process of its own, which needs some 40 ms until it takes what it is told meanwhile.

        Raises :class:`SandboxError`.
        """
        ours, theirs, output, written = ends()
        try:
            process = subprocess.Popen(
                [sys.executable, "-s", "-P", "-S", str(_START), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            os.close(output)
            raise SandboxError(f"cannot start a process for workers: {error}") from error
        finally:
            theirs.close()
            os.close(written)
        zygote = cls(StartedChild(process, output), ours)
        zygote.send({"t": "prepare", "packages": packages})
        return zygote

    async def fork(self) -> tuple[ForkedChild, socket.socket]:
        """A worker, which waits for its first frame at the socket. Raises :class:`SandboxError`."""
        return await self._fork("worker")

    async def fork_zygote(self) -> Zygote:
        """A zygote that shares all that this one has. Raises :class:`SandboxError`."""
        return Zygote(*await self._fork("zygote"))

    async def build(self, document: Document, limit: int) -> bool:
        """Build the text of a document, which all workers forked from now on share.

        False where its ``str`` takes more than ``limit`` bytes, or cannot be built. Raises
        :class:`~abyme.errors.DataError` where the document cannot be opened.
        """
        self._built = asyncio.get_running_loop().create_future()
        self._channel.send(
            {
                "t": "text",
                "bytes": document.bytes,
                "encoding": document.encoding,
                "errors": document.errors,
                "bom": document.bom,
                "limit": limit,
            },
            [document.open()],
        )
        try:
            async with asyncio.timeout(_BUILD_SECONDS):
                return self.alive and await self._built
        except TimeoutError:
            return False

    def send(self, frame: Frame) -> None:
        """Tell it something; lost where it is gone."""
        self._channel.send(frame)

    async def close(self) -> None:
        """End it and all that it forked; wait until they are gone."""
        self._channel.close()  # the order to end, which takes its children along
        if await self._child.reap(_CLOSE_SECONDS) is None:
            self._child.kill()
        await self._child.end()
        self._on_end()

    def give_up(self) -> None:
        """It does not answer: kill it, and with it all that it forked."""
        self._child.kill()

    def disown(self) -> None:
        """In a process forked from the host: let go of it without ending it."""
        self.alive = False
        self._channel.disown()

    async def _fork(self, kind: Literal["worker", "zygote"]) -> tuple[ForkedChild, socket.socket]:
        ours, theirs, output, written = ends()
        number = next(self._numbers)
        child = self._forked[number] = ForkedChild(self, number, output)
        # Beside the frame, and closed here once they are sent.
        self._channel.send({"t": "fork", "id": number, "as": kind}, [theirs.detach(), written])
        if not self.alive:
            self._lost(number)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await child.started()
        except BaseException as error:
            ours.close()
            if isinstance(error, TimeoutError):
                self.give_up()
                raise SandboxError("the process that starts workers does not answer") from None
            raise
        return child, ours

    def _on_frame(self, frame: Frame) -> None:
        match frame["t"]:
            case "forked" if child := self._forked.get(frame["id"]):
                child.has_started(frame["pid"])
            case "interrupted" if child := self._forked.get(frame["id"]):
                child.was_interrupted()
            case "ended":
                if (child := self._forked.pop(frame["id"], None)) is not None:
                    child.has_ended(frame["status"], frame["reason"])
            case "text" if self._built is not None and not self._built.done():
                self._built.set_result(frame["built"])

    def _on_end(self) -> None:
        self.alive = False
        self._child.unwatch()
        if self._built is not None and not self._built.done():
            self._built.set_result(False)
        for number in list(self._forked):
            self._lost(number)

    def _lost(self, number: int) -> None:
        """A process whose zygote is gone goes with it, by itself."""
        reason = f"the process that starts them is gone. {self._child.raw.text().strip()}"
        if (child := self._forked.pop(number, None)) is not None:
            child.has_ended(_GONE, reason)


class Spare:
    """A worker forked before anybody needs it."""

    def __init__(self, zygote: Zygote) -> None:
        self.zygote = zygote
        self._forking = asyncio.create_task(zygote.fork())

    async def taken(self) -> tuple[ForkedChild, socket.socket]:
        """It, for the one who asks, as :meth:`Zygote.fork` gives it; not to be closed then."""
        try:
            return await asyncio.shield(self._forking)
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """End it, and wait until it is gone: one given up halfway would still be on its way."""
        await asyncio.wait((self._forking,), timeout=_CLOSE_SECONDS)
        self._forking.cancel()
        await asyncio.wait((self._forking,))
        if not self._forking.cancelled() and self._forking.exception() is None:
            child, end = self._forking.result()
            end.close()
            await child.end()
