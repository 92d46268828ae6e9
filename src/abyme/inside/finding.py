"""Looking for one text in another that is read where it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from .decoding import find_aligned
from .reading import Reading

T = TypeVar("T", str, bytes)


class Finding(Reading):
    """The part of a lazy text that looks for texts, mostly as bytes, without decoding."""

    __slots__ = ()

    def span_bytes(self, text: str, start: int = 0) -> tuple[int, int] | None:
        """First and last-plus-one *byte*, in the document, of the first occurrence; or None.

        ``start``: the character position from which to look.
        """
        if needle := self._blocks.decoder.needle(text):
            low = self._blocks.byte_of(start) if start else self._blocks.start
            at = self._find_bytes(needle, low, len(self._blocks.data))
            return (at, at + len(needle)) if at >= 0 else None
        at = self.find(text, start)
        if at < 0:
            return None
        return self._blocks.byte_of(at), self._blocks.byte_of(at + len(text))

    def line_at_byte(self, byte: int) -> int:
        """The number, from 1, of the line that holds the byte ``byte`` of the document."""
        return self._blocks.line_at(byte)

    def _find_bytes(self, needle: bytes, low: int, high: int) -> int:
        blocks = self._blocks
        return find_aligned(blocks.data, needle, blocks.decoder.unit, blocks.start, low, high)

    def __contains__(self, text: object) -> bool:
        if not isinstance(text, str):
            raise TypeError(f"'in' needs a str on its left, not {type(text).__name__}")
        return not text or self.span_bytes(text) is not None

    def find(self, sub: str, start: int | None = None, end: int | None = None) -> int:
        """As ``str.find``: lowest position in ``[start:end]`` where ``sub`` begins, or -1."""
        first, last = self._range(start, end)
        if not sub:
            return first if first <= (len(self) if last is None else last) else -1
        needle = self._blocks.decoder.needle(sub)
        if needle is None:
            return next(self._find_chars(sub, first, last), -1)
        at = self._find_bytes(needle, *self._byte_range(first, last))
        return self._blocks.char_of(at) if at >= 0 else -1

    def rfind(self, sub: str, start: int | None = None, end: int | None = None) -> int:
        """As ``str.rfind``: highest position in ``[start:end]`` where ``sub`` begins, or -1."""
        first, last = self._range(start, end)
        if not sub:
            last = len(self) if last is None else last
            return last if first <= last else -1
        blocks = self._blocks
        needle = blocks.decoder.needle(sub)
        if needle is None:
            return max(self._find_chars(sub, first, last, step=1), default=-1)
        low, high = self._byte_range(first, last)
        at = blocks.data.rfind(needle, low, high) if low <= high else -1
        while at >= 0 and (at - blocks.start) % blocks.decoder.unit:
            at = blocks.data.rfind(needle, low, at + len(needle) - 1)
        return blocks.char_of(at) if at >= 0 else -1

    def index(self, sub: str, start: int | None = None, end: int | None = None) -> int:
        """As ``str.index``: :meth:`find` that raises ValueError where there is none."""
        if (at := self.find(sub, start, end)) < 0:
            raise ValueError("substring not found")
        return at

    def count(self, sub: str, start: int | None = None, end: int | None = None) -> int:
        """As ``str.count``: occurrences in ``[start:end]`` that do not overlap."""
        first, last = self._range(start, end)
        if not sub:
            return max(0, (len(self) if last is None else last) - first + 1)
        blocks = self._blocks
        needle = blocks.decoder.needle(sub)
        if needle is None or blocks.decoder.unit > 1:
            end = len(self) if last is None else last
            return _count(blocks.slice, sub, first, end, blocks.size)
        low, high = self._byte_range(first, last)
        if _overlaps_itself(needle):
            return _count(self._bytes, needle, low, high, blocks.size)
        more = blocks.size + len(needle) - 1
        starts = range(low, high, blocks.size)
        return sum(blocks.data[at : min(high, at + more)].count(needle) for at in starts)

    def _bytes(self, low: int, high: int) -> bytes:
        return self._blocks.data[low:high]

    def _range(self, start: int | None, end: int | None) -> tuple[int, int | None]:
        """``start`` and ``end`` as positions; an end that was not given stays None.

        A start past the length stays past it: ``"abcd".find("", 5)`` is -1.
        """
        if start is None or 0 <= start <= self._blocks.known:
            first = start or 0
        else:
            first = max(0, start + len(self)) if start < 0 else min(start, len(self) + 1)
        if end is not None and not 0 <= end <= self._blocks.known:
            end = max(0, end + len(self)) if end < 0 else min(end, len(self))
        return first, end

    def _byte_range(self, first: int, last: int | None) -> tuple[int, int]:
        high = len(self._blocks.data) if last is None else self._blocks.byte_of(last)
        return self._blocks.byte_of(first), high

    def _find_chars(
        self, sub: str, first: int, last: int | None, step: int | None = None
    ) -> Iterator[int]:
        """Where ``sub`` begins, looked for in decoded windows; ``step`` ahead after each find."""
        size = self._blocks.size + 2 * len(sub)
        while last is None or first + len(sub) <= last:
            stop = first + size if last is None else min(last, first + size)
            text, ends = self._window(first, stop)
            at, done = text.find(sub), 0
            while at >= 0:
                yield first + at
                done = at + (step or len(sub))
                at = text.find(sub, done)
            if ends or stop == last:
                return
            first += max(done, len(text) - len(sub) + 1)

    def rindex(self, sub: str, start: int | None = None, end: int | None = None) -> int:
        """As ``str.rindex``: :meth:`rfind` that raises ValueError where there is none."""
        if (at := self.rfind(sub, start, end)) < 0:
            raise ValueError("substring not found")
        return at

    def startswith(
        self, prefix: str | tuple[str, ...], start: int | None = None, end: int | None = None
    ) -> bool:
        """As ``str.startswith``."""
        first, last = self._range(start, end)
        if not self._has(first):
            return False
        return any(self._has_at(each, first, first, last) for each in _texts(prefix, "startswith"))

    def endswith(
        self, suffix: str | tuple[str, ...], start: int | None = None, end: int | None = None
    ) -> bool:
        """As ``str.endswith``."""
        first, last = self._range(start, end)
        suffixes = _texts(suffix, "endswith")
        last = len(self) if last is None else last
        return any(self._has_at(each, last - len(each), first, last) for each in suffixes)

    def _has_at(self, text: str, at: int, first: int, last: int | None) -> bool:
        """True where ``text`` stands at a position, within ``[first:last]``."""
        if at < first or (last is not None and at + len(text) > last):
            return False
        step = 1 << 20  # a text as long as this one is not copied to be compared
        return all(
            self._blocks.slice(at + low, at + low + step)[: len(text) - low]
            == text[low : low + step]
            for low in range(0, len(text), step)
        )


def _texts(given: str | tuple[str, ...], method: str) -> tuple[str, ...]:
    texts = given if isinstance(given, tuple) else (given,)
    for each in texts:
        if not isinstance(each, str):
            raise TypeError(
                f"{method} first arg must be str or a tuple of str, not {type(each).__name__}"
            )
    return texts


def _count(read: Callable[[int, int], T], sub: T, low: int, high: int, size: int) -> int:
    """Occurrences of ``sub`` that do not overlap, in what ``read`` gives of ``[low:high]``.

    What is read next begins behind the last occurrence, or where the next one may have begun.
    """
    found = 0
    while low + len(sub) <= high:
        part = read(low, min(high, low + max(size, 2 * len(sub))))
        *before, rest = part.split(sub)
        found += len(before)
        low += len(part) - min(len(rest), len(sub) - 1)
    return found


def _overlaps_itself(needle: bytes) -> bool:
    """True where two occurrences can share bytes (or where finding out would take long)."""
    size = len(needle)
    return size > 1000 or any(needle[:n] == needle[size - n :] for n in range(1, size))
