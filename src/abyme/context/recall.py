"""Data as a journal has it: the same documents again, if they are still what they were."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from abyme.context.documents import Data, Document, Measures, shown
from abyme.context.identity import sha256
from abyme.context.load import look_again
from abyme.errors import DataChanged, DataError
from abyme.events import DataLoaded, DocumentLoaded

DATA = "data"
"""Where in a run's folder the copies lie."""
_NAMED = 5
"""Changed documents that are named."""


def loaded_event(index: int, document: Document, folder: Path) -> DocumentLoaded:
    """What the journal in ``folder`` says of a document."""
    measures = document.measures
    path = document.path
    if document.owned and path:
        path = os.path.relpath(path, folder)
    return DocumentLoaded(
        index,
        document.name,
        path,
        document.bytes,
        document.mtime_ns,
        document.inode,
        document.encoding,
        document.errors,
        document.owned,
        document.bom,
        None if measures is None else (measures.characters, measures.lines, measures.longest_line),
    )


def recall(
    loaded: DataLoaded,
    documents: Mapping[int, DocumentLoaded],
    hashes: Mapping[int, str],
    folder: Path,
    *,
    accept_changed: bool = False,
) -> tuple[Data, tuple[int, ...]]:
    """The data of the run in ``folder``, and the indices of documents that are not the same.

    One whose size, time and inode are not what they were is the same where its bytes are, by the
    SHA-256 in the journal: a folder may have been copied, or brought back from a backup.

    Raises :class:`DataError` where the journal does not have all of it, and :class:`DataChanged`
    where documents changed, unless ``accept_changed``, or are gone.
    """
    if not set(documents).issuperset(range(loaded.documents)):
        raise DataError("its journal does not have all documents: ask again instead")
    found = [_document(documents[index], folder) for index in range(loaded.documents)]
    changed: dict[int, Document] = {}
    for index, document in enumerate(found):
        try:
            document.check()
        except DataError:
            again = look_again(document)
            same = replace(document, bytes=again.bytes, mtime_ns=again.mtime_ns, inode=again.inode)
            if _is_same(same, hashes.get(index), document):
                found[index] = same
            else:
                found[index] = changed[index] = again
    if changed and not accept_changed:
        raise DataChanged(
            f"not what it was when the run was left: {_listed(list(changed.values()))}; "
            "--accept-changed goes on with what is there now"
        )
    return Data(loaded.kind, tuple(found), dict(loaded.skipped)), tuple(changed)


def recall_made(
    loaded: DataLoaded, documents: Mapping[int, DocumentLoaded], folder: Path
) -> dict[int, Document]:
    """The documents that code made for children, by index. Raises as :func:`recall`."""
    made: dict[int, Document] = {}
    for index, event in documents.items():
        if index >= loaded.documents:
            document = _document(event, folder)
            found = _found(document)
            if found is None or found.st_size != document.bytes:
                raise DataChanged(f"not what it was: {shown(document.path)}, which code made")
            made[index] = replace(document, mtime_ns=found.st_mtime_ns, inode=found.st_ino)
    return made


def _found(document: Document) -> os.stat_result | None:
    """The file of a document that code made, which may be empty or anything; None if it is gone."""
    try:
        found = os.lstat(document.path)
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _document(event: DocumentLoaded, folder: Path) -> Document:
    if "\0" in event.path:
        raise DataError(f"the journal names no file: {shown(event.path)}")
    path, copies = Path(event.path), folder / DATA
    if not event.owned and path.parent.name == DATA and (copies / path.name).exists():
        path = copies / path.name  # as format 1 named what was handed over
    elif event.owned:
        path = folder / path
        if path.parent != copies or copies.is_symlink() or path.is_symlink():
            raise DataError(f"the journal names no copy of the run's own: {shown(event.path)}")
    return Document(
        name=event.name,
        path=str(path),
        bytes=event.bytes,
        mtime_ns=event.mtime_ns,
        inode=event.inode,
        encoding=event.encoding,
        errors=event.errors,
        bom=event.bom,
        owned=event.owned,
        measures=None if event.measures is None else Measures(*event.measures),
    )


def _is_same(now: Document, digest: str | None, before: Document) -> bool:
    """By its hash; a copy of the run's own that was never hashed, by its size."""
    if digest is None:
        return before.owned and now.bytes == before.bytes
    return sha256(now, lambda: False) == digest


def _named(document: Document) -> str:
    """Its name, and where it lies where that does not tell: a stranger may have named it."""
    name = shown(document.name, 80)
    if document.owned or document.path.endswith(f"/{document.name}"):
        return name
    return f"{name} ({shown(document.path)})"


def _listed(documents: Sequence[Document]) -> str:
    names = ", ".join(map(_named, documents[:_NAMED]))
    more = len(documents) - _NAMED
    return f"{names} and {more:,} more" if more > 0 else names
