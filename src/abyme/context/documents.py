"""The data of a run as the host holds it: documents by identity, never by content."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from abyme.errors import DataChanged


class Document(msgspec.Struct, frozen=True):
    """One document and what it was when the run began.

    ``encoding`` and ``errors`` are what ``bytes.decode`` takes to turn its bytes into exactly one
    ``str``: ``surrogateescape`` for files (every byte comes back), ``surrogatepass`` for a ``str``
    that the caller handed over (lone surrogates come back). ``bom`` bytes at the start are no text.
    """

    name: str
    path: str
    """Where its bytes lie: the user's file, or a copy in the run's folder (``owned``)."""
    bytes: int
    mtime_ns: int
    inode: int
    encoding: str = "utf-8"
    errors: str = "surrogateescape"
    bom: int = 0
    owned: bool = False

    def open(self) -> int:
        """A read-only descriptor of the document, for the caller to close.

        Raises :class:`DataChanged` where the file is gone or is not what it was.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataChanged(f"{self.name} can no longer be read: {error.strerror}") from error
        if not self._same(os.fstat(descriptor)):
            os.close(descriptor)
            raise DataChanged(f"{self.name} changed while the run was using it")
        return descriptor

    def check(self) -> None:
        """Raise :class:`DataChanged` where the file is no longer what it was."""
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise DataChanged(f"{self.name} can no longer be read: {error.strerror}") from error
        if not self._same(found):
            raise DataChanged(f"{self.name} changed while the run was using it")

    def _same(self, found: os.stat_result) -> bool:
        return (found.st_size, found.st_mtime_ns, found.st_ino) == (
            self.bytes,
            self.mtime_ns,
            self.inode,
        )


class Data(msgspec.Struct, frozen=True):
    """All documents of a run.

    ``kind`` is ``text`` where the caller gave one text (``context`` is then its ``str``) and
    ``documents`` otherwise (``context`` is a mapping of name to text).
    """

    kind: Literal["text", "documents"]
    documents: tuple[Document, ...]
    skipped: dict[str, int] = {}

    @property
    def bytes(self) -> int:
        """Bytes of all documents together."""
        return sum(document.bytes for document in self.documents)
