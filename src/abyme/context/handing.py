"""Data of a run on its way to a child: by reference where it is there already, else kept once.

A node's data are documents of the run, whole or in part. What code makes itself and hands to a
child becomes a document of the run too: kept in its folder under its hash, once.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from abyme.context.documents import Data, Document, Measures
from abyme.context.encoding import SAMPLE
from abyme.context.spool import slices_of, write
from abyme.context.unnamed import Unnamed
from abyme.errors import CallFailed
from abyme.events import Given
from abyme.inside.decoding import decoder
from abyme.threads import aside, in_thread

MOST_PIECES = 100_000
MOST_PROMPT_BYTES = 32 << 20
MOST_MADE = 1 << 30
"""Bytes of all texts of a run that its code made for children: each is kept on the disk."""
SMALL = 1 << 16
"""What has no more characters, or bytes, is looked at without a thread."""
_Place = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One document for a child: ``text`` that code made, or a document of the node that asks.

    ``document`` is its index there; ``end`` is None for the whole of it, else it is the document
    from byte ``start`` to byte ``end``. ``name``: what it is called, where that is not its own.
    """

    document: _Place | None = None
    start: _Place = 0
    end: _Place | None = None
    text: str = ""
    name: str = ""


class Handed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What code hands to a child; its author is hostile. ``whole``: all that the node has."""

    kind: Literal["text", "documents"] = "documents"
    whole: bool = False
    pieces: Annotated[tuple[Piece, ...], msgspec.Meta(max_length=MOST_PIECES)] = ()


class NodeData(msgspec.Struct, frozen=True):
    """What a node has: its documents, and where each of them is among the run's (``indices``)."""

    given: Given
    data: Data
    indices: Sequence[int]

    @property
    def text_bytes(self) -> int:
        """Bytes of text in all its documents together."""
        return sum(document.bytes - document.bom for document in self.data.documents)


class Handing:
    """What one node can hand to its children and put before models: ``data`` is its own."""

    def __init__(self, documents: Documents, data: NodeData) -> None:
        self.data = data
        self._documents = documents

    async def over(self, asked: Handed | None) -> NodeData:
        """What a child gets. Raises as :meth:`Documents.hand_over`."""
        return await self._documents.hand_over(self.data, asked)

    def again(self, given: Given) -> NodeData:
        """What a child was given before. Raises :class:`CallFailed` where it is not there."""
        return self._documents.of(given)

    async def text(self, asked: Handed | None) -> str:
        """The same as one text, for a model's prompt; documents stand one after the other.

        Raises :class:`CallFailed` for more than any prompt takes.
        """
        if asked is None:
            return ""
        if asked.whole:
            return await in_thread(_text, self.data.data.documents)
        texts: list[str] = []
        for piece in asked.pieces:
            if piece.document is None:
                texts.append(piece.text)
            else:
                part = Handed(kind="text", pieces=(piece,))
                documents = (await self.over(part)).data.documents
                texts.append(await in_thread(_text, documents))
        return "\n\n".join(texts)


