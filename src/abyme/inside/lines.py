"""Looking for a pattern line by line, in parts of the data that end with a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .documents import Store
from .hits import Hit

_PART = 1 << 20
_LONGEST_LINE = 16 << 20
"""Longer lines are looked at in pieces of so many bytes; a match across two is not found."""
_SHOWN_AROUND = 500

# Constructs by which a match within a line can fail when the pattern sees more than the line
# (looking around, anchors of the whole text, atomic groups, possessive repeats, conditions), and
# those by which it would run on over many lines from each place where it begins.
_NEEDS_LINE = re.compile(
    r"\(\?[=!<>(]|\\[ABZ]|[*+?}]\+|\[\^(?!\\n)|\\[DW]|\\[sS]\\[sS]|\(\?[a-z]*s"
)


class LineSearch:
    """One pattern, ready to be looked for in each line by itself.

    Where it can, it looks in many lines at once and at single lines only where something is.
    """

    def __init__(self, pattern: str | re.Pattern[str], ignore_case: bool) -> None:
        flags = re.IGNORECASE if ignore_case else 0
        source = pattern
        if isinstance(pattern, re.Pattern):
            source, flags = pattern.pattern, flags | pattern.flags
        if not isinstance(source, str):
            raise TypeError("grep takes a str pattern")
        self._line = re.compile(source, flags)
        self._many = re.compile(source, flags | re.MULTILINE)
        self._alone = bool(self._line.flags & re.DOTALL or _NEEDS_LINE.search(source))
        self._at_end = "$" in source

    def hits(self, store: Store, index: int) -> Iterator[Hit]:
        """The lines of a document that match, in order; of each the first match."""
        data, decode, start = store.data(index), store.decoder(index), store.start(index)
        document, line, position = store.name(index), 1, 0
        for low, high in decode.ranges(data, start, _PART, _LONGEST_LINE):
            text = decode.decode(data, low, high)
            counted = 0
            for begin, end, first, last in self._matches(text):
                line += text.count("\n", counted, begin)
                counted = begin
                shown = _around(text, begin, end, first, last)
                yield Hit(document, line, position + first, position + last, shown)
            line += text.count("\n", counted)
            position += len(text)

    def _matches(self, text: str) -> Iterator[tuple[int, int, int, int]]:
        """Begin and end of each line that matches, and start and end of the match in it."""
        carriage = "\r" in text
        if self._alone or (carriage and self._at_end):
            yield from self._each_line(text)
            return
        position = 0
        while (found := self._many.search(text, position)) is not None:
            begin = text.rfind("\n", 0, found.start()) + 1
            if begin >= len(text) and begin:
                return  # behind the last newline there is no line
            end = text.find("\n", found.start())
            position = len(text) + 1 if end < 0 else end + 1
            end = len(text) if end < 0 else end
            yield from self._one_line(text, begin, end)
            if position >= len(text):
                return

    def _each_line(self, text: str) -> Iterator[tuple[int, int, int, int]]:
        begin = 0
        search = self._line.search
        for line in text.split("\n"):
            end = begin + len(line)
            if end == len(text) and not line and begin:
                return
            if (found := search(line[:-1] if line.endswith("\r") else line)) is not None:
                yield begin, end, begin + found.start(), begin + found.end()
            begin = end + 1

    def _one_line(self, text: str, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        line = text[begin:end]
        found = self._line.search(line[:-1] if line.endswith("\r") else line)
        if found is not None:
            yield begin, end, begin + found.start(), begin + found.end()


def _around(text: str, begin: int, end: int, first: int, last: int) -> str:
    """The line, or of a long one so much around the match."""
    if end > begin and text[end - 1] == "\r":
        end -= 1
    if end - begin > _SHOWN_AROUND:
        spare = max(0, _SHOWN_AROUND - (last - first))
        begin = max(begin, min(first - spare // 2, end - _SHOWN_AROUND))
        end = min(end, begin + _SHOWN_AROUND)
    return text[begin:end]
