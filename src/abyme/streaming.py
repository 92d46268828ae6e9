"""A run's events as they happen, for ``for`` and ``async for``."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from types import TracebackType

from abyme.engine import Handle
from abyme.events import PASSING, Event
from abyme.types import Answer

_UNREAD = 10_000
"""Events that wait to be read, from which on pieces of output and text are left out."""


class Stream:
    """A run under way: an iterable, in both senses, of its events.

    The last one is ``RunEnded``; ``answer`` is there from then on. Leaving the loop early and
    closing (``with``, ``async with``, :meth:`close`) ends the run.
    """

    def __init__(self, start: Callable[[Callable[[Event], None]], Handle]) -> None:
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._wake: Callable[[], None] = _nobody_waits
        self._handle = start(self._put)
        self._handle.future.add_done_callback(lambda _: self._put(None))

    def _put(self, event: Event | None) -> None:
        if isinstance(event, PASSING) and self._events.qsize() > _UNREAD:
            return  # what nobody reads is not kept for ever; the journal's events all are
        self._events.put(event)
        self._wake()

    @property
    def answer(self) -> Answer:
        """The answer; waits for it where the run goes on. Raises as ``completion`` does."""
        return self._handle.future.result()

    def close(self) -> None:
        """End the run if it is still going, and wait until it is over."""
        self._handle.interrupt()
        self._handle.future.exception()

    def __iter__(self) -> Iterator[Event]:
        while (event := self._events.get()) is not None:
            yield event
        self._handle.future.result()

    async def __aiter__(self) -> AsyncIterator[Event]:
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        # Not a thread that waits in `get`: it would outlive a consumer who was cancelled.
        self._wake = partial(_call_in, loop, arrived.set)
        try:
            while True:
                arrived.clear()
                while not self._events.empty():
                    if (event := self._events.get()) is None:
                        self._handle.future.result()
                        return
                    yield event
                await arrived.wait()
        finally:
            self._wake = _nobody_waits

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)


def _nobody_waits() -> None:
    """What new events wake where no coroutine waits for them."""
