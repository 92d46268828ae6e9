"""The data of a run, loaded as it was handed over; or the same documents again, from a journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from abyme.context.documents import Data, Document, Measures
from abyme.context.load import load
from abyme.context.recall import loaded_event, recall, recall_made
from abyme.context.unnamed import Unnamed
from abyme.errors import DataError
from abyme.events import DataLoaded, DataLoading, Emit
from abyme.journal.tape import Tape
from abyme.journal.writer import Journal
from abyme.spec import GoesOn, RunSpec
from abyme.threads import in_thread

_LOADED_AT_ONCE = 200


class Stopped(Exception):
    """The run was ended while its data was still being loaded; says by what."""


async def gather(
    spec: RunSpec,
    journal: Journal,
    unnamed: Unnamed | None,
    emit: Emit,
    why_stop: Callable[[int], str],
) -> Data:
    """Load what was handed over, held by ``unnamed`` where it is there; tell of every document.

    ``why_stop`` is asked some ten times a second, in another thread, with the documents so far; it
    gives "" where there is no reason. Raises :class:`DataError` where the data cannot be loaded,
    :class:`Stopped`.
    """
    tell = partial(_loading, asyncio.get_running_loop(), emit, why_stop)
    try:
        data = await in_thread(
            load,
            spec.context,
            folder=journal.data_folder,
            unnamed=unnamed,
            **spec.reading,
            on_progress=tell,
        )
    except DataError as error:
        if reason := why_stop(0):  # Ctrl-C ended whoever sends the data, too
            raise Stopped(reason) from error
        raise
    if reason := why_stop(len(data.documents)):
        raise Stopped(reason)
    for index, document in enumerate(data.documents):
        if index % _LOADED_AT_ONCE == _LOADED_AT_ONCE - 1:
            await asyncio.sleep(0)  # 20,000 documents take half a second: let others work
        emit(loaded_event(index, document, journal.folder))
    emit(DataLoaded(data.kind, len(data.documents), data.bytes, dict(data.skipped)))
    return data


def gather_again(goes_on: GoesOn, tape: Tape, journal: Journal) -> tuple[Data, tuple[int, ...]]:
    """The documents of a run that goes on, and which of them changed; for a thread.

    Raises as :func:`~abyme.context.recall.recall`.
    """
    assert tape.data is not None
    data, changed = recall(
        tape.data,
        tape.documents,
        tape.hashes,
        journal.folder,
        accept_changed=goes_on.accept_changed,
    )
    if data.kind == "text" and tape.measured is not None and not changed:
        known = tape.measured
        measures = Measures(known.characters, known.lines, known.longest_line)
        data = replace(data, documents=(replace(data.documents[0], measures=measures),))
    return data, changed


def gather_made(tape: Tape, journal: Journal) -> dict[int, Document]:
    """The documents that code made for children, by index; for a thread.

    Raises as :func:`~abyme.context.recall.recall_made`.
    """
    assert tape.data is not None
    return recall_made(tape.data, tape.documents, journal.folder)


def _loading(
    loop: asyncio.AbstractEventLoop,
    emit: Emit,
    why_stop: Callable[[int], str],
    documents: int,
    size: int,
) -> None:
    if reason := why_stop(documents):
        raise Stopped(reason)
    loop.call_soon_threadsafe(emit, DataLoading(documents, size))
