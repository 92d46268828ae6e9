"""The data of a run as the host holds it: documents by identity, never by content."""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

import msgspec

from abyme.errors import DataChanged, DataError

PAGE = mmap.ALLOCATIONGRANULARITY
BLOCK = 1 << 20
"""Bytes read at once where a whole document is streamed."""

_Raw = bytes  # within Document, ``bytes`` is a number

# O_NONBLOCK: a file replaced by a FIFO must be noticed, not waited for.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def shown(name: str, limit: int = 200) -> str:
    """``name`` on one line of at most ``limit`` characters, cut in the middle, nothing invisible.

    For messages and descriptions: control characters, line ends and bytes that are not UTF-8 come
    out escaped, so that what is printed can neither break a terminal nor fail to be encoded.
    """
    if len(name) > limit:  # first cut, so that a huge name costs nothing
        name = f"{name[:limit]}{name[-limit:]}"
    text = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in name
    )
    if len(text) > limit:
        tail = (limit - 1) // 2
        text = f"{text[: limit - 1 - tail]}…{text[-tail:]}"
    return text


class Measures(msgspec.Struct, frozen=True):
    """How large a text is. A line ends with ``\\n``; an unfinished last one counts too."""

    characters: int
    lines: int
    longest_line: int
    """In characters, its end not counted."""

    @classmethod
    def of(cls, text: str) -> Measures:
        """The measures of a text small enough to be split into its lines."""
        lines = text.split("\n")
        unfinished = 1 if lines[-1] else 0
        return cls(len(text), len(lines) - 1 + unfinished, max(map(len, lines)))

    @classmethod
    def together(cls, parts: Iterable[Measures]) -> Measures:
        """The measures of several documents: sums, and the longest line of any."""
        characters = lines = longest = 0
        for part in parts:
            characters += part.characters
            lines += part.lines
            longest = max(longest, part.longest_line)
        return cls(characters, lines, longest)


class Held(Protocol):
    """Bytes under no name: whoever holds them can read them, and nobody can change them."""

    def open(self) -> int:
        """A read-only descriptor of a file with all of them, for the caller to close.

        Raises :class:`OSError` and :class:`DataError`.
        """

    def read(self, start: int, length: int) -> bytes:
        """``length`` bytes from byte ``start`` on, fewer at the end. Raises :class:`OSError`."""


