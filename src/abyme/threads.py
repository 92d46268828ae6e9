"""Blocking work beside the event loop, in threads that never keep the interpreter from ending."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function(*args, **kwargs)`` in a daemon thread of its own; its result or exception.

    Not ``asyncio.to_thread``: its pool is small, so that long hashing or a tool that hangs would
    keep other runs waiting, and the interpreter joins its threads before it ends. Cancelling the
    coroutine leaves the thread to finish by itself.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = function(*args, **kwargs)
        except Exception as caught:
            # A future refuses StopIteration.
            error = RuntimeError(repr(caught)) if isinstance(caught, StopIteration) else caught
        except BaseException as caught:  # SystemExit would end the event loop's thread
            error = RuntimeError(repr(caught))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=work, name="abyme-work", daemon=True).start()
    return await future


async def aside(worth: bool, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """:func:`in_thread` where that is ``worth`` it, here and now otherwise.

    A thread costs 0.1 to 1 ms; two hundred children that each begin three wait for one another.
    """
    if worth:
        return await in_thread(function, *args, **kwargs)
    return function(*args, **kwargs)
