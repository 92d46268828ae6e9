"""What model-written cells leave behind beside their results, as a checkpoint can hold it.

A finished ``with ThreadPoolExecutor() as pool``, the ``m`` of a loop over matches, a lock nobody
holds: none of it can be pickled as it is, and one of them is in nearly every namespace. Each
function here takes such an object apart (as ``__reduce__`` would), or raises
:class:`pickle.PicklingError` for one that is still at work.
"""

from __future__ import annotations

import _thread
import functools
import re
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from pickle import PicklingError
from types import CellType, GeneratorType
from typing import Any

Reduced = tuple[Any, ...]


def reduce_match(found: re.Match[Any]) -> Reduced:
    """Found again where it was found. Only its ``pos`` is then where it begins."""
    again = _match(found.re, found.string, found.start(), found.endpos)
    if again is None or again.regs != found.regs:
        raise PicklingError("a match that is not found again by itself")
    return _match, (found.re, found.string, found.start(), found.endpos)


def _match(pattern: re.Pattern[Any], text: Any, start: int, end: int) -> re.Match[Any] | None:
    return pattern.match(text, start, end)


def reduce_cell(cell: CellType) -> Reduced:
    """Made first and filled then, so that functions which share a variable go on sharing it."""
    try:
        held = (cell.cell_contents,)
    except ValueError:  # nothing assigned yet
        return CellType, ()
    return CellType, (), held, None, None, _fill


def _fill(cell: CellType, held: tuple[Any]) -> None:
    cell.cell_contents = held[0]


def reduce_lock(lock: Any) -> Reduced:
    """A lock that nobody holds."""
    if not lock.acquire(blocking=False):
        raise PicklingError("a lock that is held")
    lock.release()
    if not isinstance(lock, _thread.RLock):
        return threading.Lock, ()
    if lock._is_owned():  # type: ignore[attr-defined]  # acquiring it again was no trial
        raise PicklingError("a lock that is held")
    return threading.RLock, ()


def reduce_thread(thread: threading.Thread) -> Reduced:
    """A thread that is over."""
    if thread.ident is None or thread.is_alive():
        raise PicklingError("a thread that is not over")
    return _ended_thread, (thread.name, thread.daemon)


def _ended_thread(name: str, daemon: bool) -> threading.Thread:
    thread = threading.Thread(name=name, daemon=daemon)
    thread.start()
    thread.join()
    return thread


def reduce_executor(executor: ThreadPoolExecutor) -> Reduced:
    """A pool that was shut down."""
    if not executor._shutdown:
        raise PicklingError("a thread pool that was not shut down (use `with`)")
    return _shut_executor, (executor._max_workers,)


def _shut_executor(workers: int) -> ThreadPoolExecutor:
    executor = ThreadPoolExecutor(workers)
    executor.shutdown()
    return executor


def reduce_future(future: Future[Any]) -> Reduced:
    """A future that is done."""
    if not future.done() or future.cancelled():
        raise PicklingError("a future that has no result")
    return _done_future, (future._result, future.exception())


def _done_future(result: Any, error: BaseException | None) -> Future[Any]:
    future: Future[Any] = Future()
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
    return future


def reduce_task(task: Any) -> Reduced:
    """A task of asyncio that is done."""
    if not task.done() or task.cancelled():
        raise PicklingError("a task of asyncio that has no result")
    error = task.exception()
    return _done_task, (task.get_loop(), None if error else task.result(), error)


def _done_task(loop: Any, result: Any, error: BaseException | None) -> Any:
    async def end() -> Any:
        if error is not None:
            raise error
        return result

    task = loop.create_task(end())
    while not task.done():
        loop.call_soon(loop.stop)
        loop.run_forever()
    task.exception()  # else its end would be told as an error that nobody looked at
    return task


def reduce_generator(generator: GeneratorType[Any, Any, Any]) -> Reduced:
    """A generator that has nothing more to give."""
    if generator.gi_frame is not None:
        raise PicklingError("a generator that is not at its end")
    return _spent_generator, ()


def _spent_generator() -> Generator[Any, None, None]:
    no_items: tuple[Any, ...] = ()
    nothing = (item for item in no_items)
    next(nothing, None)
    return nothing


def reduce_cached(function: Any) -> Reduced:
    """A function under ``lru_cache`` whose cache is empty: what is in one cannot be read."""
    if function.cache_info().currsize:
        raise PicklingError("a function whose lru_cache is in use")
    return _cached, (function.__wrapped__, function.cache_parameters()), function.__dict__


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def reduce_array(array: Any) -> Any:
    """A numpy array that is a view of another, as a view: pickle would make it a copy."""
    base = array.base
    shared = type(base) is type(array) and base.flags.c_contiguous and base.flags.owndata
    if not shared or array.dtype.hasobject or base.dtype.hasobject:
        return NotImplemented
    offset = array.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    return _view, (base, array.shape, array.dtype, offset, array.strides)


def _view(base: Any, shape: Any, dtype: Any, offset: int, strides: Any) -> Any:
    return type(base)(shape, dtype, base, offset, strides)


REDUCERS: dict[type, Callable[[Any], Reduced]] = {
    re.Match: reduce_match,
    CellType: reduce_cell,
    _thread.LockType: reduce_lock,
    _thread.RLock: reduce_lock,
    threading.Thread: reduce_thread,
    ThreadPoolExecutor: reduce_executor,
    Future: reduce_future,
    GeneratorType: reduce_generator,
    type(functools.lru_cache(len)): reduce_cached,
}
"""By the exact type of the object."""
