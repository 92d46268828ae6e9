"""The data of a run as code in the worker has it: documents mapped when they are first touched."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from .decoding import Bytes, Decoder, decoder, str_bytes
from .mapped import Mapped
from .text import LazyText
from .toolarge import TextTooLarge

MAX_MAPPED = 256
"""Documents that stay mapped (a mapping holds a descriptor before Python 3.13)."""
MOST_AHEAD = 64
"""Small documents that are opened at once where they are read in their order."""
MAPPED_FROM = 1 << 16
"""Smaller documents are read: three times as fast as mapping them."""
KEPT_BYTES = 64 << 20
"""Texts of documents that are kept beyond their use, in bytes of memory."""

_WIDEST = 4  # bytes of memory that a byte of text can become: a character, and that so wide
_LAZY_COST = 1 << 20  # what a LazyText counts as: its index and its last blocks
_MAX_COMPARED = 5000  # names that a name which does not exist is compared with


class Store:
    """All documents of a run, by their place in the list (``index``).

    ``documents`` are dicts of ``name``, ``bytes``, ``encoding``, ``errors``, ``bom`` (the bytes at
    the start that are no text) and, where they are parts of their files, ``offset`` (of whole
    pages: the byte where they begin). ``open_documents(index, count)`` gives read-only descriptors
    of documents in a row, at least one, which are closed here, or their bytes where these come in
    another way; what it raises passes through. A text
    becomes a ``str`` where that takes at most ``text_limit`` bytes of memory, else a
    :class:`~.text.LazyText`. ``text`` is the one text of a run, where it has been built before.
    """

    def __init__(
        self,
        kind: str,
        documents: list[dict[str, Any]],
        open_documents: Callable[[int, int], Sequence[int | Bytes]],
        text_limit: int,
        text: str | None = None,
    ) -> None:
        self.kind = kind
        self.documents = documents
        self.text_limit = text_limit
        self._open = open_documents
        self._expected = 0  # what comes next where documents are read in their order
        self._ahead = 1
        self._mapped: OrderedDict[int, Bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._context: str | LazyText | Documents | None = text

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def may_be_lazy(self) -> bool:
        """True where some text may turn out to be a LazyText."""
        starts = map(self.start, range(len(self)))
        sizes = (int(document["bytes"]) for document in self.documents)
        return any(
            (size - start) * _WIDEST > self.text_limit
            for size, start in zip(sizes, starts, strict=True)
        )

    def name(self, index: int) -> str:
        """The name of a document."""
        return str(self.documents[index]["name"])

    def decoder(self, index: int) -> Decoder:
        """How the bytes of a document become characters."""
        document = self.documents[index]
        return decoder(document["encoding"], document["errors"])

    def start(self, index: int) -> int:
        """The byte of a document at which its text begins."""
        return min(int(self.documents[index]["bom"]), int(self.documents[index]["bytes"]))

    def data(self, index: int) -> Bytes:
        """The bytes of a document as it lies on disk: mapped, or read where it is small.

        Raises OSError where it has become shorter than it was when the run began.
        """
        with self._lock:
            if (data := self._mapped.get(index)) is not None:
                self._mapped.move_to_end(index)
                return data
        opened = self._open(index, self._worth_opening(index))
        found = [self._taken(index + place, given) for place, given in enumerate(opened)]
        if found[0] is None:
            raise OSError(f"{self.name(index)} became shorter while the run was using it")
        with self._lock:
            # The one asked for last, so that it is not the one that has to go.
            for place, data in reversed(list(enumerate(found, start=index))):
                if data is not None:
                    self._mapped[place] = data
            while len(self._mapped) > MAX_MAPPED:
                # Not closed: a LazyText may still use it. It goes with its last user.
                self._mapped.popitem(last=False)
        return found[0]

    def _worth_opening(self, index: int) -> int:
        """How many to open at once: more and more where they are asked for one after the other.

        Asking the host takes ten times as long as reading a small document.
        """
        with self._lock:
            in_order = index == self._expected
            self._ahead = min(MOST_AHEAD, 2 * self._ahead) if in_order else 1
            count = 1
            while count < self._ahead and index + count < len(self.documents):
                if int(self.documents[index + count]["bytes"]) >= MAPPED_FROM:
                    break
                count += 1
            self._expected = index + count
            return count

    def _taken(self, index: int, given: int | Bytes) -> Bytes | None:
        """The bytes, or those behind a descriptor, which is closed; None where some are missing."""
        size = int(self.documents[index]["bytes"])
        offset = int(self.documents[index].get("offset", 0))
        if not isinstance(given, int):
            return given if len(given) == size else None
        try:
            if size < MAPPED_FROM:
                data: Bytes = os.pread(given, size, offset) if size else b""
            elif os.fstat(given).st_size < offset + size:
                return None
            else:
                data = Mapped.of(given, size, offset)
        finally:
            os.close(given)
        return data if len(data) == size else None

    def text(self, index: int) -> str | LazyText:
        """The text of a document, exactly as its bytes decode.

        Raises :class:`~.toolarge.TextTooLarge` where it is too large for a ``str`` and its encoding
        can be decoded from the start only.
        """
        data, decode, start = self.data(index), self.decoder(index), self.start(index)
        most = (len(data) - start) * _WIDEST
        if most <= self.text_limit or str_bytes(data, decode, start, self.text_limit) is not None:
            text = decode.decode(data, start, len(data))
            if isinstance(data, Mapped):
                data.give_back()
            return text
        return self.lazy(index)

    def lazy(self, index: int) -> LazyText:
        """The text of a document as a :class:`~.text.LazyText`. Raises as :meth:`text`."""
        decode = self.decoder(index)
        if not decode.seekable:
            raise TextTooLarge(
                f"{self.name(index)} is too large to be read as {decode.encoding}: convert it to "
                f"UTF-8 first (iconv -f {decode.encoding} -t utf-8) and run again"
            )
        text = LazyText(self.data(index), decode.encoding, decode.errors, start=self.start(index))
        text.document = index
        return text

    @property
    def built(self) -> str | LazyText | Documents | None:
        """What the code knows as ``context``; None where it has not been built yet."""
        return self._context

    def context(self) -> str | LazyText | Documents:
        """What the code knows as ``context``: one text, or a mapping of documents. Built once."""
        if self._context is None:
            self._context = self.text(0) if self.kind == "text" else Documents(self)
        return self._context


class UnknownDocument(KeyError):
    """No document has this name; the message, made when it is shown, says which come close."""

    def __init__(self, name: object, names: tuple[str, ...]) -> None:
        super().__init__(name)
        self._names = names

    def __str__(self) -> str:
        name = self.args[0]
        close = _close_names(name, self._names) if isinstance(name, str) else []
        said = f"; close: {', '.join(map(repr, close))}" if close else "; see context.names"
        return f"no document is named {name!r}{said}"


class Documents(Mapping[str | int, str | LazyText]):
    """Read-only mapping of document names to texts, in the order in which they were loaded.

    ``context["name"]`` or ``context[3]`` (by position) gives a text, loaded when it is touched;
    iteration gives names. A text that is too large for a ``str`` is a LazyText.
    """

    def __init__(self, store: Store, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._kept_bytes = kept_bytes
        self._places = {str(item["name"]): at for at, item in enumerate(store.documents)}
        self._names = tuple(str(item["name"]) for item in store.documents)
        self._texts: OrderedDict[int, str | LazyText] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all documents, in order."""
        return self._names

    def info(self, name: str | int) -> dict[str, Any]:
        """Name, bytes on disk and encoding of a document, without loading it."""
        document = self._store.documents[self._place(name)]
        return {key: document[key] for key in ("name", "bytes", "encoding")}

    def __getitem__(self, name: str | int) -> str | LazyText:
        index = self._place(name)
        with self._lock:
            if (text := self._texts.get(index)) is not None:
                self._texts.move_to_end(index)
                return text
        return self._keep(index, self._store.text(index))

    def loaded(self) -> list[tuple[int, str | LazyText]]:
        """The texts that are kept now, each with its position."""
        with self._lock:
            return list(self._texts.items())

    def _place(self, name: object) -> int:
        if isinstance(name, str):
            if (place := self._places.get(name)) is None:
                raise UnknownDocument(name, self._names)
            return place
        if isinstance(name, slice):
            raise TypeError("no slices of documents: use context.names[a:b], then context[name]")
        try:
            place = name.__index__()  # type: ignore[attr-defined]
        except AttributeError:
            raise TypeError(
                f"context[...] takes a document's name or position, not {type(name).__name__}"
            ) from None
        if not -len(self) <= place < len(self):
            raise IndexError(f"there are {len(self):,} documents, no position {place}")
        return int(place) % len(self)

    def _keep(self, index: int, text: str | LazyText) -> str | LazyText:
        """Keep the text; forget those used longest ago, but never the one just loaded."""
        with self._lock:
            if index in self._texts:  # another thread was faster
                return self._texts[index]
            self._bytes += _cost(text)
            self._texts[index] = text
            while self._bytes > self._kept_bytes and len(self._texts) > 1:
                _, oldest = self._texts.popitem(last=False)
                self._bytes -= _cost(oldest)
            return text

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    # A comparison as dicts would load every document.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def _read_only(self, *_: object) -> NoReturn:
        raise TypeError("context is read-only: build a dict of your own")

    __setitem__ = __delitem__ = _read_only

    def __repr__(self) -> str:
        size = sum(item["bytes"] for item in self._store.documents)
        return (
            f"<{len(self):,} documents, {size:,} bytes. context[name] or context[0] is a text, "
            "`for name, text in context.items()` all; context.names, context.info(name); "
            "search(query) and grep(pattern) look in all of them>"
        )


def _cost(text: str | LazyText) -> int:
    return sys.getsizeof(text) if isinstance(text, str) else _LAZY_COST


def _close_names(name: str, names: tuple[str, ...]) -> list[str]:
    """Up to three names that ``name`` may have meant, by the same last part or by likeness."""
    import difflib  # 8 ms that only a mistake pays for

    last = name.rpartition("/")[2].lower()
    same = [each for each in names if each.rpartition("/")[2].lower() == last][:3]
    if same or not last:
        return same
    holding = [each for each in names if last in each.lower()][:3]
    return holding or difflib.get_close_matches(name, names[:_MAX_COMPARED], 3, 0.6)
