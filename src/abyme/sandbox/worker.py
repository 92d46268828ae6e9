"""One worker process as the host holds it: run a cell, answer its calls, end it for certain."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from abyme.context.documents import Data
from abyme.errors import AbymeError, SandboxError
from abyme.inside.codec import Frame, FrameError
from abyme.inside.hits import cut_end
from abyme.sandbox.accounts import Footprint, Rollup
from abyme.sandbox.answering import Answering
from abyme.sandbox.base import Host
from abyme.sandbox.binding import Binding
from abyme.sandbox.channel import HUNG_UP, Channel
from abyme.sandbox.checkpoints import Checkpoints
from abyme.sandbox.child import CLOSED, Child, describe_exit
from abyme.sandbox.clock import CellClock
from abyme.sandbox.frames import (
    Done,
    FinishFrame,
    LayerName,
    Piece,
    Refused,
)
from abyme.sandbox.memory import Member, TreeMemory
from abyme.sandbox.passing import DocumentPassing
from abyme.sandbox.pulling import Pulling
from abyme.sandbox.results import death, finish_of, result_of
from abyme.types import CellResult, Finish

_AGAIN = (0.05, 0.2)
"""Seconds after which a cell that goes on is interrupted again."""
_MOMENT = 0.02
"""Seconds that a cell nobody waits for any more is given before the first interrupt."""
_MOST_STREAMED = 1 << 20
"""Characters of a cell's output that are shown while it runs."""
WAY_OUT = (
    "Model-written code would not be confined here, so none is run. --unsafe-local runs it all the "
    "same (in Python: sandbox=ProcessSandbox(unsafe_local=True)), with all your rights"
)