class Document(msgspec.Struct, frozen=True):
    """One document and what it was when the run began.

    ``encoding`` and ``errors`` are what ``bytes.decode`` takes to turn its bytes, without the first
    ``bom`` of them, into exactly one ``str``; decoding so never fails. The codec never treats a
    byte order mark itself. UTF-8 files have ``surrogateescape`` (every byte comes back), a ``str``
    that the caller handed over ``surrogatepass`` (lone surrogates come back); see
    :mod:`abyme.context.encoding` for the others.
    """

    name: str
    path: str
    """Where its bytes lie: the user's file, or a copy in the run's folder (``owned``).

    Empty where they have no name, and are ``held``."""
    bytes: int
    """How many there are, from byte ``offset`` of the file on."""
    mtime_ns: int
    inode: int
    encoding: str = "utf-8"
    errors: str = "surrogateescape"
    bom: int = 0
    owned: bool = False
    measures: Measures | None = None
    """Exact, where loading has read the whole document anyway; else None."""
    offset: int = 0
    """A multiple of ``PAGE``: what begins there can be mapped by itself."""
    file_bytes: int = 0
    """Bytes of the file where the document is a part of it; else 0."""
    held: Held | None = None

    def part(self, start: int, end: int) -> Document:
        """Bytes ``start`` to ``end`` of it, which begin and end where characters do.

        Raises ValueError for what does not lie in the document.
        """
        if not 0 <= start <= end <= self.bytes:
            raise ValueError(f"no bytes {start} to {end} in {self.bytes:,} of {shown(self.name)}")
        if (start, end) in ((0, self.bytes), (self.bom, self.bytes)):
            return self
        skipped = start // PAGE * PAGE
        return msgspec.structs.replace(
            self,
            bytes=end - skipped,
            bom=max(start, min(self.bom, end)) - skipped,
            measures=None,
            offset=self.offset + skipped,
            file_bytes=self.file_bytes or self.bytes,
        )

    def open(self) -> int:
        """A read-only descriptor of the document, for the caller to close.

        Raises :class:`DataChanged` where the file is gone or is not what it was.
        """
        try:
            if self.held is not None:
                return self.held.open()
            descriptor = os.open(self.path, _FLAGS | (os.O_NOFOLLOW if self.owned else 0))
        except OSError as error:
            raise self._unreadable(error) from error
        found = os.fstat(descriptor)
        if not self._same(found):
            os.close(descriptor)
            raise self._changed(found)
        return descriptor

    def check(self) -> None:
        """Raise :class:`DataChanged` where the file is no longer what it was."""
        if self.held is not None:
            return
        try:
            found = os.stat(self.path, follow_symlinks=not self.owned)
        except OSError as error:
            raise self._unreadable(error) from error
        if not self._same(found):
            raise self._changed(found)

    def read(self, start: int, length: int) -> _Raw:
        """``length`` bytes from byte ``start`` on; fewer only where the document ends before.

        Raises :class:`DataChanged` as :meth:`open` does, and where bytes are missing.
        """
        if self.held is not None:
            return self._read_held(self.held, start, length)
        descriptor = self.open()
        try:
            return self._pread(descriptor, start, max(0, min(length, self.bytes - start)))
        finally:
            os.close(descriptor)

    def blocks(self, size: int = BLOCK) -> Iterator[_Raw]:
        """All bytes in blocks of ``size``, checked before the first and after the last.

        Raises :class:`DataChanged`: what was yielded before may then be a mixture.
        """
        if self.held is not None:
            for start in range(0, self.bytes, size):
                yield self._read_held(self.held, start, size)
            return
        descriptor = self.open()
        try:
            for start in range(0, self.bytes, size):
                yield self._pread(descriptor, start, min(size, self.bytes - start))
            if not self._same(found := os.fstat(descriptor)):
                raise self._changed(found)
        finally:
            os.close(descriptor)
        self.check()  # the path may name another file by now

    def _read_held(self, held: Held, start: int, length: int) -> _Raw:
        try:
            return held.read(self.offset + start, max(0, min(length, self.bytes - start)))
        except OSError as error:
            raise self._unreadable(error) from error

    def _pread(self, descriptor: int, start: int, length: int) -> _Raw:
        """Exactly ``length`` bytes, by ``pread``: a mapping would die with the file (SIGBUS)."""
        parts: list[_Raw] = []
        missing = length
        start += self.offset
        while missing:
            try:
                part = os.pread(descriptor, missing, start + length - missing)
            except OSError as error:
                raise self._unreadable(error) from error
            if not part:
                raise self._changed()
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _same(self, found: os.stat_result) -> bool:
        return (found.st_size, found.st_mtime_ns, found.st_ino) == (
            self.file_bytes or self.bytes,
            self.mtime_ns,
            self.inode,
        )

    def _changed(self, found: os.stat_result | None = None) -> DataChanged:
        what = f"{shown(self.name)} changed while the run was using it; run it again"
        if (
            found is not None
            and found.st_ino == self.inode
            and found.st_size > (self.file_bytes or self.bytes)
        ):
            what += (  # a log that is written to would end the next run too
                ", or pipe in what there is of a file that grows: "
                f"tail -n 1000000 {shown(self.name)} | abyme ask …"
            )
        return DataChanged(what)

    def _unreadable(self, error: OSError) -> DataError:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return DataError(f"cannot open {shown(self.name)}: {error.strerror}; raise `ulimit -n`")
        return DataChanged(f"{shown(self.name)} can no longer be read: {error.strerror}")


class Data(msgspec.Struct, frozen=True):
    """All documents of a run.

    ``kind`` is ``text`` where the caller gave one text (``context`` is then its ``str``) and
    ``documents`` otherwise (``context`` is a mapping of name to text).
    """

    kind: Literal["text", "documents"]
    documents: tuple[Document, ...]
    skipped: dict[str, int] = {}
    """Files and folders left out, counted by reason."""

    @property
    def bytes(self) -> int:
        """Bytes of all documents together."""
        return sum(document.bytes for document in self.documents)
