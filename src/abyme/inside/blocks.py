"""A sparse index over the bytes of a large text: bytes to characters to lines, and back."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter

from .decoding import Bytes, decoder

_KEPT_BLOCKS = 8
_BYTE, _CHARACTER = itemgetter(0), itemgetter(1)


class Blocks:
    """The text of ``data`` from byte ``start`` in blocks of about ``size`` bytes.

    For each block the index holds the bytes, characters and newlines before it. It grows from the
    start as far as it is asked for; the last entry is how far it has come. A position is a
    character in the whole text. Threads may share it, and an interrupt anywhere leaves it whole:
    an entry is appended in one step. Raises ValueError for an encoding that can be decoded from
    its start only.
    """

    def __init__(self, data: Bytes, encoding: str, errors: str, start: int, size: int) -> None:
        if size < 8:
            raise ValueError("a block must have room for a character at its end: 8 bytes")
        self.data = data
        self.decoder = decoder(encoding, errors)
        if not self.decoder.seekable:
            raise ValueError(f"{encoding} can be decoded from its start only")
        self.start = min(start, len(data))
        self.size = size
        self._index = [(self.start, 0)]
        if self.decoder.single:
            ends = [*range(self.start, len(data), size), len(data)]
            self._index = [(at, at - self.start) for at in ends]
        self._lines_at = [0]
        self._texts: dict[int, str] = {}
        self._lock = threading.RLock()

    @property
    def known(self) -> int:
        """Characters in the index so far."""
        return self._index[-1][1]

    @property
    def complete(self) -> bool:
        """True once the index has reached the end of the text."""
        return self._index[-1][0] >= len(self.data)

    @property
    def characters(self) -> int:
        """Characters of the whole text. Reads it once where the index is not complete."""
        while self.grow():
            pass
        return self.known

    def grow(self) -> bool:
        """Add one block to the index; False where it is complete."""
        with self._lock:
            if self.complete:
                return False
            low, characters = self._index[-1]
            high = self.decoder.border(self.data, low + self.size, self.start)
            count, _ = self.decoder.count(self.data, low, high)
            self._index.append((high, characters + count))
            return True

    def reach(self, number: int) -> bool:
        """True where the text has a block of this number, which is then in the index."""
        while number + 1 >= len(self._index):
            if not self.grow():
                return False
        return True

    def text(self, number: int) -> str:
        """The text of a block that is in the index. The last few are kept."""
        with self._lock:
            text = self._texts.pop(number, None)
            if text is None:
                text = self._decode(number)
                if len(self._texts) >= _KEPT_BLOCKS:
                    del self._texts[next(iter(self._texts))]
            self._texts[number] = text
            return text

    def texts(self, number: int) -> Iterator[str]:
        """The texts of all blocks from ``number`` on."""
        while self.reach(number):
            yield self._decode(number)
            number += 1

    def _decode(self, number: int) -> str:
        return self.decoder.decode(self.data, self._index[number][0], self._index[number + 1][0])

    def slice(self, start: int, stop: int) -> str:
        """The characters in ``[start, stop)``, fewer where the text ends before."""
        number = self._holding(start)
        pieces = []
        while start < stop and self.reach(number):
            offset = start - self._index[number][1]
            piece = self.text(number)[offset : offset + stop - start]
            pieces.append(piece)
            start += len(piece)
            number += 1
        return "".join(pieces)

    def window(self, start: int, stop: int) -> tuple[str, int, bool]:
        """Whole blocks that hold the characters in ``[start, stop)``, as one text.

        Also the position of its first character, and whether the text ends with it.
        """
        first, last = self._holding(start), self._holding(max(start, stop - 1))
        if not self.reach(last):
            return "", self.known, True
        (low, shift), (high, _) = self._index[first], self._index[last + 1]
        return self.decoder.decode(self.data, low, high), shift, high >= len(self.data)

    def byte_of(self, position: int) -> int:
        """The byte at which a character begins; the end where the text has no such character."""
        number = self._holding(position)
        end, known = self._index[-1]
        if position >= known:
            return end
        low, before = self._index[number]
        offset = position - before
        if offset and not self._plain(number):
            part = self.text(number)[:offset]
            offset = len(part.encode(self.decoder.encoding, self.decoder.errors))
        return low + offset

    def char_of(self, byte: int) -> int:
        """The position of the character that begins at ``byte``."""
        number = self._over(byte)
        low, before = self._index[number]
        if byte == low or self._plain(number):
            return before + byte - low
        return before + self.decoder.count(self.data, low, byte)[0]

    def line_at(self, byte: int) -> int:
        """The number, from 1, of the line that holds the character at ``byte``."""
        number = self._over(byte)
        before = self.decoder.decode(self.data, self._index[number][0], byte)
        return 1 + self._newlines_before(number) + before.count("\n")

    def find_line(self, line: int) -> tuple[int, int] | None:
        """The block where a line (from 1) begins, and its offset there in characters; or None."""
        number = 0
        while self.reach(number):
            if self._newlines_before(number + 1) >= line - 1:
                text, offset = self.text(number), 0
                for _ in range(line - 1 - self._newlines_before(number)):
                    offset = text.index("\n", offset) + 1
                return number, offset
            number += 1
        return None

    def _holding(self, position: int) -> int:
        """The block that holds the character, or the last one where the text ends before it."""
        while self.known <= position and self.grow():
            pass
        last = len(self._index) - 1
        return max(0, bisect_right(self._index, position, hi=last, key=_CHARACTER) - 1)

    def _over(self, byte: int) -> int:
        """The block that holds the byte; one past the last for the end of the text."""
        while self._index[-1][0] <= byte and self.grow():
            pass
        return bisect_right(self._index, byte, key=_BYTE) - 1

    def _plain(self, number: int) -> bool:
        """True where each character of the block is one byte."""
        (low, first), (high, last) = self._index[number : number + 2]
        return self.decoder.unit == 1 and high - low == last - first

    def _newlines_before(self, number: int) -> int:
        with self._lock:
            while (last := len(self._lines_at) - 1) < number:
                if self.decoder.unit == 1:
                    part = self.data[self._index[last][0] : self._index[last + 1][0]]
                    count = part.count(self.decoder.newline)
                else:
                    count = self._decode(last).count("\n")
                self._lines_at.append(self._lines_at[-1] + count)
            return self._lines_at[number]
