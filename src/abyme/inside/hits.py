"""What grep and search hand back: places in the data that print in a few lines."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable

SHOWN_ROWS = 50
"""Hits that a printed result shows; the rest is there, and counted."""
_SHOWN_HIT = 200
_SHOWN_PASSAGE = 400
_SHOWN_NAME = 60


class Hit(namedtuple("Hit", "document line start end text")):
    """A line that matches: its document's name, its number from 1, and where the match is.

    ``start`` and ``end`` are character positions in the document. ``text`` is the line without its
    end, of a long line the 500 characters around the match: always exactly what the data has.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        text = cut_middle(self.text.strip(), _SHOWN_HIT)
        return f"{cut_middle(self.document, _SHOWN_NAME)}:{self.line}: {text}"


class Passage(namedtuple("Passage", "document line start end text score")):
    """A passage that bears on a query: ``text`` is exactly the document's ``[start:end]``.

    ``line`` is the number, from 1, of the line it begins in. Scores compare within one result.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        text = cut_end(self.text.strip("\r\n"), _SHOWN_PASSAGE)
        place = f"{cut_middle(self.document, _SHOWN_NAME)}:{self.line}"
        return f"{place} [{self.start}:{self.end}] score {self.score:.2f}\n{text}"


class Hits(list[Hit]):
    """What ``grep`` found. ``truncated`` says that the limit ended it before the data did."""

    def __init__(self, hits: Iterable[Hit], looked_at: int, truncated: bool) -> None:
        super().__init__(hits)
        self.looked_at = looked_at
        self.truncated = truncated

    def __repr__(self) -> str:
        seen = f"{self.looked_at:,} document{'' if self.looked_at == 1 else 's'} looked at"
        more = "; stopped at the limit: there may be more" if self.truncated else ""
        rows = [f"{len(self):,} matching line{'' if len(self) == 1 else 's'} ({seen}{more})"]
        rows += map(repr, self[:SHOWN_ROWS])
        if len(self) > SHOWN_ROWS:
            rows.append(f"… and {len(self) - SHOWN_ROWS:,} more in this list")
        return "\n".join(rows)


class Passages(list[Passage]):
    """What ``search`` found, best first. ``terms``: in how many places each query word stands."""

    def __init__(self, passages: Iterable[Passage], looked_at: int, terms: dict[str, int]) -> None:
        super().__init__(passages)
        self.looked_at = looked_at
        self.terms = terms

    def __repr__(self) -> str:
        words = ", ".join(f"{term} {count:,}" for term, count in self.terms.items())
        seen = f"{self.looked_at:,} document{'' if self.looked_at == 1 else 's'} looked at"
        found = f"{len(self):,} passage{'' if len(self) == 1 else 's'}, best first"
        rows = [f"{found} ({seen}; blocks of text that hold each word: {words})"]
        rows += [f"#{rank} {passage!r}" for rank, passage in enumerate(self[:SHOWN_ROWS], 1)]
        return "\n".join(rows)


def cut_middle(text: str, limit: int) -> str:
    """``text``, or its beginning and end around an ellipsis where it is longer than ``limit``."""
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}…{text[len(text) - (limit - head - 1) :]}"


def cut_end(text: str, limit: int) -> str:
    """``text``, or its beginning and how much more there is."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more)"
