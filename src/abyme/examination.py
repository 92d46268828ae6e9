"""Looking at the data behind the run: exact sizes, hashes, and the proof of quotes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable

import msgspec

from abyme.context.describe import measure
from abyme.context.documents import Data, Document
from abyme.context.identity import sha256, verify_span
from abyme.errors import DataError, JournalError
from abyme.events import DataMeasured, DocumentHashed, Emit
from abyme.threads import in_thread
from abyme.types import Quote

_HASHED_AT_ONCE = 64
"""Documents that one thread hashes before their hashes are told."""


class Examination:
    """What is found out about ``data`` while the model works, each finding an event."""

    def __init__(
        self,
        data: Data,
        emit: Emit,
        hashed: Iterable[int] = (),
        measured: DataMeasured | None = None,
    ) -> None:
        self._data = data
        self._emit = emit
        self._stop = threading.Event()
        self._hashed = set(hashed)
        self._measured = measured
        self._begun = asyncio.Event()
        self._estimated = False

    def begin(self, *, estimated: bool) -> None:
        """The first message is made; ``estimated``: the sizes in it were not exact."""
        self._estimated = estimated
        self._begun.set()

    def stop(self) -> None:
        """Threads that still measure or hash end within a block."""
        self._stop.set()

    async def measure(self) -> DataMeasured | None:
        """Exact sizes, where the first message had estimates; waits for :meth:`begin`."""
        self._stop.clear()
        await self._begun.wait()
        if not self._estimated or self._measured is not None:
            return self._measured if self._estimated else None
        measures = await in_thread(measure, self._data, self._stop.is_set)
        if measures is None:
            return None
        measured = DataMeasured(measures.characters, measures.lines, measures.longest_line)
        self._measured = measured
        self._emit(measured)
        return measured

    async def hash_all(self) -> None:
        """The SHA-256 of every document, until it is stopped or one of them has changed."""
        documents = self._data.documents
        missing = [index for index in range(len(documents)) if index not in self._hashed]
        for start in range(0, len(missing), _HASHED_AT_ONCE):
            some = missing[start : start + _HASHED_AT_ONCE]
            these = tuple(documents[index] for index in some)
            hashes = await in_thread(_hashes, these, self._stop.is_set)
            for index, digest in zip(some, hashes, strict=False):
                self._tell(index, digest)
            if len(hashes) < len(some):
                return

    async def prove(
        self, quotes: tuple[Quote, ...], out_of_time: Callable[[], bool]
    ) -> tuple[Quote, ...]:
        """The quotes, each compared byte for byte with what the host itself reads.

        The hash of every document that is quoted is in the journal before the answer is, unless
        the run's time ends first.
        """
        places = {document.name: index for index, document in enumerate(self._data.documents)}
        checked: list[Quote] = []
        for quote in quotes:
            index = places.get(quote.document)
            if index is None:
                checked.append(quote)
                continue
            document = self._data.documents[index]
            if index not in self._hashed:
                for digest in await in_thread(_hashes, (document,), out_of_time):
                    with contextlib.suppress(JournalError):  # said in the answer's reason
                        self._tell(index, digest)
            checked.append(await in_thread(_verify, document, quote))
        return tuple(checked)

    def _tell(self, index: int, digest: str) -> None:
        self._hashed.add(index)
        self._emit(DocumentHashed(index, digest, self._data.documents[index].owned))


def _hashes(documents: tuple[Document, ...], should_stop: Callable[[], bool]) -> list[str]:
    """The SHA-256 of each, up to where it was told to stop or found one that had changed."""
    digests: list[str] = []
    for document in documents:
        try:
            digest = None if should_stop() else sha256(document, should_stop)
        except DataError:
            return digests  # whoever reads it next finds out too, and ends the run
        if digest is None:
            return digests
        digests.append(digest)
    return digests


def _verify(document: Document, quote: Quote) -> Quote:
    if quote.start is None or quote.end is None:
        return quote
    try:
        expected = quote.text.encode(document.encoding, document.errors)
        same = verify_span(document, quote.start, quote.end, expected)
    except (DataError, UnicodeError):
        same = False
    return msgspec.structs.replace(quote, verified=same)
