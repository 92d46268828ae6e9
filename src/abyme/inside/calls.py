"""The worker's half of a host call: ask from any thread or coroutine, wait for the reply."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .channel import Channel
from .codec import Frame, FrameError
from .reception import Reception
from .results import error_from

Settle = Callable[[Frame], None]

_AHEAD = 3
"""Calls of one batch that are in flight together: the host takes that many of the longest."""


class _Awaited:
    """A call that a thread has made, and waits for."""

    def __init__(self) -> None:
        self._answered = threading.Lock()
        self._answered.acquire()
        self._reply: Frame = {}
        self.number = 0

    def settle(self, reply: Frame) -> None:
        self._reply = reply
        self._answered.release()

    def reply(self) -> Frame:
        """Wait for it; once. In the main thread a signal interrupts this."""
        self._answered.acquire()
        return self._reply


class Calls:
    """Matches replies to the calls in flight by their number."""

    def __init__(self, channel: Channel, reception: Reception) -> None:
        self._channel = channel
        self._reception = reception
        self._main = threading.get_ident()
        self._numbers = itertools.count(1)
        self._pending: dict[int, Settle] = {}
        self._parts: dict[int, list[Any]] = {}

    def pending(self) -> bool:
        """Whether a reply is still awaited."""
        return bool(self._pending)

    def ask(self, name: str, arguments: dict[str, Any]) -> Any:
        """Ask the host and wait. Raises the exception that the host answered with."""
        return _value(self._wait(self._call(name, arguments)))

    def ask_several(self, name: str, several: Iterable[dict[str, Any]]) -> list[Frame]:
        """The reply frames of several calls, in order: the next are asked before one is answered.

        They come to the host in order, too.
        """
        waiting: deque[_Awaited] = deque()
        replies: list[Frame] = []
        try:
            for arguments in several:
                if len(waiting) == _AHEAD:
                    replies.append(waiting[0].reply())
                    waiting.popleft()
                waiting.append(self._begin(self._call(name, arguments)))
            while waiting:
                replies.append(waiting[0].reply())
                waiting.popleft()
        finally:
            for awaited in waiting:
                self._give_up(awaited.number)
        return replies

    async def ask_async(self, name: str, arguments: dict[str, Any]) -> Any:
        """The same for a coroutine of any running loop; cancelling it gives the call up."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[Frame] = loop.create_future()

        def deliver(frame: Frame) -> None:
            if not future.done():
                future.set_result(frame)

        def settle(frame: Frame) -> None:
            loop.call_soon_threadsafe(deliver, frame)

        number = self._start(self._call(name, arguments), settle)
        try:
            return _value(await future)
        finally:
            self._give_up(number)

    def _call(self, name: str, arguments: dict[str, Any]) -> Frame:
        aside = threading.get_ident() != self._main
        return {"t": "call", "name": name, "args": arguments, "aside": aside}

    def documents(self, index: int, count: int) -> list[int]:
        """Read-only descriptors of ``count`` documents from ``index`` on, for the caller to close.

        At least one; fewer than asked for where the host cannot open one of those after it.
        """
        frame: Frame = {"t": "documents", "index": index, "count": count}
        descriptors: list[int] = _value(self._wait(frame))
        return descriptors

    def pull(self, parts: Sequence[tuple[int, int, int]]) -> bytes:
        """The bytes of parts of documents (index, first byte, length), one after the other.

        Whole parts; fewer than asked for where the host cannot read one of those after the first.
        """
        pulled: bytes = _value(self._wait({"t": "pull", "parts": list(parts)}))
        return pulled

    def settle(self, frame: Frame) -> bool:
        """Hand a reply frame to its call; False where nobody waits for it any more."""
        number = frame.get("id", 0)
        if frame["t"] == "part":  # of a list too long for one frame; the rest follows
            self._parts.setdefault(number, []).extend(frame["value"])
            return True
        settle = self._pending.pop(number, None)
        before = self._parts.pop(number, None)
        if settle is None:
            return False
        if before is not None and "error" not in frame:
            frame["value"] = before + frame["value"]
        settle(frame)
        return True

    def _start(self, frame: Frame, settle: Settle) -> int:
        number = next(self._numbers)
        self._pending[number] = settle
        try:
            self._channel.send({**frame, "id": number})
            self._reception.call_made()
        except FrameError as error:
            self._pending.pop(number, None)
            raise ValueError(f"too much for one call ({error}): send less at once") from None
        except BaseException:
            self._pending.pop(number, None)
            raise
        return number

    def _begin(self, frame: Frame) -> _Awaited:
        awaited = _Awaited()
        awaited.number = self._start(frame, awaited.settle)
        return awaited

    def _wait(self, frame: Frame) -> Frame:
        awaited = self._begin(frame)
        try:
            return awaited.reply()
        finally:
            self._give_up(awaited.number)

    def _give_up(self, number: int) -> None:
        """Nobody waits for this call any more. Where it is not answered yet the host is told."""
        if self._pending.pop(number, None) is not None:
            self._channel.send({"t": "cancel", "id": number})


def _value(frame: Frame) -> Any:
    if "error" in frame:
        raise error_from(frame["error"])
    return frame.get("value")
