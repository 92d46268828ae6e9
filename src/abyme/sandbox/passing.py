"""Documents on their way to a worker: by descriptor, opened late, few at a time.

A descriptor that is sent and not yet received is held by the kernel, which counts those of all
processes of a user together: a worker that asks for thousands and reads none of them would take
them from every other run. So no more go out before the worker has read what was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

import msgspec

from abyme.context.documents import Document
from abyme.errors import AbymeError, DataError
from abyme.inside.channel import MOST_DESCRIPTORS
from abyme.inside.codec import Frame, FrameError
from abyme.sandbox.channel import Channel
from abyme.sandbox.frames import Number

MOST_WAITING = 20_000
"""Requests of one worker that wait for their turn: each of its threads may have one."""
_UNREAD = 4
"""Replies with descriptors that may lie unread."""
_SOON, _LATER = 0.0005, 0.05


class _Asked(msgspec.Struct):
    """A worker's request for ``count`` documents from ``index`` on."""

    id: Number
    index: Number
    count: Number


class DocumentPassing:
    """Hands the documents of one worker over. ``failed`` is told what ends its run."""

    def __init__(
        self,
        documents: tuple[Document, ...],
        channel: Channel,
        failed: Callable[[AbymeError], None],
    ) -> None:
        self._documents = documents
        self._channel = channel
        self._failed = failed
        self._waiting: deque[_Asked] = deque()
        self._sent = 0
        self._pause = _SOON
        self._timer: asyncio.TimerHandle | None = None
        self._opened: set[int] = set()

    def asked(self, frame: Frame) -> None:
        """A ``documents`` frame. Raises :class:`FrameError` or ``msgspec.ValidationError``."""
        asked = msgspec.convert(frame, _Asked)
        last = asked.index + asked.count - 1
        if not 1 <= asked.count <= MOST_DESCRIPTORS or last >= len(self._documents):
            raise FrameError(f"no documents {asked.index} to {last}")
        if len(self._waiting) >= MOST_WAITING:
            raise FrameError(f"more than {MOST_WAITING:,} requests for documents at once")
        self._waiting.append(asked)
        if self._timer is None:
            self._hand_over()

    def check(self) -> None:
        """Raise :class:`~abyme.errors.DataChanged` where one that was opened has changed."""
        for index in self._opened:
            self._documents[index].check()

    def close(self) -> None:
        """Hand nothing over any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _hand_over(self) -> None:
        self._timer = None
        while self._waiting:
            if self._sent >= _UNREAD:
                if not self._channel.all_read():
                    # It tells nobody when it reads.
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(self._pause, self._hand_over)
                    self._pause = min(2 * self._pause, _LATER)
                    return
                self._sent, self._pause = 0, _SOON
            try:
                self._send(self._waiting.popleft())
            except DataError as error:
                self._failed(error)
                return

    def _send(self, asked: _Asked) -> None:
        """Pass documents in a row, up to the first after the first that cannot be opened."""
        indexes = range(asked.index, asked.index + asked.count)
        descriptors = [self._documents[asked.index].open()]
        # Whoever needs one that cannot be opened will ask for it by itself.
        with contextlib.suppress(DataError):
            descriptors.extend(self._documents[index].open() for index in indexes[1:])
        self._opened.update(indexes[: len(descriptors)])
        reply = {"t": "documents", "id": asked.id, "count": len(descriptors)}
        self._channel.send(reply, descriptors)
        self._sent += 1
