"""What a child is given, as the host is told of it: by reference where it is part of the data.

A text that is in the data need not travel: the child reads it where it lies. What code made itself
is sent as it is, and so is a short text, wherever it is from.

Code hands over texts, and a text does not know where it was cut: where it is in the data several
times, the first place is meant. The child reads the same characters; the places of its quotes are
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .documents import Documents, Store
from .hits import Hit, Passage
from .text import LazyText

SENT_BELOW = 4_096
"""Characters of a text that is not worth looking for."""
_LOOKED_FOR_EVERYWHERE = 1 << 20
"""Characters of a text that is looked for in documents that are not at hand, too."""

Piece = dict[str, Any]


class Referring:
    """Describes ``context=`` of a child, where ``store`` has the data of this node."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def asked(self, context: Any) -> dict[str, Any] | None:
        """What the host is told; None where nothing is handed over.

        A text, the data or one of its documents, a list of texts or of what ``search`` and ``grep``
        gave, or a mapping of names to texts. Raises TypeError for anything else.
        """
        if context is None:
            return None
        if context is self._store.built:
            return {"whole": True}
        if isinstance(context, str | LazyText):
            return {"kind": "text", "pieces": [self._piece(context)]}
        if isinstance(context, Hit | Passage):
            return {"kind": "text", "pieces": [self._piece(context.text)]}
        if isinstance(context, Documents):
            return {"pieces": [{"document": at} for at in range(len(context))]}
        if isinstance(context, Mapping):
            named = [(str(name), text) for name, text in context.items()]
        elif isinstance(context, list | tuple):
            named = [(f"{number}", item) for number, item in enumerate(context, 1)]
        else:
            raise TypeError(
                "context must be a str, a list of str, or a mapping of names to str, not "
                f"{type(context).__name__}"
            )
        return {"pieces": [self._piece(_text(item)) | {"name": name} for name, item in named]}

    def _piece(self, text: str | LazyText) -> Piece:
        if isinstance(text, LazyText):
            if text.document is None:
                raise TypeError("this lazy text is no document of the data: hand over a slice")
            return {"document": text.document}
        if len(text) < SENT_BELOW:
            return {"text": text}
        return self._found(text) or {"text": text}

    def _found(self, text: str) -> Piece | None:
        """Where ``text`` stands in the data; the documents that code has read are looked at."""
        built, count = self._store.built, len(self._store)
        if isinstance(built, Documents):
            at_hand = [index for index, loaded in built.loaded() if _holds(loaded, text)]
            everywhere = len(text) >= _LOOKED_FOR_EVERYWHERE
            indices = at_hand or (list(range(count)) if everywhere else [])
        else:
            indices = list(range(count))
        for index in indices:
            if (span := self._span(text, index)) is not None:
                first, last = span
                whole = (first, last) == (self._store.start(index), self._size(index))
                return (
                    {"document": index}
                    if whole
                    else {"document": index, "start": first, "end": last}
                )
        return None

    def _span(self, text: str, index: int) -> tuple[int, int] | None:
        """First and last-plus-one byte of ``text`` in a document that can be cut anywhere."""
        if not self._store.decoder(index).seekable or self._size(index) < len(text):
            return None
        return self._store.lazy(index).span_bytes(text)

    def _size(self, index: int) -> int:
        return int(self._store.documents[index]["bytes"])


def _holds(loaded: str | LazyText, text: str) -> bool:
    return text in loaded


def _text(item: Any) -> str | LazyText:
    if isinstance(item, Hit | Passage):
        return str(item.text)
    if isinstance(item, str | LazyText):
        return item
    raise TypeError(f"what a child is given must be str, not {type(item).__name__}")