class Worker:
    """A :class:`~abyme.sandbox.base.Repl` over one worker process."""

    def __init__(
        self,
        child: Child,
        end: socket.socket,
        hello: Frame,
        data: Data,
        host: Host,
        grace_seconds: float,
        memory: TreeMemory | None = None,
        *,
        before: bytes = b"",
        way_out: str = WAY_OUT,
    ) -> None:
        self._data = data
        self._host = host
        self._grace = grace_seconds
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._done: asyncio.Future[Done] | None = None
        self._looked: asyncio.Future[FinishFrame | None] | None = None
        self._looks = 0
        self._grace_timer: asyncio.TimerHandle | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._cell = 0
        self._streamed = 0
        self._fatal: AbymeError | None = None
        self._layers: tuple[str, ...] = ()
        self._refused = ""
        self._way_out = way_out
        self.ended_how = ""
        self._tree = memory
        self._memory: Member | None = None
        self._child = child
        child.watch(lambda: self._on_end(HUNG_UP))
        self._channel = Channel(end, self._on_frame, self._on_end)
        self._answering = Answering(host, self._channel, self._die_of)
        self._passing = DocumentPassing(data.documents, self._channel, self._die_of)
        self._pulling = Pulling(data.documents, self._channel, self._die_of)
        self._channel.accept_descriptors(1)
        self._checkpoints = Checkpoints(self._channel.send, self._on_end, grace_seconds)
        self._binding = Binding(self._channel.send, self._on_end)
        if before:
            self._channel.send_bytes(before)
        try:
            self._channel.send(hello)
        except FrameError as error:
            self._on_end(f"there are too many documents, or their names are too long ({error})")

    @property
    def pid(self) -> int:
        """The process id; also that of its process group."""
        return self._child.pid

    @property
    def layers(self) -> tuple[str, ...]:
        """See :class:`~abyme.sandbox.base.Repl`; empty until it is ready."""
        return self._layers

    @property
    def alive(self) -> bool:
        """See :class:`~abyme.sandbox.base.Repl`."""
        return not self.ended_how

    def reads(self, documents: Sequence[int]) -> None:
        """It reads these documents where they lie: they are checked as those handed to it are."""
        self._pulling.uses(documents)

    async def ready(self, seconds: float) -> None:
        """Wait until it takes cells. Raises :class:`SandboxError` where it does not."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._ready)
        except TimeoutError:
            raise SandboxError(f"the worker did not start within {seconds:.0f} s") from None
        except SandboxError:
            await self._end()
            if self._refused:
                raise SandboxError(self._refused) from None
            last = self._child.raw.text().strip().rpartition("\n")[2]
            raise SandboxError(
                f"the worker did not start: {self.ended_how}. {last}".rstrip()
            ) from None

    async def run(
        self, cell: int, code: str, seconds: float, clock: float | None = None
    ) -> CellResult:
        """See :class:`~abyme.sandbox.base.Repl`.

        Raises :class:`DataError` or :class:`JournalError` where a call of the cell, or the data
        that it used, ended the run.
        """
        await self._settled()
        self._cell = cell
        self._streamed = 0
        self._child.raw.forget()
        self._done = self._loop.create_future()
        started, left = self._loop.time(), CellClock(seconds, self._deadline)
        self._answering.cell_begins(cell, left)
        frame: Frame = {"t": "run", "cell": cell, "code": code}
        self._channel.send(frame if clock is None else {**frame, "clock": clock})
        if self._memory is not None:
            self._memory.cell_begins()
        if not self.alive:
            self._fail(self.ended_how)
        try:
            done = await self._done
            result = result_of(done, self._data, self._child.raw.text())
        except SandboxError:
            await self._end()
            result = death(self.ended_how, self._loop.time() - started, self._child.raw.text())
        except asyncio.CancelledError:
            self._answering.cancel()
            self._stopping = asyncio.create_task(self._stop_cell())
            raise
        finally:
            if self._memory is not None:
                self._memory.cell_ended()
            left.stop()
            if self._grace_timer is not None:
                self._grace_timer.cancel()
        self._check_data()
        return result

    async def bind(self, names: dict[str, Any]) -> None:
        """See :class:`~abyme.sandbox.base.Repl`."""
        await self._settled()
        await self._binding.bind(names)

    async def look(self, name: str) -> Finish | None:
        """See :class:`~abyme.sandbox.base.Repl`. None too where the worker is busy or gone."""
        await self._settled()
        if not self.alive:
            return None
        self._looked = self._loop.create_future()
        self._looks += 1  # the answer to a look that was given up may still come
        self._channel.send({"t": "look", "id": self._looks, "name": name})
        try:
            async with asyncio.timeout(self._grace):
                found = await self._looked
        except (TimeoutError, SandboxError):
            return None
        return None if found is None else finish_of(found, self._data)

    async def checkpoint(self) -> bytearray:
        """See :class:`~abyme.sandbox.base.Repl`."""
        return await self._checkpoints.take()

    async def restore(self, data: bytes | bytearray) -> None:
        """See :class:`~abyme.sandbox.base.Repl`. Raises too what :meth:`run` raises."""
        try:
            await self._checkpoints.put(data)
        finally:
            self._check_data()

    async def dismiss(self) -> None:
        """Give up its calls and have the process killed, without waiting until it is gone."""
        self._answering.cancel()
        self._checkpoints.fail("it was closed")
        self._binding.fail("it was closed")
        self._child.unwatch()
        self._child.kill()
        self.ended_how = self.ended_how or "it was closed"
        await self._answering.close()

    async def close(self) -> None:
        """End the process and all that it started; wait until it is gone. May be called twice."""
        await self.dismiss()
        await self._end()

    # -- what comes from the worker ------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        if not self.alive:  # condemned by an earlier frame
            return
        try:
            match frame["t"]:
                case "memory" if not self._ready.done():
                    self._on_memory()
                case "ready":
                    self._on_ready(msgspec.convert(frame.get("layers"), tuple[LayerName, ...]))
                case "refused" if not self._ready.done():
                    self._on_refused(msgspec.convert(frame, Refused))
                case "out":
                    self._on_output(msgspec.convert(frame.get("text"), Piece))
                case "call":
                    self._answering.asked(frame)
                case "cancel":
                    self._answering.given_up(frame)
                case "documents":
                    self._passing.asked(frame)
                case "pull":
                    self._pulling.asked(frame)
                case "done":
                    self._on_done(msgspec.convert(frame, Done))
                case "looked" if frame.get("id") == self._looks:
                    self._on_looked(msgspec.convert(frame.get("finish"), FinishFrame | None))
                case "looked":
                    pass
                case "checkpoint" | "piece" | "restored":
                    self._checkpoints.on_frame(frame)
                case "bound":
                    self._binding.on_frame(frame)
                case other:
                    raise FrameError(f"unknown type {other[:40]!r}")
        except (FrameError, ValueError) as error:  # msgspec's own are ValueErrors
            self._on_end(f"it broke the protocol ({cut_end(str(error), 200)})")

    def _on_ready(self, layers: tuple[str, ...]) -> None:
        if self._ready.done():
            return
        self._layers = layers
        if self._tree is not None and sys.platform == "darwin" and self._child.pid:
            self._memory = self._tree.join(Footprint(self._child.pid), self._on_end)
        self._channel.accept_descriptors(0)  # from now on model-written code may be what sends
        self._ready.set_result(None)

    def _on_refused(self, refused: Refused) -> None:
        self._refused = refused.reason
        if refused.unlocked:
            self._refused += f". {self._way_out}"
        self._on_end("it cannot begin")

    def _on_memory(self) -> None:
        """The kernel's account of its memory came beside the frame, where there is one."""
        for figures in self._channel.take_descriptors():
            if self._tree is None or self._memory is not None:
                os.close(figures)
            else:
                self._memory = self._tree.join(Rollup(figures), self._on_end)

    def _on_output(self, text: str) -> None:
        """Shown as it comes, as far as an honest worker would send it."""
        self._streamed += len(text)
        if self._host.listens and self._streamed <= _MOST_STREAMED:
            self._host.output(self._cell, text)

    def _on_done(self, done: Done) -> None:
        if done.cell == self._cell and self._done is not None and not self._done.done():
            self._done.set_result(done)

    def _on_looked(self, found: FinishFrame | None) -> None:
        if self._looked is not None and not self._looked.done():
            self._looked.set_result(found)

    def _check_data(self) -> None:
        """Raise what ended the run: a failed journal, or documents that are not what they were."""
        if self._fatal is not None:
            raise self._fatal
        self._passing.check()
        self._pulling.check()

    # -- deadlines and the end -----------------------------------------------------------------

    def _deadline(self) -> None:
        self._interrupt()
        self._grace_timer = self._loop.call_later(self._grace, self._kill_stubborn)

    def _interrupt(self) -> None:
        if not self._child.interrupt():
            self._channel.send({"t": "interrupt"})

    async def _stop_cell(self) -> None:
        """End a cell that nobody waits for any more, or the worker where it does not heed that.

        An interrupt that comes before the cell has begun is none: so it is sent again. None is sent
        where the worker is let go of in the same moment, as those of a cancelled tree are.
        """
        self._done = done = self._loop.create_future()  # the last one was cancelled
        await asyncio.wait((done,), timeout=_MOMENT)
        if not self.alive:
            return
        for pause in (*_AGAIN, self._grace):
            self._interrupt()
            await asyncio.wait((done,), timeout=pause)
            if done.done() or not self.alive:
                return
        self._kill_stubborn()

    async def _settled(self) -> None:
        """Wait until a cell that was given up is over, and no interrupt is on its way any more."""
        if self._stopping is not None:
            await asyncio.wait((self._stopping,))
            self._stopping = None
        if self.alive:
            await self._child.settle()  # an interrupt of the last cell's must not hit this one

    def _kill_stubborn(self) -> None:
        self._on_end("it did not stop when interrupted at the cell's deadline, and was killed")

    def _die_of(self, error: AbymeError) -> None:
        self._fatal = error
        self._on_end(str(error))

    def _on_end(self, reason: str) -> None:
        """The worker is gone or has to go; whoever waits for it is told why."""
        self._child.unwatch()
        if not self.ended_how:
            if reason != HUNG_UP:  # else it may be exiting, and its own status says more
                self._child.kill()
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        self.ended_how = self.ended_how or reason
        self._answering.cancel()
        for future in (self._ready, self._done, self._looked):
            if future is not None and not future.done():
                future.set_exception(SandboxError(f"the worker ended: {reason}"))
                future.exception()  # nobody may be waiting for it
        self._checkpoints.fail(reason)
        self._binding.fail(reason)

    async def _end(self) -> None:
        """Kill, reap, close every descriptor; say how it ended where it went by itself."""
        if self._stopping is not None:
            self._stopping.cancel()
        if self.ended_how == HUNG_UP:
            # The socket closes a moment before the process can be reaped.
            status = await self._child.reap(1.0)
            self.ended_how = CLOSED if status is None else describe_exit(status)
        await self._child.end()
        self._passing.close()
        self._pulling.close()
        self._channel.close()
        if self._memory is not None:
            self._memory.close()
        self.ended_how = self.ended_how or "it was closed"
