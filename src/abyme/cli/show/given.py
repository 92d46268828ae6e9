"""What a child was given of the run's documents, in words."""

from __future__ import annotations

from abyme.cli.text import bytes_text, plural
from abyme.events import DataLoaded, DocumentLoaded, Event, Given

_NAMED = 3
"""Documents that are named one by one."""


class Shelf:
    """The documents of a run, as far as its journal has told of them."""

    def __init__(self) -> None:
        self._documents: dict[int, DocumentLoaded] = {}
        self._asked_about = 0

    def take(self, event: Event) -> None:
        """Take the run's next event."""
        if isinstance(event, DocumentLoaded):
            self._documents[event.index] = event
        elif isinstance(event, DataLoaded):
            self._asked_about = event.documents

    def text(self, given: Given | None) -> str:
        """``report.txt, bytes 0 to 120,000 of 240,000``; "" where it is not known."""
        if given is None:
            return ""
        if not given.parts:
            return "no data"
        if given.parts == ((0, self._asked_about),):
            if self._asked_about == 1:
                return f"all of {self._name(0)}"
            return f"all {self._asked_about:,} documents"
        count = sum(part[1] if len(part) == 2 else 1 for part in given.parts)
        if count > _NAMED:
            return f"{plural(count, 'document')}, {self._part(given.parts[0])} first"
        return ", ".join(map(self._part, given.parts))

    def _part(self, part: tuple[int, ...]) -> str:
        if len(part) == 2:
            first, count = part
            return ", ".join(map(self._whole, range(first, first + min(count, _NAMED))))
        index, start, end = part
        document = self._documents.get(index)
        whole = "" if document is None else f" of {document.bytes:,}"
        own = f"{self._whole(index)}, " if self._is_made(index) else f"{self._name(index)}, "
        return f"{own}bytes {start:,} to {end:,}{whole}"

    def _whole(self, index: int) -> str:
        document = self._documents.get(index)
        if document is None or not self._is_made(index):
            return self._name(index)
        return f"{bytes_text(document.bytes)} of text"

    def _name(self, index: int) -> str:
        document = self._documents.get(index)
        if document is None:
            return f"document {index}"
        return "the text" if document.name == "text" else document.name

    def _is_made(self, index: int) -> bool:
        """Whether it was sent, by code that made it or had cut so little that it was not worth
        a reference.
        """
        return index >= self._asked_about