class Documents:
    """All documents of a run by their index: those of its root, then what code made.

    ``keep`` is told of each that is added, with its SHA-256; ``folder`` is where it is written to,
    unless ``unnamed`` holds it.
    """

    def __init__(
        self,
        root: Data,
        added: Mapping[int, Document],
        folder: Path,
        keep: Callable[[int, Document, str], None],
        unnamed: Unnamed | None = None,
    ) -> None:
        self._documents = dict(enumerate(root.documents)) | dict(added)
        self._made = {Path(document.path).stem: index for index, document in added.items()}
        self._making = asyncio.Lock()
        self._unnamed = unnamed
        self._folder = folder
        self._keep = keep
        count = len(root.documents)
        self.root = NodeData(Given(kind=root.kind, parts=((0, count),)), root, range(count))

    async def hand_over(self, parent: NodeData, asked: Handed | None) -> NodeData:
        """What a child gets of what its parent has, and of what the parent's code made.

        Raises :class:`CallFailed` for what is not there, :class:`~abyme.errors.DataError` where the
        disk does not take a text.
        """
        if asked is None:
            return self.of(Given(kind="documents"))
        if asked.whole:
            return parent
        if asked.kind == "text" and len(asked.pieces) != 1:
            raise CallFailed("one text is one piece", "TypeError")
        parts: list[tuple[int, ...]] = []
        names: list[str] = []
        for piece in asked.pieces:
            part, name = await self._part(parent, piece)
            names.append(piece.name or name)
            if len(part) == 2 and parts and len(parts[-1]) == 2 and sum(parts[-1]) == part[0]:
                parts[-1] = (parts[-1][0], parts[-1][1] + 1)
            else:
                parts.append(part)
        given = Given(kind=asked.kind, parts=tuple(parts))
        if asked.kind == "documents" and len(set(names)) < len(names):
            raise CallFailed("two documents for a child have one name", "ValueError")
        own = tuple(document.name for document in self.of(given).data.documents)
        return self.of(given if own == tuple(names) else replace(given, names=tuple(names)))

    def of(self, given: Given) -> NodeData:
        """What a node was given. Raises :class:`CallFailed` for what is not there."""
        documents: list[Document] = []
        indices: list[int] = []
        for part in given.parts:
            if len(part) == 2:
                rows: Sequence[int] = range(part[0], part[0] + part[1])
                documents += [self._at(index) for index in rows]
                indices += rows
            else:
                index, start, end = part
                documents.append(_span(self._at(index), start, end))
                indices.append(index)
        if given.names:
            pairs = zip(documents, given.names, strict=True)
            documents = [replace(document, name=name) for document, name in pairs]
        return NodeData(given, Data(given.kind, tuple(documents)), indices)

    async def _part(self, parent: NodeData, piece: Piece) -> tuple[tuple[int, ...], str]:
        if piece.document is None:
            index = await self._index_of(piece.text)
            return (index, 1), self._documents[index].name
        if piece.document >= len(parent.data.documents):
            raise CallFailed(f"there is no document {piece.document}", "ValueError")
        document, index = parent.data.documents[piece.document], parent.indices[piece.document]
        if piece.end is None and not document.file_bytes:
            return (index, 1), document.name
        start, end = max(piece.start, document.bom), piece.end
        if end is None:
            start, end = document.bom, document.bytes
        span = (index, document.offset + start, document.offset + end)
        _span(document, start, end)  # of what the parent itself has
        return span, document.name

    async def _index_of(self, text: str) -> int:
        """The index of a text that code made; it is kept where it was not before."""
        digest = await aside(len(text) > SMALL, _digest, text)
        known = f"made-{digest[:32]}"
        async with self._making:  # a second file would take the place of one that is in use
            if (index := self._made.get(known)) is None:
                if sum(self._documents[made].bytes for made in self._made.values()) > MOST_MADE:
                    raise CallFailed(
                        f"children were given over {MOST_MADE:,} bytes of texts that code made: "
                        "hand over parts of the data, which are not copied"
                    )
                document = await aside(len(text) > SMALL, self._kept, text, known)
                index = self._made[known] = len(self._documents)
                self._documents[index] = document
                self._keep(index, document, digest)
        return index

    def _kept(self, text: str, name: str) -> Document:
        """A document of its own for ``text``. Raises :class:`~abyme.errors.DataError`."""
        measures = Measures.of(text) if len(text) <= SAMPLE else None
        if self._unnamed is not None:
            held = self._unnamed.text(text, lambda size: None)
            return Document(
                name="text",
                path="",
                bytes=held.bytes,
                mtime_ns=0,
                inode=held.inode,
                errors="surrogatepass",
                owned=True,
                measures=measures,
                held=held,
            )
        path = self._folder.absolute() / f"{name}.txt"
        if not path.exists():
            part = path.with_suffix(f".{uuid.uuid4().hex}.part")
            write(part, slices_of(text), lambda size: None)
            part.rename(path)
        found = path.stat()
        return Document(
            name="text",
            path=str(path),
            bytes=found.st_size,
            mtime_ns=found.st_mtime_ns,
            inode=found.st_ino,
            errors="surrogatepass",
            owned=True,
            measures=measures,
        )

    def _at(self, index: int) -> Document:
        if index not in self._documents:
            raise CallFailed(f"there is no document {index}", "ValueError")
        return self._documents[index]


def _span(document: Document, start: int, end: int) -> Document:
    """Part of a document. Raises :class:`CallFailed` where it is none that can be decoded."""
    decode = decoder(document.encoding, document.errors)
    if not decode.seekable or (start - document.bom) % decode.unit or (end - start) % decode.unit:
        raise CallFailed(
            f"no part of {document.encoding} text: bytes {start} to {end}", "ValueError"
        )
    try:
        return document.part(start, end)
    except ValueError as error:
        raise CallFailed(str(error), "ValueError") from None


def _text(documents: Sequence[Document]) -> str:
    size = sum(document.bytes - document.bom for document in documents)
    if size > MOST_PROMPT_BYTES:
        raise CallFailed(f"{size:,} bytes of data fit no prompt: cut them", "WindowExceeded")
    texts = (
        document.read(document.bom, document.bytes).decode(document.encoding, document.errors)
        for document in documents
    )
    return "\n\n".join(texts)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
