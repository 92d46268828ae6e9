"""A text that is too large for a ``str``: read where it lies, a block at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from operator import index
from typing import Any, NoReturn

from .blocks import Blocks
from .decoding import BLOCK, Bytes, find_aligned
from .matching import Match, compile_pattern, windowed

LONGEST_SLICE = 64 << 20
"""Characters that a slice, a line or a match may have."""
AHEAD = 1 << 20
"""Characters that a regular expression is sure to see from the start of a match on."""


class TextTooLarge(MemoryError):
    """An operation would copy a text that is too large to be copied; the message says what to do.

    A MemoryError because it takes the place of one: code that is ready for the allocation to fail
    is ready for this. Nothing was allocated, and the program can go on.
    """


class LazyText:
    """Text over mapped bytes that slices, iterates, searches and matches like a ``str``.

    Positions are characters, as in the ``str`` that all bytes would decode to. An index of about
    one entry each ``block`` bytes (in bytes and in characters) grows as far as it is needed: the
    first ``len(t)`` and the first ``t[-1]`` read everything once, ``t[:100]`` does not.

    **Lines** end after each ``"\\n"`` and nowhere else, as in ``io.StringIO(text)``: ``"\\r\\n"``
    stays at the end of its line, and the other ends that ``str.splitlines`` knows (``"\\r"``,
    ``"\\x0b"``, ``"\\u2028"``, …) are characters like any other. ``for line in t`` gives lines,
    where a ``str`` gives characters.

    ``start`` is the byte that the text begins at (after a byte order mark), ``block`` the size of
    an index entry in bytes, ``ahead`` what a match may span (:func:`~.matching.windowed`). Raises
    ValueError for an encoding that can be decoded from its start only.
    """

    __slots__ = ("_ahead", "_blocks", "document")
    __hash__ = None  # type: ignore[assignment]  # equal to a str, whose hash needs the whole text

    def __init__(
        self,
        data: Bytes,
        encoding: str = "utf-8",
        errors: str = "surrogateescape",
        *,
        start: int = 0,
        block: int = BLOCK,
        ahead: int = AHEAD,
    ) -> None:
        self._blocks = Blocks(data, encoding, errors, start, block)
        self._ahead = ahead
        self.document: int | None = None  # which of the run's documents it is the text of

    def __len__(self) -> int:
        return self._blocks.characters

    def __bool__(self) -> bool:
        return self._blocks.start < len(self._blocks.data)

    def __getitem__(self, key: int | slice) -> str:
        if isinstance(key, slice):
            start, stop, step = self._bounds(key)
            if step > 0:
                return self._text(start, stop)[::step]
            return self._text(stop + 1, start + 1)[::step]
        position = index(key)
        position += len(self) if position < 0 else 0
        text = self._blocks.slice(position, position + 1) if position >= 0 else ""
        if not text:
            raise IndexError("text index out of range")
        return text

    def _bounds(self, key: slice) -> tuple[int, int, int]:
        """As ``key.indices(len(self))``, without reading further than ``key.stop``."""
        start = 0 if key.start is None else index(key.start)
        if key.step in (None, 1) and start >= 0 and key.stop is not None:
            stop = index(key.stop)
            if 0 <= stop <= start + LONGEST_SLICE:
                return start, stop, 1
        return key.indices(len(self))

    def _text(self, start: int, stop: int) -> str:
        if stop - start > LONGEST_SLICE:
            raise TextTooLarge(
                f"a slice of {stop - start:,} characters; at most {LONGEST_SLICE:,} can be copied "
                "at once. Work through the text in pieces: t[a:b], `for line in t`, t.finditer(p)"
            )
        return self._blocks.slice(start, stop)

    def _window(self, start: int, stop: int) -> tuple[str, bool]:
        """The characters in ``[start, stop)``, and whether the text ends with them."""
        text = self._blocks.slice(start, stop)
        return text, self._blocks.complete and stop >= self._blocks.known

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, str | LazyText):
            return NotImplemented
        if len(self) != len(other):
            return False
        at = 0
        for text in self._blocks.texts(0):
            if text != other[at : at + len(text)]:
                return False
            at += len(text)
        return True

    # -- lines -------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[str]:
        return self._lines_from(0, 0)

    def _lines_from(self, number: int, offset: int) -> Iterator[str]:
        """Lines with their ends from a character of a block on."""
        begun: list[str] = []
        length = 0
        for text in self._blocks.texts(number):
            *whole, rest = (text[offset:] if offset else text).split("\n")
            offset = 0
            for line in whole:
                if begun:
                    line = "".join(begun) + line
                    begun, length = [], 0
                yield line + "\n"
            if rest:
                begun.append(rest)
                length += len(rest)
                if length > LONGEST_SLICE:
                    raise TextTooLarge(
                        f"a line has more than {LONGEST_SLICE:,} characters: use slices t[a:b]"
                    )
        if begun:
            yield "".join(begun)

    def lines(self, start: int, stop: int | None = None) -> list[str]:
        """Lines ``start`` to ``stop - 1``, counted from 1 as in ``grep``, with their ends.

        Without ``stop``: to the end. Fewer where the text ends before. Raises
        :class:`TextTooLarge` above 64 Mi characters.
        """
        if start < 1:
            raise ValueError("lines are counted from 1")
        found: list[str] = []
        length = 0
        if stop is not None and stop <= start:
            return []
        place = self._blocks.find_line(start)
        for line in self._lines_from(*place) if place else ():
            found.append(line)
            length += len(line)
            if length > LONGEST_SLICE:
                raise TextTooLarge(f"more than {LONGEST_SLICE:,} characters: ask for fewer lines")
            if stop is not None and len(found) >= stop - start:
                break
        return found

    def line_of(self, position: int) -> int:
        """The number, from 1, of the line that holds the character at ``position``."""
        return self._blocks.line_at(self._blocks.byte_of(position))

    # -- search ------------------------------------------------------------------------------

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
        if needle is None:
            return sum(1 for _ in self._find_chars(sub, first, last))
        low, high = self._byte_range(first, last)
        if blocks.decoder.unit == 1 and not _overlaps_itself(needle):
            more = blocks.size + len(needle) - 1
            starts = range(low, high, blocks.size)
            return sum(blocks.data[at : min(high, at + more)].count(needle) for at in starts)
        found = 0
        while (low := self._find_bytes(needle, low, high)) >= 0:
            found += 1
            low += len(needle)
        return found

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

    def startswith(self, prefix: str | tuple[str, ...], start: int = 0) -> bool:
        """As ``str.startswith``."""
        prefixes = (prefix,) if isinstance(prefix, str) else prefix
        return any(self[start : start + len(each)] == each for each in prefixes)

    def endswith(self, suffix: str | tuple[str, ...]) -> bool:
        """As ``str.endswith`` for the whole text."""
        suffixes = (suffix,) if isinstance(suffix, str) else suffix
        size = len(self)
        return any(self[max(0, size - len(each)) :] == each for each in suffixes)

    # -- regular expressions -----------------------------------------------------------------

    def finditer(self, pattern: str | re.Pattern[str], flags: int = 0) -> Iterator[Match]:
        """As ``re.finditer(pattern, text, flags)``, with positions in the whole text.

        Equal to it as long as a match and what it looks ahead to span at most 1 Mi characters
        (lookbehind 4,096); longer ones are found up to 64 Mi where the match reaches the end of
        what was looked at, and raise :class:`TextTooLarge` beyond.
        """
        too_long = TextTooLarge(
            f"a match has more than {LONGEST_SLICE:,} characters: use a pattern that stops "
            "earlier (for instance [^\\n]* for .* with re.DOTALL)"
        )
        compiled = compile_pattern(pattern, flags)
        return windowed(compiled, self._window, self._ahead, LONGEST_SLICE, too_long)

    def search(self, pattern: str | re.Pattern[str], flags: int = 0) -> Match | None:
        """As ``re.search(pattern, text, flags)``."""
        return next(self.finditer(pattern, flags), None)

    def findall(self, pattern: str | re.Pattern[str], flags: int = 0) -> list[Any]:
        """As ``re.findall(pattern, text, flags)``."""
        return [
            groups[0] if len(groups) == 1 else groups or match.group()
            for match in self.finditer(pattern, flags)
            for groups in [match.groups("")]
        ]

    # -- what would copy it whole ------------------------------------------------------------

    def __repr__(self) -> str:
        blocks = self._blocks
        size = (
            f"{blocks.known:,} characters"
            if blocks.complete
            else f"{len(blocks.data) - blocks.start:,} bytes"
        )
        return (
            f"<LazyText: {size}, too large for a str. Use t[a:b], `for line in t`, t.lines(a, b), "
            "t.find(s), t.count(s), t.finditer(pattern), t.search(pattern) "
            "(not re.search(pattern, t))>"
        )


def _overlaps_itself(needle: bytes) -> bool:
    """True where two occurrences can share bytes (or where finding out would take long)."""
    size = len(needle)
    return size > 1000 or any(needle[:n] == needle[size - n :] for n in range(1, size))


_ADVICE = {
    "split": "iterate `for line in t`, or t.finditer(pattern)",
    "splitlines": "iterate `for line in t`, or t.lines(a, b)",
    "lower": "slice first, t[a:b].lower(), or match with re.IGNORECASE",
    "upper": "slice first, t[a:b].upper(), or match with re.IGNORECASE",
    "casefold": "slice first, t[a:b].casefold(), or match with re.IGNORECASE",
    "rindex": "use t.rfind(s), which gives -1 where there is none",
    "__str__": "print slices t[a:b], or hand pieces t[a:b] to sub-calls",
    "__format__": "format slices t[a:b], or hand pieces t[a:b] to sub-calls",
    "__add__": "join slices t[a:b] instead",
    "__radd__": "join slices t[a:b] instead",
    "__reversed__": "use slices t[a:b][::-1]",
}


def _refusal(name: str) -> Callable[..., NoReturn]:
    shown = f"{name.strip('_')}()"
    advice = _ADVICE.get(name, f"slice first: t[a:b].{shown}")

    def refuse(self: LazyText, *_: object, **__: object) -> NoReturn:
        raise TextTooLarge(f"{shown} would copy this text, which is too large for that: {advice}")

    return refuse


for _name in (*_ADVICE, *dir(str)):
    # object has __str__, __format__ and the rest, which would show or compare nonsense.
    if _name not in vars(LazyText) and (_name in _ADVICE or not _name.startswith("_")):
        setattr(LazyText, _name, _refusal(_name))
