"""Work that is done to its end although whoever waits for it is cancelled, perhaps twice."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Made = TypeVar("Made")


async def to_the_end(work: Coroutine[Any, Any, Made]) -> Made:
    """What ``work`` gives. Cancelling this waits for ``work`` all the same, and is raised then.

    For cleaning up: a tree that is cancelled from several sides is cancelled several times, and
    each time would cut the cleaning up of the time before.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # the work's own: it is done, and raises below
            break
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # retrieved: what ends all is raised instead
        raise cancelled
    return task.result()
