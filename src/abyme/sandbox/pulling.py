"""Parts of documents on their way to a worker that can be passed no descriptors.

One answer at a time, none while too much waits to be sent, and each part checked against the
documents: what a hostile worker asks for is bounded by what an honest one would.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from abyme.context.documents import Document
from abyme.errors import AbymeError, DataError, SandboxError
from abyme.inside.codec import Frame, FrameError
from abyme.inside.pulled import MOST_PARTS, MOST_PULLED
from abyme.inside.rawframes import encode_raw
from abyme.sandbox.channel import Channel
from abyme.sandbox.frames import Number
from abyme.threads import in_thread

MOST_WAITING = 64
"""Requests of one worker that wait for their turn; an honest one makes one at a time."""

_Parts = Annotated[
    tuple[tuple[Number, Number, Number], ...], msgspec.Meta(min_length=1, max_length=MOST_PARTS)
]


class _Asked(msgspec.Struct):
    """A worker's request for parts of documents: index, first byte, length."""

    id: Number
    parts: _Parts


class Pulling:
    """Answers the pulls of one worker. ``failed`` is told what ends its run."""

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
        self._task: asyncio.Task[None] | None = None
        self._used: set[int] = set()

    def asked(self, frame: Frame) -> None:
        """A ``pull`` frame. Raises :class:`FrameError` or ``msgspec.ValidationError``."""
        asked = msgspec.convert(frame, _Asked)
        for index, start, length in asked.parts:
            if index >= len(self._documents) or start + length > self._documents[index].bytes:
                raise FrameError(f"no {length} bytes from {start} on of document {index}")
        if sum(length for _, _, length in asked.parts) > MOST_PULLED:
            raise FrameError(f"more than {MOST_PULLED:,} bytes at once")
        if len(self._waiting) >= MOST_WAITING:
            raise FrameError(f"more than {MOST_WAITING} requests for bytes at once")
        self._waiting.append(asked)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer())

    def uses(self, indexes: Sequence[int]) -> None:
        """The worker reads these documents where they lie."""
        self._used.update(indexes)

    def check(self) -> None:
        """Raise :class:`~abyme.errors.DataChanged` where one that was used has changed."""
        for index in self._used:
            self._documents[index].check()

    def close(self) -> None:
        """Answer nothing any more."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    async def _answer(self) -> None:
        try:
            while self._waiting:
                await self._channel.room()
                asked = self._waiting.popleft()
                self._used.update(index for index, _, _ in asked.parts)
                data = await in_thread(self._read, asked.parts)
                self._channel.send_bytes(encode_raw(asked.id, data))
        except AbymeError as error:
            self._failed(error)
        except Exception as error:  # nobody else would hear of it, and the cell waits
            self._failed(SandboxError(f"data could not be handed over: {error}"))
        finally:
            self._task = None

    def _read(self, parts: _Parts) -> bytes:
        """The bytes of the parts, up to the first after the first that cannot be read."""
        found = [self._documents[parts[0][0]].read(*parts[0][1:])]
        # Whoever needs one that cannot be read will ask for it by itself.
        with contextlib.suppress(DataError):
            found.extend(self._documents[index].read(*rest) for index, *rest in parts[1:])
        return b"".join(found)
