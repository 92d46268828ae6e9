"""What a lazy text is split into: a list whose items are read when they are needed."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import index, itemgetter
from typing import Any, overload

from .toolarge import LONGEST, TextTooLarge

Step = Callable[[Any], tuple[list[Any], Any]]
"""``step(state)``: the pieces of the next stretch, and the state behind it; None at the end."""
Cut = Callable[[str, bool], tuple[list[str], int]]
"""``cut(text, final)``: whole pieces, and how many characters at its end are not in them."""

_MOST_IN_LIST = 1 << 20  # pieces of a slice that becomes a real list
_KEPT_STRETCHES = 2
_NUMBER, _STATE = itemgetter(0), itemgetter(1)


class _Stretches:
    """All pieces of one text, in stretches that can be read again from their beginning."""

    def __init__(self, step: Step, begin: Any) -> None:
        self._step = step
        self._marks = [(0, begin)]  # of each stretch: the pieces before it, the state it begins in
        self._total: int | None = None
        self._kept: dict[int, list[Any]] = {}
        self._lock = threading.RLock()

    def stretch(self, number: int) -> list[Any] | None:
        """The pieces of one stretch; None behind the last."""
        with self._lock:
            while number >= len(self._marks):
                if self._total is not None:
                    return None
                self._read(len(self._marks) - 1)
            return self._read(number)

    def _read(self, number: int) -> list[Any]:
        """Read a stretch. An interrupt leaves the marks whole."""
        if (pieces := self._kept.get(number)) is not None:
            return pieces
        before, state = self._marks[number]
        pieces, following = self._step(state)
        if following is None:
            self._total = before + len(pieces)
        elif number + 1 == len(self._marks):
            self._marks.append((before + len(pieces), following))
        while len(self._kept) >= _KEPT_STRETCHES:
            del self._kept[next(iter(self._kept))]
        self._kept[number] = pieces
        return pieces

    def known(self, enough: int | None = None) -> int:
        """The number of all pieces, or a smaller number that is above ``enough``."""
        while self._total is None:
            if enough is not None and self._marks[-1][0] > enough:
                return int(self._marks[-1][0])
            with self._lock:
                self._read(len(self._marks) - 1)
        return self._total

    def holding(self, piece: int) -> tuple[int, int]:
        """The stretch that holds a piece which is known to be there, and its place in it."""
        number = bisect_right(self._marks, piece, key=_NUMBER) - 1
        return number, piece - self._marks[number][0]

    def walk(self, first: int) -> Iterator[Any]:
        """All pieces from one on that is there (or from the end)."""
        number, skip = self.holding(first)
        while (pieces := self.stretch(number)) is not None:
            yield from islice(pieces, skip, None) if skip else pieces
            number, skip = number + 1, 0


class LazyList(Sequence[Any]):
    """The pieces of a lazy text, as a read-only list that holds few of them at a time.

    ``len``, indices, ``in``, ``count``, ``index`` and iteration are a list's; ``len`` and negative
    indices read all of the text once. A slice is a real list up to a million pieces that have 64
    Mi characters together, and another LazyList beyond. A piece of more than 64 Mi characters
    raises :class:`~.toolarge.TextTooLarge`. ``count`` gives ``len`` where that has a faster way.
    """

    __slots__ = ("_count", "_numbers", "_stretches")

    def __init__(self, step: Step, begin: Any, count: Callable[[], int] | None = None) -> None:
        self._stretches = _Stretches(step, begin)
        self._numbers: range | None = None  # which of them, where it is not all
        self._count = count

    def __len__(self) -> int:
        if self._numbers is not None:
            return len(self._numbers)
        if self._count is not None:
            return self._count()
        return self._stretches.known()

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def __iter__(self) -> Iterator[Any]:
        numbers = self._numbers
        if numbers is None:
            return self._stretches.walk(0)
        if numbers.step == 1 and numbers:
            return islice(self._stretches.walk(numbers[0]), len(numbers))
        return map(self._piece, numbers)

    def _piece(self, number: int) -> Any:
        stretch, place = self._stretches.holding(number)
        pieces = self._stretches.stretch(stretch)
        assert pieces is not None
        return pieces[place]

    @overload
    def __getitem__(self, key: int) -> Any: ...

    @overload
    def __getitem__(self, key: slice) -> Sequence[Any]: ...

    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return self._slice(self._all(key)[key])
        number = index(key)
        if self._numbers is not None:
            return self._piece(self._numbers[number])
        known = len(self) if number < 0 else 0
        number += known
        if number < 0 or number >= self._stretches.known(number):
            raise IndexError("list index out of range")
        return self._piece(number)

    def _all(self, key: slice) -> range:
        """The numbers of all pieces, or of so many that a slice of them is the same."""
        if self._numbers is not None:
            return self._numbers
        if (key.step is None or index(key.step) > 0) and key.stop is not None:
            start, stop = index(key.start or 0), index(key.stop)
            if start >= 0 and stop >= 0:
                return range(self._stretches.known(stop))
        return range(self._stretches.known())

    def _slice(self, numbers: range) -> Sequence[Any]:
        part = LazyList.__new__(LazyList)
        part._stretches, part._numbers, part._count = self._stretches, numbers, None
        if len(numbers) > _MOST_IN_LIST:
            return part
        pieces, length = [], 0
        for piece in part:
            length += len(piece or "")
            if length > LONGEST:
                return part
            pieces.append(piece)
        return pieces

    def __reversed__(self) -> Iterator[Any]:
        return iter(self[::-1])

    def __str__(self) -> str:
        raise TextTooLarge(
            "these pieces are a text that is too large for a str: print or hand over pieces[a:b]"
        )

    def __repr__(self) -> str:
        return (
            "<LazyList: the pieces of a text that is too large for a str. Use pieces[i], "
            "pieces[a:b], len(pieces), `for piece in pieces`>"
        )


def stepping(
    window: Callable[[int, int], tuple[str, bool]], cut: Cut, size: int, most: int
) -> Step:
    """The steps in which a text is cut into pieces, about ``size`` characters each.

    ``window(a, b)`` gives those characters and whether the text ends with them. A state is the
    position at which a piece begins. A piece may have ``most`` characters.
    """

    def step(position: int) -> tuple[list[str], int | None]:
        length = size
        while True:
            text, ends = window(position, position + length)
            pieces, rest = cut(text, ends)
            if ends:
                return pieces, None
            if rest < len(text):
                return pieces, position + len(text) - rest
            if length >= most:
                raise TextTooLarge(
                    f"a piece has more than {most:,} characters: use t.find(s) and slices t[a:b]"
                )
            length = min(2 * length, most)

    return step


def at_separator(separator: str) -> Cut:
    """Cut as ``str.split(separator)`` does."""

    def cut(text: str, final: bool) -> tuple[list[str], int]:
        pieces = text.split(separator)
        return (pieces, 0) if final else (pieces, len(pieces.pop()))

    return cut


def at_space(text: str, final: bool) -> tuple[list[str], int]:
    """Cut as ``str.split()`` does."""
    pieces = text.split()
    if final or text[-1:].isspace():
        return pieces, 0
    return pieces, len(pieces.pop())


def at_lines(keepends: bool) -> Cut:
    """Cut as ``str.splitlines(keepends)`` does."""

    def cut(text: str, final: bool) -> tuple[list[str], int]:
        pieces = text.splitlines(keepends)
        if final or not text:
            return pieces, 0
        # A line ends with the text where the last character is a line break by itself. Behind a
        # carriage return there may be a newline that belongs to it.
        if text[-1] != "\r" and not text[-1].splitlines()[0]:
            return pieces, 0
        ended = text[-1] == "\r" and not keepends
        return pieces, len(pieces.pop()) + ended

    return cut
