"""What answers rest on: a run's documents as they are now, and the quotes that stand in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from abyme.events import (
    DataLoaded,
    DocumentHashed,
    DocumentLoaded,
    Event,
    RunEnded,
    RunForked,
    RunStarted,
)
from abyme.journal.files import open_regular
from abyme.journal.format import DATA
from abyme.types import Quote

Say = Callable[[str], None]
_BLOCK = 1 << 20


class _Loaded(msgspec.Struct):
    """A document as one event has it; a later event of its index takes its place."""

    event: DocumentLoaded
    copied: bool
    sha256: str = ""
    replaced: bool = False


class Evidence:
    """The documents and quotes of the run in ``folder``.

    ``problem`` is told what was changed, ``note`` what cannot be checked.
    """

    def __init__(self, folder: Path, problem: Say, note: Say) -> None:
        self._folder = folder
        self._problem = problem
        self._note = note
        self._run = folder.name
        self._loaded: list[_Loaded] = []
        self._current: dict[int, _Loaded] = {}
        self._quotes: list[tuple[Quote, _Loaded | None]] = []
        self._asked_about = 0
        """How many of the documents are the root's; what code made for children follows them."""
        self.hashed = 0
        """Documents whose bytes were read and have the hash they had."""
        self.proved = 0
        """Quotes that stand in the data where they were found."""

    @property
    def documents(self) -> int:
        """How many the run has."""
        return len(self._current)

    def add(self, event: Event) -> None:
        """The run's next event."""
        match event:
            case RunStarted() | RunForked():
                self._run = event.run
            case DocumentLoaded():
                if event.index in self._current:
                    self._current[event.index].replaced = True
                loaded = _Loaded(event, self._is_copy(event))
                self._current[event.index] = loaded
                self._loaded.append(loaded)
            case DocumentHashed() if event.index in self._current:
                loaded = self._current[event.index]
                loaded.sha256 = event.sha256
                loaded.copied = loaded.copied or event.copied
            case DataLoaded():
                self._asked_about = event.documents
            case RunEnded():
                asked_about = (self._current.get(n) for n in range(self._asked_about))
                names = {loaded.event.name: loaded for loaded in asked_about if loaded is not None}
                quotes = event.answer.quotes
                self._quotes += [(quote, names.get(quote.document)) for quote in quotes]

    def check(self, *, data: bool) -> None:
        """Look at all of it; ``data``: read every document, not only those that seem changed."""
        for loaded in self._loaded:
            if not loaded.replaced:
                self._document(loaded, data)
        for quote, among in self._quotes:
            self._quote(quote, among)

    def _is_copy(self, event: DocumentLoaded) -> bool:
        """Whether it lies in the run's folder; format 1 says so by its path alone, at first."""
        return event.owned or Path(event.path).parts[-3:-1] == (self._run, DATA)

    def _path(self, loaded: _Loaded) -> Path:
        path = Path(loaded.event.path)
        return self._folder / DATA / path.name if loaded.copied else path

    def _document(self, loaded: _Loaded, data: bool) -> None:
        event, path = loaded.event, self._path(loaded)
        name = f"{DATA}/{path.name}" if loaded.copied else event.name
        try:
            found = os.stat(path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            say = self._problem if loaded.copied or data else self._note
            say(f"{name} is not there: {why}")
            return
        if found.st_size != event.bytes:
            sizes = f"it has {found.st_size:,} bytes and had {event.bytes:,}"
            self._problem(f"{name} was changed: {sizes}")
            return
        same = (found.st_mtime_ns, found.st_ino) == (event.mtime_ns, event.inode)
        if same and not loaded.copied and not data:
            return
        if not loaded.sha256:
            self._note(f"{name} cannot be checked: the run ended before its hash was taken")
        elif file_hash(path) != loaded.sha256:
            self._problem(f"{name} was changed: it has not the hash that it had")
        else:
            self.hashed += 1

    def _quote(self, quote: Quote, loaded: _Loaded | None) -> None:
        said = f"the quote {quote.text[:40]!r}"
        if not quote.verified or quote.start is None or quote.end is None:
            self._note(f"{said} was not found in the data by the run itself")
            return
        if loaded is None:
            self._problem(f"{said} is of a document that the run never had: {quote.document!r:.80}")
            return
        if loaded.replaced:
            self._note(f"{said} is of data that was changed later, as the journal says")
            return
        event = loaded.event
        try:
            same = self._stands(quote.text.encode(event.encoding, event.errors), quote, loaded)
        except OSError as error:
            self._note(f"{said} cannot be checked: {event.name}: {error.strerror}")
            return
        except (ValueError, LookupError):
            same = False
        if same:
            self.proved += 1
        else:
            self._problem(f"{said} does not stand in {event.name} at byte {quote.start:,}")

    def _stands(self, expected: bytes, quote: Quote, loaded: _Loaded) -> bool:
        start, end = quote.start or 0, quote.end or 0
        if end - start != len(expected):
            return False
        with open_regular(self._path(loaded)) as file:
            file.seek(start)
            return file.read(len(expected)) == expected


def file_hash(path: Path) -> str:
    """The SHA-256 of a file; empty where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()
