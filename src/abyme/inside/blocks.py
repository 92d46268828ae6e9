"""A sparse index over the bytes of a large text: bytes to characters to lines, and back."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from .decoding import Bytes, decoder

_KEPT_BLOCKS = 8


class Blocks:
    """The text of ``data`` from byte ``start`` in blocks of about ``size`` bytes.

    For each block the index holds the bytes, characters and newlines before it. It grows from the
    start as far as it is asked for; the last entry is how far it has come. A position is a
    character in the whole text. Raises ValueError for an encoding that can be decoded from its
    start only.
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
        self.bytes_at = [self.start]
        self.chars_at = [0]
        self._lines_at = [0]
        if self.decoder.single:
            self.bytes_at = [*range(self.start, len(data), size), len(data)]
            self.chars_at = [at - self.start for at in self.bytes_at]
        self._texts: dict[int, str] = {}

    @property
    def complete(self) -> bool:
        """True once the index has reached the end of the text."""
        return self.bytes_at[-1] >= len(self.data)

    @property
    def characters(self) -> int:
        """Characters of the whole text. Reads it once where the index is not complete."""
        while self.grow():
            pass
        return self.chars_at[-1]

    def grow(self) -> bool:
        """Add one block to the index; False where it is complete."""
        if self.complete:
            return False
        low = self.bytes_at[-1]
        high = self.decoder.border(self.data, low + self.size, self.start)
        self.bytes_at.append(high)
        self.chars_at.append(self.chars_at[-1] + self.decoder.count(self.data, low, high)[0])
        return True

    def reach(self, number: int) -> bool:
        """True where the text has a block of this number, which is then in the index."""
        while number + 1 >= len(self.bytes_at):
            if not self.grow():
                return False
        return True

    def text(self, number: int) -> str:
        """The text of a block that is in the index. The last few are kept."""
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
        return self.decoder.decode(self.data, self.bytes_at[number], self.bytes_at[number + 1])

    def slice(self, start: int, stop: int) -> str:
        """The characters in ``[start, stop)``, fewer where the text ends before."""
        number = self._holding(start)
        pieces = []
        while start < stop and self.reach(number):
            offset = start - self.chars_at[number]
            piece = self.text(number)[offset : offset + stop - start]
            pieces.append(piece)
            start += len(piece)
            number += 1
        return "".join(pieces)

    def byte_of(self, position: int) -> int:
        """The byte at which a character begins; the end where the text has no such character."""
        number = self._holding(position)
        if position >= self.chars_at[-1]:
            return self.bytes_at[-1]
        offset = position - self.chars_at[number]
        if offset and not self._plain(number):
            part = self.text(number)[:offset]
            offset = len(part.encode(self.decoder.encoding, self.decoder.errors))
        return self.bytes_at[number] + offset

    def char_of(self, byte: int) -> int:
        """The position of the character that begins at ``byte``."""
        number = self._over(byte)
        low = self.bytes_at[number]
        if byte == low or self._plain(number):
            return self.chars_at[number] + byte - low
        return self.chars_at[number] + self.decoder.count(self.data, low, byte)[0]

    def line_at(self, byte: int) -> int:
        """The number, from 1, of the line that holds the character at ``byte``."""
        number = self._over(byte)
        before = self.decoder.decode(self.data, self.bytes_at[number], byte)
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
        while self.chars_at[-1] <= position and self.grow():
            pass
        return max(0, bisect_right(self.chars_at, position, hi=len(self.chars_at) - 1) - 1)

    def _over(self, byte: int) -> int:
        while self.bytes_at[-1] <= byte and self.grow():
            pass
        return bisect_right(self.bytes_at, byte) - 1

    def _plain(self, number: int) -> bool:
        """True where each character of the block is one byte."""
        low, high = self.bytes_at[number : number + 2]
        first, last = self.chars_at[number : number + 2]
        return self.decoder.unit == 1 and high - low == last - first

    def _newlines_before(self, number: int) -> int:
        while len(self._lines_at) <= number:
            last = len(self._lines_at) - 1
            if self.decoder.unit == 1:
                part = self.data[self.bytes_at[last] : self.bytes_at[last + 1]]
                count = part.count(self.decoder.newline)
            else:
                count = self._decode(last).count("\n")
            self._lines_at.append(self._lines_at[-1] + count)
        return self._lines_at[number]
