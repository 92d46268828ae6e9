"""A text that is too large for a ``str``: read where it lies, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator

from .expressions import Expressions
from .finding import Finding
from .pieces import Cut, LazyList, Step, at_lines, at_separator, at_space, stepping
from .refused import refuse_the_rest
from .toolarge import TextTooLarge


class LazyText(Expressions, Finding):
    """Text over mapped bytes that slices, iterates, searches, splits and matches like a ``str``.

    Positions are characters, as in the ``str`` that all bytes would decode to. An index of about
    one entry each ``block`` bytes (in bytes and in characters) grows as far as it is needed: the
    first ``len(t)`` and the first ``t[-1]`` read everything once, ``t[:100]`` does not.

    **Lines** of ``for line in t``, ``lines`` and ``line_of`` end after each ``"\\n"`` and nowhere
    else, as in ``io.StringIO(text)``: ``"\\r\\n"`` stays at the end of its line. (``for`` over a
    ``str`` gives characters.) ``splitlines`` ends them wherever ``str.splitlines`` does, also at
    ``"\\r"``, ``"\\x0b"``, ``"\\u2028"``, …, and ``split("\\n")`` is ``str.split("\\n")``; both
    give a :class:`~.pieces.LazyList`.

    It is no ``str``: ``isinstance(t, str)`` is False, and what needs a real one takes slices. It
    equals a ``str`` of the same characters (``==`` reads both) and has no hash. What of a
    ``str``'s methods would copy it raises :class:`~.toolarge.TextTooLarge` with advice.

    ``start`` is the byte that the text begins at (after a byte order mark), ``block`` the size of
    an index entry in bytes, ``ahead`` the characters that a match is sure to see
    (:class:`~.matching.Windows`), ``longest`` those that a slice, a line or a result may have.
    Raises ValueError for an encoding that can be decoded from its start only.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # equal to a str, whose hash needs the whole text

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, str | LazyText):
            return NotImplemented
        if isinstance(other, str) and 4 * len(other) < len(self._blocks.data) - self._blocks.start:
            return False  # no encoding makes less of four bytes than one character
        if len(self) != len(other):
            return False
        at = 0
        for text in self._blocks.texts(0):
            if text != other[at : at + len(text)]:
                return False
            at += len(text)
        return True

    def __copy__(self) -> LazyText:
        return self

    def __deepcopy__(self, memo: object) -> LazyText:
        return self

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
                if length > self._longest:
                    raise TextTooLarge(
                        f"a line has more than {self._longest:,} characters: use slices t[a:b]"
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
            if length > self._longest:
                raise TextTooLarge(f"more than {self._longest:,} characters: ask for fewer lines")
            if stop is not None and len(found) >= stop - start:
                break
        return found

    def line_of(self, position: int) -> int:
        """The number, from 1, of the line that holds the character at ``position``."""
        return self._blocks.line_at(self._blocks.byte_of(position))

    def split(self, sep: str | None = None, maxsplit: int = -1) -> LazyList:
        """As ``str.split(sep)``, as a list whose pieces are read when they are needed.

        Raises :class:`~.toolarge.TextTooLarge` for a ``maxsplit``, whose last piece is the rest.
        """
        if maxsplit >= 0:
            raise TextTooLarge(
                "with maxsplit, the last piece is the rest of the text, which is too large: use "
                "t.split(sep)[:n], or i = t.find(sep) and slices t[:i], t[i:i + n]"
            )
        if sep is None:
            return self._pieces(at_space)
        if not isinstance(sep, str):
            raise TypeError(f"must be str or None, not {type(sep).__name__}")
        if not sep:
            raise ValueError("empty separator")
        return LazyList(self._step(at_separator(sep)), 0, lambda: self.count(sep) + 1)

    def splitlines(self, keepends: bool = False) -> LazyList:
        """As ``str.splitlines``, as a list whose lines are read when they are needed."""
        return self._pieces(at_lines(bool(keepends)))

    def _pieces(self, cut: Cut) -> LazyList:
        return LazyList(self._step(cut), 0)

    def _step(self, cut: Cut) -> Step:
        return stepping(self._window, cut, self._blocks.size, self._longest)

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
            "t.splitlines(), t.find(s), t.count(s), re.finditer(pattern, t), re.findall(p, t) "
            "(with a compiled pattern: t.finditer(p))>"
        )


refuse_the_rest(LazyText)
