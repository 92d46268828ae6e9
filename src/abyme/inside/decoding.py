"""How the bytes of a document become characters: where they may be cut, how wide a ``str`` is."""

from __future__ import annotations

import codecs
import functools
import mmap
import sys
from collections.abc import Iterator

from .mapped import Mapped
from .pulled import Pulled

Bytes = bytes | mmap.mmap | Pulled

BLOCK = 1 << 18
"""Bytes that are decoded at a time where a text is only measured or searched."""

_BORDER_BACK = 4  # a UTF-8 character has at most four bytes
_UNITS = {"utf-8": 1, "utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}
# The size of a non-ASCII str without its characters and without the NUL after them.
_STR_HEADER = sys.getsizeof("\xe9") - 2


class Decoder:
    """One encoding with its error handler, as ``bytes.decode`` takes them.

    ``seekable`` says that bytes can be cut at :meth:`border` so that the parts decode to exactly
    what the whole decodes to: UTF-8, UTF-16, UTF-32 and every encoding of one byte a character.
    Others (Shift JIS, GB 18030, EUC, …) can only be decoded from their start. ``unit`` is the
    number of bytes that every character is a multiple of, ``single`` that it is always one byte.
    """

    def __init__(self, encoding: str, errors: str) -> None:
        self.encoding = encoding
        self.errors = errors
        self.name = codecs.lookup(encoding).name
        self.unit = _UNITS.get(self.name, 1)
        self.single = self.name not in _UNITS and _is_single_byte(self.name, errors)
        self.seekable = self.single or self.name in _UNITS
        self.newline = "\n".encode(encoding) if self.seekable else b"\n"
        self.utf8 = self.name in ("utf-8", "ascii")
        self._as_ascii = self.utf8 or (self.single and _extends_ascii(self.name))

    def decode(self, data: Bytes, start: int, stop: int) -> str:
        """The characters of ``data[start:stop]``, decoded where they lie.

        Raises UnicodeDecodeError where the error handler does.
        """
        if isinstance(data, Pulled):
            return str(data.take(start, stop), self.encoding, self.errors)
        with memoryview(data) as view, view[start:stop] as part:
            text = str(part, self.encoding, self.errors)
        if isinstance(data, Mapped):
            data.was_read(stop - start)
        return text

    def count(self, data: Bytes, start: int, stop: int) -> tuple[int, int]:
        """The number of characters of ``data[start:stop]`` and the bytes that the widest takes."""
        part = data[start:stop]
        if self._as_ascii and part.isascii():
            return len(part), 1
        text = str(part, self.encoding, self.errors)
        return len(text), character_width(text)

    def needle(self, text: str) -> bytes | None:
        """The bytes of ``text`` if each of their (aligned) occurrences is one of ``text``, or None.

        A lone surrogate stands for a byte that is no character; such a byte is also found inside
        characters, so that texts with surrogates must be searched as characters.
        """
        if not self.seekable:
            return None
        try:
            needle = text.encode(self.encoding, self.errors if self.single else "strict")
        except UnicodeEncodeError:
            return None
        # In Latin-1 the escape of a byte is encoded to that byte, which decodes to a character.
        same = not self.single or needle.decode(self.encoding, self.errors) == text
        return needle if same else None

    def border(self, data: Bytes, want: int, start: int) -> int:
        """The last border between characters at or before byte ``want``; the text is at ``start``.

        ``want`` may lie past the end. The result is above ``want - 4``.
        """
        if want >= len(data):
            return len(data)
        if self.name == "utf-8":
            return _utf8_border(data, want)
        want -= (want - start) % self.unit
        if self.unit == 2 and want - start >= 2:
            low, high = (want + 1, want - 1) if self.name.endswith("le") else (want, want - 2)
            # Between the halves of a surrogate pair there is no border.
            if data[low] & 0xFC == 0xDC and data[high] & 0xFC == 0xD8:
                want -= 2
        return want

    def ranges(self, data: Bytes, start: int, size: int, longest: int) -> Iterator[tuple[int, int]]:
        """The text from byte ``start`` in parts of about ``size`` bytes that end after a newline.

        A line that does not fit is one part of its own up to ``longest`` bytes and is cut at a
        character beyond. Where the encoding is not seekable the whole text is one part.
        """
        end = len(data)
        while start < end:
            stop = end
            if self.seekable and end - start > size:
                stop = self._line_border(data, start, size, longest)
            yield start, stop
            start = stop

    def _line_border(self, data: Bytes, start: int, size: int, longest: int) -> int:
        at = data.rfind(self.newline, start, start + size)
        while at >= 0 and (at - start) % self.unit:
            at = data.rfind(self.newline, start, at + len(self.newline) - 1)
        if at < 0:
            at = find_aligned(data, self.newline, self.unit, start, start + size, start + longest)
        if at >= 0:
            return at + len(self.newline)
        return self.border(data, start + max(size, longest), start)


@functools.cache
def decoder(encoding: str, errors: str) -> Decoder:
    """The :class:`Decoder` of an encoding. Raises LookupError where Python does not know it."""
    return Decoder(encoding, errors)


_LONG = 4_096
"""Bytes above which only the beginning of what is looked for is searched for, then compared."""


def find_aligned(data: Bytes, needle: bytes, unit: int, origin: int, start: int, stop: int) -> int:
    """Where ``needle`` first lies in ``data[start:stop]``, or -1.

    Only places a multiple of ``unit`` bytes from ``origin`` count.
    """
    stop = min(stop, len(data))
    if len(needle) > _LONG:
        # What prepares a search takes as long as the needle, and again with every step. So look
        # for its beginning, unless that is seen too often where the rest is another.
        vain = 0
        while vain < len(needle):
            last = stop - len(needle) + _LONG
            at = _find(data, needle[:_LONG], unit, origin, start, last)
            if at < 0:
                return -1
            same = _equal_bytes(data, needle, at)
            if same == len(needle):
                return at
            vain += same
            start = at + 1
    return _find(data, needle, unit, origin, start, stop)


def _equal_bytes(data: Bytes, needle: bytes, at: int) -> int:
    """``len(needle)`` where it lies at ``at``; else about how many of its bytes had to be read."""
    step = 1 << 16
    for read in range(0, len(needle), step):
        part = needle[read : read + step]
        if data[at + read : at + read + len(part)] != part:
            return min(read + step, len(needle) - 1)
    return len(needle)


def _find(data: Bytes, needle: bytes, unit: int, origin: int, start: int, stop: int) -> int:
    """As :func:`find_aligned`, in steps of 64 MB, so that an interrupt is heard between them."""
    step = 1 << 26
    while start <= stop - len(needle):
        at = data.find(needle, start, min(stop, start + step + len(needle) - 1))
        if at < 0:
            start += step
        elif (at - origin) % unit:
            start = at + 1
        else:
            return at
    return -1


def str_bytes(data: Bytes, decoder: Decoder, start: int, limit: int) -> int | None:
    """Bytes that the text would take as a ``str`` (without its header), or None above ``limit``.

    Exact: number of characters times the width of the widest. Reads no further than it must.
    """
    # A str has at least half of the bytes that it was, in UTF-32 a quarter.
    if decoder.seekable and (len(data) - start) // max(2, decoder.unit) > limit:
        return None
    characters, width = 0, 1
    for count, widest in _counts(data, decoder, start):
        characters += count
        width = max(width, widest)
        if characters * width > limit:
            return None
    return characters * width


def character_width(text: str) -> int:
    """Bytes that each character of ``text`` takes in memory: 1, 2 or 4."""
    if text.isascii():
        return 1
    return (sys.getsizeof(text) - _STR_HEADER) // (len(text) + 1)


def _counts(data: Bytes, decoder: Decoder, start: int) -> Iterator[tuple[int, int]]:
    if decoder.seekable:
        while start < len(data):
            stop = decoder.border(data, start + BLOCK, start)
            yield decoder.count(data, start, stop)
            start = stop
        return
    incremental = codecs.getincrementaldecoder(decoder.encoding)(decoder.errors)
    while start < len(data):
        text = incremental.decode(data[start : start + BLOCK], start + BLOCK >= len(data))
        yield len(text), character_width(text)
        start += BLOCK


def _utf8_border(data: Bytes, want: int) -> int:
    for back in range(min(_BORDER_BACK, want + 1)):
        if data[want - back] & 0xC0 != 0x80:
            return want - back
    return want  # four continuation bytes: the last of them belongs to no character before it


def _is_single_byte(name: str, errors: str) -> bool:
    """True where every byte is one character and every character one byte."""
    if name.startswith(("utf", "iso2022", "hz", "raw", "unicode", "idna", "punycode")):
        return False
    every = bytes(range(256))
    try:
        table = every.decode(name, errors)
    except UnicodeDecodeError:
        table = every.decode(name, "surrogateescape")
    # A first byte of two would swallow its own double.
    doubles = (bytes([byte, byte]).decode(name, "surrogateescape") for byte in every)
    return len(set(table)) == 256 and all(len(double) == 2 for double in doubles)


def _extends_ascii(name: str) -> bool:
    low = bytes(range(128))
    return low.decode(name, "surrogateescape") == low.decode("ascii")
