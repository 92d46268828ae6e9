"""``search``, ``grep`` and ``locate`` over the documents of a store, in the worker."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

from .documents import Store, UnknownDocument
from .hits import Hit, Hits, Passage, Passages
from .lines import LineSearch
from .ranking import Ranking
from .terms import terms_of

__all__ = ["Finder", "Hit", "Hits", "Passage", "Passages"]

Which = str | int | Iterable[str | int] | None
"""A document by name or position, several of them, or None for all."""


class Finder:
    """Looks for words, patterns and quotes in the documents of a store. No index is built."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[str, int] = {}

    def search(self, query: str, k: int = 10, documents: Which = None) -> Passages:
        """The k passages (about 800 characters each) that bear most on a query in plain words.

        A list, best first, of passages with .document, .line, .start, .end, .text and .score;
        context[p.document][p.start:p.end] (or context[p.start:p.end] of a single text) is p.text.
        Words match in any case and form (cache, caching, getCache), and delete|remove counts as
        one word; rare ones count most, and words that stand near each other, in a headline or in
        the document's name. documents: a name, or a list of names, to look in.
        """
        terms = terms_of(query)
        if not terms:
            raise ValueError("search needs a query with at least one word")
        indices = self._indices(documents)
        return Ranking(self._store, indices, terms).best(max(0, k), len(indices))

    def grep(
        self,
        pattern: str | re.Pattern[str],
        documents: Which = None,
        ignore_case: bool = False,
        limit: int = 1000,
    ) -> Hits:
        """The lines that match a regular expression, in order, at most limit of them.

        A list of hits with .document, .line (from 1), .start and .end of the first match in the
        line (characters in the document) and .text (the line). Each line is matched by itself:
        ^ and $ are its ends. .truncated says whether the limit cut the list. documents: a name,
        or a list of names, to look in. Raises re.error for an invalid pattern.
        """
        search = LineSearch(pattern, ignore_case)
        hits: list[Hit] = []
        looked_at = 0
        for index in self._indices(documents):
            looked_at += 1
            # One more than asked for, to know whether there is more.
            hits += islice(search.hits(self._store, index), limit + 1 - len(hits))
            if len(hits) > limit:
                return Hits(hits[:limit], looked_at, truncated=True)
        return Hits(hits, looked_at, truncated=False)

    def locate(
        self, text: str, document: str | int | None = None, start: int = 0
    ) -> dict[str, Any] | None:
        """The first place where a quoted passage stands exactly, white space included; or None.

        Looks from the character position ``start`` on, and where it is not there, everywhere.

        ``document`` (its index), ``start`` and ``end`` (bytes in the document as it lies on
        disk) and ``line`` (from 1). Looks in one document, by name or index, or in all.
        """
        for index in self._indices(document) if text else ():
            place = self._place(text, index, start) or self._place(text, index, 0)
            if place is not None:
                first, end, line = place
                return {"document": index, "start": first, "end": end, "line": line}
        return None

    def _place(self, text: str, index: int, start: int) -> tuple[int, int, int] | None:
        """First and last-plus-one byte, and line, of a text in one document."""
        decode = self._store.decoder(index)
        if decode.seekable:
            lazy = self._store.lazy(index)
            span = lazy.span_bytes(text, start)
            return None if span is None else (*span, lazy.line_at_byte(span[0]))
        data, origin = self._store.data(index), self._store.start(index)
        whole = decode.decode(data, origin, len(data))
        if (at := whole.find(text, start)) < 0:
            return None
        first = origin + len(whole[:at].encode(decode.encoding, decode.errors))
        end = first + len(text.encode(decode.encoding, decode.errors))
        # A character that can be written in bytes of two lengths would have led astray.
        same = decode.decode(data, first, end) == text
        return (first, end, whole.count("\n", 0, at) + 1) if same else None

    def _indices(self, documents: Which) -> list[int]:
        if documents is None:
            return list(range(len(self._store)))
        asked = [documents] if isinstance(documents, str | int) else documents
        return list(dict.fromkeys(self._index(each) for each in asked))

    def _index(self, document: str | int) -> int:
        count = len(self._store)
        if isinstance(document, int):
            if not -count <= document < count:
                raise IndexError(f"there are {count:,} documents, no position {document}")
            return document % count
        if not self._places:
            self._places = {self._store.name(at): at for at in range(count)}
        if document not in self._places:
            raise UnknownDocument(document, tuple(self._places))
        return self._places[document]
