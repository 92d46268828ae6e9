"""One worker process as the host holds it: run a cell, answer its calls, end it for certain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import Any

import msgspec

from abyme.context.documents import Data
from abyme.errors import AbymeError, DataError, JournalError, SandboxError
from abyme.inside.channel import MOST_DESCRIPTORS
from abyme.inside.codec import Frame, FrameError
from abyme.sandbox.base import Host
from abyme.sandbox.channel import HUNG_UP, Channel
from abyme.sandbox.child import CLOSED, Child, describe_exit
from abyme.sandbox.clock import CellClock
from abyme.sandbox.frames import Done, FinishFrame, LayerName, Piece, characters, cut, in_parts
from abyme.sandbox.memory import Member, TreeMemory
from abyme.types import CellError, CellResult, Finish, Quote

_log = logging.getLogger("abyme")

MAX_CALLS_IN_FLIGHT = 20_000
MAX_CHARACTERS_IN_FLIGHT = 256_000_000
"""Of the arguments of all calls of one worker: what they may take of the host's memory."""
_CALLS_SECONDS = 5.0
"""How long the end of a worker waits for its cancelled calls to be over."""
_FATAL = (DataError, JournalError)
"""What ends the run rather than the call in which it came up."""
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
    ) -> None:
        self._data = data
        self._documents = len(data.documents)
        self._host = host
        self._grace = grace_seconds
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._done: asyncio.Future[Done] | None = None
        self._looked: asyncio.Future[FinishFrame | None] | None = None
        self._clock: CellClock | None = None
        self._grace_timer: asyncio.TimerHandle | None = None
        self._cell = 0
        self._calls: set[asyncio.Task[None]] = set()
        self._characters = 0
        self._opened: set[int] = set()
        self._fatal: AbymeError | None = None
        self._layers: tuple[str, ...] = ()
        self._refused = ""
        self.ended_how = ""
        self._tree = memory
        self._memory: Member | None = None
        self._child = child
        child.watch(lambda: self._on_end(HUNG_UP))
        self._channel = Channel(end, self._on_frame, self._on_end)
        self._channel.accept_descriptors(1)
        self._channel.send(hello)

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
                raise SandboxError(f"{self._refused}. {WAY_OUT}") from None
            last = self._child.raw.text().strip().rpartition("\n")[2]
            raise SandboxError(f"the worker did not start: {self.ended_how}. {last}") from None

    async def run(self, cell: int, code: str, seconds: float) -> CellResult:
        """See :class:`~abyme.sandbox.base.Repl`.

        Raises :class:`DataError` or :class:`JournalError` where a call of the cell, or the data
        that it used, ended the run.
        """
        self._cell = cell
        self._child.raw.forget()
        self._done = self._loop.create_future()
        started, self._clock = self._loop.time(), CellClock(seconds, self._deadline)
        self._channel.send({"t": "run", "cell": cell, "code": code})
        if self._memory is not None:
            self._memory.cell_begins()
        if not self.alive:
            self._fail(self.ended_how)
        try:
            done = await self._done
            result = self._result(done)
        except SandboxError:
            await self._end()
            result = self._died(self._loop.time() - started)
        except asyncio.CancelledError:
            self._child.interrupt()
            self._cancel_calls()
            raise
        finally:
            if self._memory is not None:
                self._memory.cell_ended()
            self._clock.stop()
            if self._grace_timer is not None:
                self._grace_timer.cancel()
        self._check_data()
        return result

    async def look(self, name: str) -> Finish | None:
        """See :class:`~abyme.sandbox.base.Repl`. None too where the worker is busy or gone."""
        if not self.alive:
            return None
        self._looked = self._loop.create_future()
        self._channel.send({"t": "look", "id": 0, "name": name})
        try:
            async with asyncio.timeout(self._grace):
                found = await self._looked
        except (TimeoutError, SandboxError):
            return None
        return None if found is None else self._finish(found)

    async def close(self) -> None:
        """End the process and all that it started; wait until it is gone. May be called twice."""
        self._cancel_calls()
        await self._end()
        if self._calls:
            await asyncio.wait(self._calls, timeout=_CALLS_SECONDS)

    # -- what comes from the worker ------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        try:
            match frame["t"]:
                case "ready":
                    self._on_ready(msgspec.convert(frame.get("layers"), tuple[LayerName, ...]))
                case "refused" if not self._ready.done():
                    self._refused = msgspec.convert(frame.get("reason"), Piece)
                    self._on_end("it cannot lock itself in")
                case "out":
                    self._host.output(self._cell, msgspec.convert(frame.get("text"), Piece))
                case "call":
                    self._on_call(frame)
                case "documents":
                    self._on_documents(frame)
                case "done":
                    self._on_done(msgspec.convert(frame, Done))
                case "looked":
                    self._on_looked(msgspec.convert(frame.get("finish"), FinishFrame | None))
                case other:
                    raise FrameError(f"unknown type {other[:40]!r}")
        except (msgspec.ValidationError, FrameError) as error:
            self._on_end(f"it broke the protocol ({error})")
        except _FATAL as error:
            self._die_of(error)

    def _on_ready(self, layers: tuple[str, ...]) -> None:
        if self._ready.done():
            return
        self._layers = layers
        figures = self._channel.take_descriptors()
        self._channel.accept_descriptors(0)  # from now on model-written code may be what sends
        if self._tree is not None and figures:
            self._memory = self._tree.join(figures.pop(), self._on_end)
        for figure in figures:
            os.close(figure)
        self._ready.set_result(None)

    def _on_done(self, done: Done) -> None:
        if done.cell == self._cell and self._done is not None and not self._done.done():
            self._done.set_result(done)

    def _on_looked(self, found: FinishFrame | None) -> None:
        if self._looked is not None and not self._looked.done():
            self._looked.set_result(found)

    def _on_call(self, frame: Frame) -> None:
        number = msgspec.convert(frame.get("id"), int)
        name = msgspec.convert(frame.get("name"), str)
        arguments = msgspec.convert(frame.get("args"), dict[str, Any])
        size = characters(arguments)
        if len(self._calls) >= MAX_CALLS_IN_FLIGHT:
            raise FrameError(f"more than {MAX_CALLS_IN_FLIGHT:,} calls in flight")
        if self._characters + size > MAX_CHARACTERS_IN_FLIGHT:
            message = f"calls in flight hold over {MAX_CHARACTERS_IN_FLIGHT:,} characters: wait"
            self._reply(number, {"error": {"type": "CallError", "message": message}})
            return
        self._characters += size
        task = self._loop.create_task(self._call(number, name, arguments))
        self._calls.add(task)
        task.add_done_callback(lambda done: self._call_ended(done, size))

    def _call_ended(self, task: asyncio.Task[None], size: int) -> None:
        self._calls.discard(task)
        self._characters -= size

    async def _call(self, number: int, name: str, arguments: dict[str, Any]) -> None:
        clock = self._clock
        if clock is not None:
            clock.pause()
        try:
            reply: Frame = {"value": await self._host.call(self._cell, name, arguments)}
        except _FATAL as error:
            self._die_of(error)
            return
        except AbymeError as error:
            reply = {"error": {"type": error.kind, "message": error.for_code}}
        except Exception as error:  # a fault of ours must not hang the cell that waits
            _log.exception("the host function %s", name[:60])
            message = f"Abyme itself failed in {name}: {type(error).__name__}: {error}"
            reply = {"error": {"type": "HostError", "message": message}}
        finally:
            if clock is not None:
                clock.resume()
        self._reply(number, reply)

    def _reply(self, number: int, reply: Frame) -> None:
        try:
            *parts, last = in_parts(reply.get("value"))
            for part in parts:
                self._channel.send({"t": "part", "id": number, "value": part})
            if parts:
                reply = {"value": last}
            self._channel.send({"t": "reply", "id": number, **reply})
        except (FrameError, TypeError, ValueError) as error:
            message = f"the result cannot be handed to the REPL: {error}"
            failure = {"type": "HostError", "message": message}
            self._channel.send({"t": "reply", "id": number, "error": failure})

    def _on_documents(self, frame: Frame) -> None:
        """Pass descriptors of documents in a row, up to the first after the first that fails."""
        number = msgspec.convert(frame.get("id"), int)
        first = msgspec.convert(frame.get("index"), int)
        count = msgspec.convert(frame.get("count"), int)
        asked = range(first, first + count)
        if not 1 <= count <= MOST_DESCRIPTORS or not 0 <= first <= asked[-1] < self._documents:
            raise FrameError(f"no documents {first} to {first + count - 1}")
        descriptors = [self._data.documents[first].open()]
        # Whoever needs one that cannot be opened will ask for it by itself.
        with contextlib.suppress(DataError):
            descriptors.extend(self._data.documents[index].open() for index in asked[1:])
        self._opened.update(asked[: len(descriptors)])
        reply = {"t": "documents", "id": number, "count": len(descriptors)}
        self._channel.send(reply, descriptors)

    # -- what it says about a cell -------------------------------------------------------------

    def _result(self, done: Done) -> CellResult:
        return CellResult(
            ended=done.ended,
            output=done.output + self._raw_output(),
            output_chars=done.output_chars + len(self._raw_output()),
            error=None if done.error is None else cut(done.error),
            variables=done.variables,
            finish=None if done.finish is None else self._finish(done.finish),
            draft=done.draft,
            notes=done.notes,
            seconds=done.seconds,
            cpu_seconds=done.cpu_seconds,
            peak_bytes=done.peak_bytes,
        )

    def _died(self, seconds: float) -> CellResult:
        error = CellError(type="WorkerDied", message=self.ended_how, traceback="")
        raw = self._raw_output()
        return CellResult(
            ended="died", output=raw, output_chars=len(raw), error=error, seconds=seconds
        )

    def _finish(self, found: FinishFrame) -> Finish:
        names = self._data.documents
        quotes = tuple(
            Quote(place.text, names[place.document].name, place.line, place.start, place.end)
            for place in found.quotes
            if 0 <= place.document < len(names)
        )
        return Finish(found.value, found.text, found.via, quotes)

    def _check_data(self) -> None:
        """Raise what ended the run: a failed journal, or documents that are not what they were."""
        if self._fatal is not None:
            raise self._fatal
        for index in self._opened:
            self._data.documents[index].check()

    # -- deadlines and the end -----------------------------------------------------------------

    def _deadline(self) -> None:
        self._child.interrupt()
        self._grace_timer = self._loop.call_later(self._grace, self._kill_stubborn)

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
        self._cancel_calls()
        for future in (self._ready, self._done, self._looked):
            if future is not None and not future.done():
                future.set_exception(SandboxError(f"the worker ended: {reason}"))
                future.exception()  # nobody may be waiting for it

    def _cancel_calls(self) -> None:
        for task in self._calls:
            task.cancel()

    async def _end(self) -> None:
        """Kill, reap, close every descriptor; say how it ended where it went by itself."""
        if self.ended_how == HUNG_UP:
            # The socket closes a moment before the process can be reaped.
            status = await self._child.reap(1.0)
            self.ended_how = CLOSED if status is None else describe_exit(status)
        await self._child.end()
        self._channel.close()
        if self._memory is not None:
            self._memory.close()
        self.ended_how = self.ended_how or "it was closed"

    def _raw_output(self) -> str:
        text = self._child.raw.text()
        return f"\n[written straight to descriptor 1 or 2:]\n{text}" if text else ""
