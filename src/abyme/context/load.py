"""From what the caller hands over to documents: looked at, and by reference where possible.

:func:`~abyme.context.walk.plan` says what there is and under which names; ``_Loader`` looks into
each item; :func:`load` puts the two together.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from abyme.context.documents import BLOCK, Data, Document, Measures, shown
from abyme.context.encoding import ALIGNMENT, SAMPLE, Binary, Encoding, detect
from abyme.context.walk import SPECIAL, UNREADABLE, Context, Item, Root, plan, unreadable
from abyme.errors import DataError

__all__ = ["Context", "load"]

EMPTY = "empty"
BINARY = "binary"

_INNER = SAMPLE // 4
"""Bytes of the samples from the middle and the end of what is larger than one sample."""
_PROGRESS_EVERY = 500
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    exclude: Sequence[str] = (),
    on_progress: Callable[[int], None] | None = None,
) -> Data:
    """Make documents of ``context``; see :data:`Context` for what it may be.

    One text, its bytes or the path of one file give kind ``text``; a list, a dict and a directory
    give ``documents``. Files stay where they are. Text handed over is written to ``folder``, which
    is made when needed (mode 0700). In directories, what matches an ``fnmatch`` pattern of
    ``exclude`` (the path within the directory, or any component of it), is hidden, empty, binary
    or no regular file is left out and counted; empty texts in a list or dict as well.
    ``on_progress`` gets the number of documents so far, now and then and at the end.

    Raises :class:`DataError`, one line, where a path that was named is missing, empty, binary or
    cannot be read, where nothing readable is left, and where the disk is full.
    """
    items, roots, single = plan(context, exclude, folder.parent)
    loader = _Loader(folder)
    documents: list[Document] = []
    for item in items:
        document = loader.document(item)
        if document is None:
            continue
        documents.append(document)
        if on_progress is not None and len(documents) % _PROGRESS_EVERY == 0:
            on_progress(len(documents))
    for root in roots:
        if not root.loaded:
            raise DataError(_nothing_in(root))
    if not documents:
        raise DataError("the data is empty: there is nothing to ask about")
    if on_progress is not None:
        on_progress(len(documents))
    skipped = sum((root.skipped for root in roots), loader.skipped)
    return Data(
        kind="text" if single else "documents",
        documents=tuple(documents),
        skipped=dict(sorted(skipped.items())),
    )


def _nothing_in(root: Root) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(root.skipped.items()))
    what = f"left out: {counts}" if counts else "it is empty"
    return f"{shown(root.path)} holds no readable text ({what}): name files, or another folder"


class _Loader:
    """Turns items into documents, and counts those that are none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._written = 0
        self.skipped: Counter[str] = Counter()

    def document(self, item: Item) -> Document | None:
        """The item as a document, None where it was left out. Raises :class:`DataError`."""
        try:
            document = _file(item) if item.given is None else self._given(item.name, item.given)
        except _Unfit as unfit:
            if item.root is not None:
                item.root.skipped[unfit.reason] += 1
            elif item.given is not None and unfit.reason == EMPTY:
                self.skipped[EMPTY] += 1
            else:
                raise unfit.error from None
            return None
        if item.root is not None:
            item.root.loaded += 1
        return document

    def _given(self, name: str, given: str | bytes) -> Document:
        """Text handed over, written to the folder. Raises ``_Unfit`` and :class:`DataError`."""
        what = f"what was given as {shown(name)}"
        if isinstance(given, str):
            encoding = Encoding(errors="surrogatepass")
            measures = Measures.of(given) if len(given) <= SAMPLE else None
        else:
            inner = _inner_starts(len(given))
            samples = [given[:SAMPLE]] + [given[start : start + _INNER] for start in inner]
            encoding, measures = _looked_at(what, samples, len(given))
        if len(given) <= encoding.bom:
            raise _Unfit(EMPTY, DataError(_EMPTY.format(what)))
        self._written += 1
        path = self._folder / f"{self._written:06}.txt"
        found = _write(path, given)
        return _document(name, str(path), found, encoding, measures, owned=True)


def _file(item: Item) -> Document:
    """A file, by reference. Raises ``_Unfit``."""
    what = shown(item.path)
    # A file that the caller named may be a link; one found in a directory is none, or is no more.
    flags = _OPEN if item.root is None else _OPEN | os.O_NOFOLLOW
    try:
        descriptor = os.open(item.path, flags)
    except OSError as error:
        raise _Unfit(UNREADABLE, unreadable(item.path, error)) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _Unfit(SPECIAL, DataError(f"{what} is no longer a file: name another"))
        if not found.st_size:
            raise _Unfit(EMPTY, DataError(_why_empty(what, descriptor)))
        samples = [os.pread(descriptor, min(SAMPLE, found.st_size), 0)]
        samples += [os.pread(descriptor, _INNER, at) for at in _inner_starts(found.st_size)]
    except OSError as error:
        raise _Unfit(UNREADABLE, unreadable(item.path, error)) from error
    finally:
        os.close(descriptor)
    encoding, measures = _looked_at(what, samples, found.st_size)
    if found.st_size <= encoding.bom:
        raise _Unfit(EMPTY, DataError(_EMPTY.format(what)))
    path = item.path if item.root is not None else str(Path(item.path).absolute())
    return _document(item.name, path, found, encoding, measures)


_EMPTY = "{} is empty: there is nothing to ask about"


def _why_empty(what: str, descriptor: int) -> str:
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
        message = f"{what} is {encoding.reason}, not text: {encoding.advice}"
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


def _write(path: Path, given: str | bytes) -> os.stat_result:
    """Write text in slices, so that no second whole copy of it exists at any time."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(_slices(given))
            return path.stat()
        except OSError:
            path.unlink(missing_ok=True)  # half a text is none
            raise
    except OSError as error:
        advice = "keep runs elsewhere (--runs, ABYME_RUNS)"
        if error.errno in _NO_ROOM:
            advice = f"free some space, or {advice}"
        where = shown(str(path.parent))
        raise DataError(f"{where} cannot take the data ({error.strerror}): {advice}") from error


def _slices(given: str | bytes) -> Iterator[bytes]:
    for start in range(0, len(given), BLOCK):
        part = given[start : start + BLOCK]
        # A surrogate is encoded by itself, so that slices join to exactly what the whole gives.
        yield part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
