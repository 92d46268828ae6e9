"""From what the caller hands over to documents: looked at, and by reference where possible.

:func:`~abyme.context.plan.plan` says what there is and under which names; ``_Loader`` looks into
each item; :func:`load` puts the two together.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from abyme.context.documents import Data, Document, Measures, shown
from abyme.context.encoding import ALIGNMENT, SAMPLE, Binary, Encoding, detect
from abyme.context.named import unreadable
from abyme.context.plan import Context, Item, Root, plan
from abyme.context.progress import Progress, Tell
from abyme.context.spool import slices_of, write
from abyme.context.stream import Stream, stream_slices
from abyme.context.unnamed import HeldFile, HeldText, Unnamed
from abyme.context.walk import HIDDEN, IGNORED, SPECIAL, TWICE, UNREADABLE, Choice
from abyme.errors import DataChanged, DataError

__all__ = ["Context", "load"]

EMPTY = "empty"
BINARY = "binary"

_INNER = SAMPLE // 4
"""Bytes of the samples from the middle and the end of what is larger than one sample."""
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class _Unfit(Exception):
    """A file that cannot be a document: a reason to count, and the error where it was named."""

    def __init__(self, reason: str, error: DataError) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error


def load(
    context: Context,
    *,
    folder: Path,
    unnamed: Unnamed | None = None,
    exclude: Sequence[str] = (),
    ignore_files: bool = True,
    hidden: bool = False,
    on_progress: Tell | None = None,
) -> Data:
    """Make documents of ``context``; see :data:`Context` for what it may be.

    One text, its bytes, a stream or the path of one file give kind ``text``; a list, a dict and a
    directory give ``documents``. Files stay where they are. What is handed over is written to
    ``folder``, which is made when needed (mode 0700), or held by ``unnamed``. In directories, what
    matches an ``fnmatch`` pattern of ``exclude`` (the path within the directory, or any component
    of it), is ignored by a ``.gitignore`` (unless ``ignore_files`` is False), hidden (unless
    ``hidden``; ``.git`` always), empty, binary or no regular file is left out and counted, as are
    the folders of runs; empty texts in a list or dict, and files that a list names twice in
    whatever way, as well.
    ``on_progress`` gets the numbers of documents and bytes so far, about ten times a second.

    Raises :class:`DataError`, one line, where a path that was named is missing, empty, binary or
    cannot be read, where nothing readable is left, and where the disk is full.
    """
    progress = Progress(on_progress)
    choice = Choice(exclude, ignore_files, hidden)
    loader = _Loader(folder, unnamed, progress)
    items, roots, single = plan(context, choice, loader.skipped, progress)
    documents = [document for item in items if (document := loader.document(item)) is not None]
    for root in roots:
        if not root.loaded and not root.skipped[TWICE]:
            raise DataError(_nothing_in(root))
    if not documents:
        raise DataError("the data is empty: there is nothing to ask about")
    skipped = sum((root.skipped for root in roots), loader.skipped)
    return Data(
        kind="text" if single else "documents",
        documents=tuple(documents),
        skipped=dict(sorted(skipped.items())),
    )


def _nothing_in(root: Root) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(root.skipped.items()))
    left_out = f"left out: {counts}" if counts else ""
    advice = "name files, or another folder"
    if root.skipped[IGNORED]:
        advice += ", or read what is ignored too (--no-ignore, ignore_files=False)"
    if root.skipped[HIDDEN] and root.pattern:
        advice += ", or read what is hidden too (--hidden, hidden=True)"
    if root.pattern:
        return (
            f"no readable text matches {shown(root.pattern)}"
            f"{f' ({left_out})' if left_out else ''}: {advice}"
        )
    return f"{shown(root.path)} holds no readable text ({left_out or 'it is empty'}): {advice}"


class _Loader:
    """Turns items into documents, and counts those that are none."""

    def __init__(self, folder: Path, unnamed: Unnamed | None, progress: Progress) -> None:
        self._folder = folder.absolute()
        self._unnamed = unnamed
        self._progress = progress
        self._written = 0
        self.skipped: Counter[str] = Counter()

    def document(self, item: Item) -> Document | None:
        """The item as a document, None where it was left out. Raises :class:`DataError`."""
        try:
            document = self._made(item)
        except _Unfit as unfit:
            if item.root is not None:
                item.root.skipped[unfit.reason] += 1
            elif isinstance(item.given, str | bytes) and unfit.reason == EMPTY:
                self.skipped[EMPTY] += 1
            else:
                raise unfit.error from None
            self._progress.beat()
            return None
        if item.root is not None:
            item.root.loaded += 1
        self._progress.loaded(document.bytes)
        return document

    def _made(self, item: Item) -> Document:
        if item.given is None:
            return _file(item)
        if isinstance(item.given, str | bytes):
            return self._given(item.name, item.given)
        return self._streamed(item.name, item.given)

    def _given(self, name: str, given: str | bytes) -> Document:
        """Text handed over, kept for the run. Raises ``_Unfit`` and :class:`DataError`."""
        what = f"what was given as {name}"
        if isinstance(given, str):
            encoding = Encoding(errors="surrogatepass")
            measures = Measures.of(given) if len(given) <= SAMPLE else None
        else:
            inner = _inner_starts(len(given))
            samples = [given[:SAMPLE]] + [given[start : start + _INNER] for start in inner]
            encoding, measures = _looked_at(what, samples, len(given))
        if len(given) <= encoding.bom:
            raise _Unfit(EMPTY, DataError(_EMPTY.format(shown(what))))
        if self._unnamed is not None:
            held = self._unnamed.text(given, self._progress.wrote)
            return _held(name, held, encoding, measures)
        path = self._next_path()
        found = write(path, slices_of(given), self._progress.wrote)
        return _document(name, str(path), found, encoding, measures, owned=True)

    def _streamed(self, name: str, stream: Stream) -> Document:
        """All that a stream gives, kept for the run. Raises ``_Unfit`` and :class:`DataError`."""
        what = "standard input" if name == "stdin" else name
        slices = stream_slices(stream, name, self._progress)
        if self._unnamed is not None:
            held = self._unnamed.stream(slices, self._progress.wrote)
            _, encoding, measures = _look_into(held.open(), what)
            return _held(name, held, encoding, measures)
        path = self._next_path()
        write(path, slices, self._progress.wrote)
        found, encoding, measures = _look(str(path), what, _OPEN)
        return _document(name, str(path), found, encoding, measures, owned=True)

    def _next_path(self) -> Path:
        self._written += 1
        return self._folder / f"{self._written:06}.txt"


def look_again(document: Document) -> Document:
    """A document as it is now. Raises :class:`DataChanged` where it is gone or no text."""
    try:
        flags = _OPEN | os.O_NOFOLLOW if document.owned else _OPEN
        found, encoding, measures = _look(document.path, document.name, flags)
    except _Unfit as unfit:
        raise DataChanged(f"{shown(document.name)} is not what it was: {unfit.error}") from unfit
    return _document(document.name, document.path, found, encoding, measures, owned=document.owned)


def _file(item: Item) -> Document:
    """A file, by reference. Raises ``_Unfit``."""
    # A file that the caller named may be a link; one found in a directory is none, or is no more.
    flags = _OPEN if item.root is None else _OPEN | os.O_NOFOLLOW
    found, encoding, measures = _look(item.path, item.path, flags)
    path = item.path if item.root is not None else str(Path(item.path).absolute())
    return _document(item.name, path, found, encoding, measures)


def _look(path: str, what: str, flags: int) -> tuple[os.stat_result, Encoding, Measures | None]:
    """What the file at ``path`` is, called ``what`` where it is no data. Raises ``_Unfit``."""
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _Unfit(UNREADABLE, unreadable(what, error)) from error
    return _look_into(descriptor, what)


def _look_into(descriptor: int, what: str) -> tuple[os.stat_result, Encoding, Measures | None]:
    """:func:`_look` into what is open, and close it."""
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _Unfit(SPECIAL, DataError(f"{shown(what)} is no longer a file: name another"))
        if not found.st_size:
            raise _Unfit(EMPTY, DataError(_why_empty(what, descriptor)))
        samples = [os.pread(descriptor, min(SAMPLE, found.st_size), 0)]
        samples += [os.pread(descriptor, _INNER, at) for at in _inner_starts(found.st_size)]
    except OSError as error:
        raise _Unfit(UNREADABLE, unreadable(what, error)) from error
    finally:
        os.close(descriptor)
    encoding, measures = _looked_at(what, samples, found.st_size)
    if found.st_size <= encoding.bom:
        raise _Unfit(EMPTY, DataError(_EMPTY.format(shown(what))))
    return found, encoding, measures


_EMPTY = "{} is empty: there is nothing to ask about"


def _why_empty(what: str, descriptor: int) -> str:
    what = shown(what)
    if os.pread(descriptor, 1, 0):
        return f"{what} has no size of its own (as files in /proc): copy it to a file first"
    return _EMPTY.format(what)


def _inner_starts(size: int) -> tuple[int, ...]:
    """Where the samples from the middle and the end begin, if the head is not all."""
    if size <= SAMPLE:
        return ()
    starts = (max(SAMPLE, size // 2), max(SAMPLE, size - _INNER))
    return tuple(-(-start // ALIGNMENT) * ALIGNMENT for start in starts)


def _looked_at(what: str, samples: list[bytes], size: int) -> tuple[Encoding, Measures | None]:
    """How the text is encoded, and how large it is where the first sample is all of it."""
    head, middle, tail = samples if len(samples) == 3 else (samples[0], b"", b"")
    encoding = detect(head, middle, tail, size)
    if isinstance(encoding, Binary):
        message = f"{shown(what)} is {encoding.reason}, not text: {encoding.advice}"
        raise _Unfit(BINARY, DataError(message))
    if size > len(head):
        return encoding, None
    return encoding, Measures.of(head[encoding.bom :].decode(encoding.name, encoding.errors))


def _document(
    name: str,
    path: str,
    found: os.stat_result,
    encoding: Encoding,
    measures: Measures | None,
    *,
    owned: bool = False,
) -> Document:
    return Document(
        name=name,
        path=path,
        bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        inode=found.st_ino,
        encoding=encoding.name,
        errors=encoding.errors,
        bom=encoding.bom,
        owned=owned,
        measures=measures,
    )


def _held(
    name: str, held: HeldFile | HeldText, encoding: Encoding, measures: Measures | None
) -> Document:
    return Document(
        name=name,
        path="",
        bytes=held.bytes,
        mtime_ns=0,
        inode=held.inode,
        encoding=encoding.name,
        errors=encoding.errors,
        bom=encoding.bom,
        owned=True,
        measures=measures,
        held=held,
    )
