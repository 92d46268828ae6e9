"""Waiting for an answer: in a thread or in a loop, with or without news of how far it has come."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable

from abyme.engine import Handle, engine
from abyme.errors import ConfigError
from abyme.journal.tape import Tape
from abyme.progress import Following, Progress
from abyme.recorded import shared
from abyme.spec import GoesOn
from abyme.telling import Listener
from abyme.threads import in_thread
from abyme.types import Answer

Start = Callable[[Listener | None], Handle]

Recall = Callable[[Following], None]
"""Tells of what happened before the run went on."""


def answer_of(
    start: Start, progress: Callable[[Progress], None] | None, recall: Recall | None = None
) -> Answer:
    """The answer of the run that ``start`` starts. Leaving early (Ctrl-C) ends it first.

    Raises :class:`ConfigError` in the engine's own thread.
    """
    if engine().is_current():
        raise ConfigError("this would wait for itself here: use the method for running loops")
    following = Following()
    if progress is not None and recall is not None:
        recall(following)
    handle = start(following.take if progress else None)
    try:
        if progress is not None:
            following.call(progress, handle.future)
        return handle.future.result()
    except BaseException:
        handle.interrupt()
        with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
            handle.future.exception(timeout=10)  # be gone only when it is
        raise


async def aanswer_of(
    start: Start, progress: Callable[[Progress], None] | None, recall: Recall | None = None
) -> Answer:
    """:func:`answer_of` for a running event loop; cancelling it ends the run first."""
    following = Following()
    if progress is not None and recall is not None:
        await in_thread(recall, following)
    handle = start(following.take if progress else None)
    waiting = asyncio.wrap_future(handle.future)
    try:
        if progress is not None:
            await following.call_while(progress, waiting)
        return await asyncio.shield(waiting)
    except BaseException:
        handle.interrupt()
        await asyncio.wait([waiting])
        raise


def recall_of(goes_on: GoesOn, question: str = "") -> Recall:
    """How far a run had come before it goes on, for those who follow it.

    ``question``: the further one that it goes on with, if any.
    """

    def recall(following: Following) -> None:
        records = shared(goes_on, further=bool(question))
        seconds = Tape(records).spent.seconds
        following.recall((record.event for record in records), seconds)

    return recall
