"""The calls of one worker on their way to the host's functions and back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from abyme.errors import AbymeError, CallFailed, DataError, JournalError
from abyme.inside.codec import Frame, FrameError
from abyme.sandbox.base import GAVE_UP, Host
from abyme.sandbox.channel import Channel
from abyme.sandbox.clock import CellClock
from abyme.sandbox.frames import Number, characters, in_parts

_log = logging.getLogger("abyme")

MAX_CALLS_IN_FLIGHT = 20_000
MAX_CHARACTERS_IN_FLIGHT = 256_000_000
"""Of the arguments of all calls of one worker: what they may take of the host's memory."""
_CALLS_SECONDS = 5.0
"""How long the end of a worker waits for its cancelled calls to be over."""
_FATAL = (DataError, JournalError)
"""What ends the run rather than the call in which it came up."""


def error_frame(error: AbymeError) -> Frame:
    """What the worker is told of a call that failed."""
    frame: Frame = {"type": error.kind, "message": error.for_code}
    details = error.details if isinstance(error, CallFailed) else {}
    return {**frame, "details": details} if details else frame


class Answering:
    """Answers the calls of one worker's cells. ``failed`` is told what ends its run."""

    def __init__(self, host: Host, channel: Channel, failed: Callable[[AbymeError], None]) -> None:
        self._host = host
        self._channel = channel
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbered: dict[int, asyncio.Task[None]] = {}
        self._characters = 0
        self._cell = 0
        self._clock: CellClock | None = None

    def cell_begins(self, cell: int, clock: CellClock) -> None:
        """Calls are this cell's from now on; its clock stops while one is in flight."""
        self._cell, self._clock = cell, clock

    def asked(self, frame: Frame) -> None:
        """A ``call`` frame. Raises :class:`FrameError` or ``msgspec.ValidationError``."""
        number = msgspec.convert(frame.get("id"), Number)
        name = msgspec.convert(frame.get("name"), str)
        arguments = msgspec.convert(frame.get("args"), dict[str, Any])
        aside = msgspec.convert(frame.get("aside", False), bool)
        size = characters(arguments)
        if len(self._tasks) >= MAX_CALLS_IN_FLIGHT:
            raise FrameError(f"more than {MAX_CALLS_IN_FLIGHT:,} calls in flight")
        if self._characters + size > MAX_CHARACTERS_IN_FLIGHT:
            message = f"calls in flight hold over {MAX_CHARACTERS_IN_FLIGHT:,} characters: wait"
            self._reply(number, {"error": {"type": "CallError", "message": message}})
            return
        self._characters += size
        task = self._loop.create_task(self._answer(number, name, arguments, aside))
        self._tasks.add(task)
        self._numbered[number] = task
        task.add_done_callback(lambda done: self._ended(number, done, size))

    def given_up(self, frame: Frame) -> None:
        """A ``cancel`` frame: nobody waits for that call. It may have been answered meanwhile."""
        task = self._numbered.get(msgspec.convert(frame.get("id"), Number))
        if task is not None:  # it begins first, though both came at once: it was made
            self._loop.call_soon(task.cancel, GAVE_UP)

    def cancel(self) -> None:
        """Give up all that are in flight."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """The same, and wait until they are over."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CALLS_SECONDS)

    def _ended(self, number: int, task: asyncio.Task[None], size: int) -> None:
        self._tasks.discard(task)
        if self._numbered.get(number) is task:
            del self._numbered[number]
        self._characters -= size

    async def _answer(self, number: int, name: str, arguments: dict[str, Any], aside: bool) -> None:
        # A worker that leaves its replies unread is given no more of them to leave, and its cell's
        # clock goes on.
        await self._channel.room()
        clock = self._clock
        if clock is not None:
            clock.pause()
        try:
            reply: Frame = {"value": await self._host.call(self._cell, name, arguments, aside)}
        except _FATAL as error:
            self._failed(error)
            return
        except AbymeError as error:
            reply = {"error": error_frame(error)}
        except Exception as error:  # a fault of ours must not hang the cell that waits
            _log.exception("the host function %s", name[:60])
            message = f"Abyme itself failed in {name[:60]}: {type(error).__name__}: {error}"
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
        except (FrameError, TypeError, ValueError, RecursionError) as error:
            message = f"the result cannot be handed to the REPL: {error}"
            failure = {"type": "HostError", "message": message}
            self._channel.send({"t": "reply", "id": number, "error": failure})
