"""Characters of a text that is read where it lies."""

from __future__ import annotations

from operator import index

from .blocks import Blocks
from .decoding import BLOCK, Bytes
from .matching import Windows
from .toolarge import LONGEST, TextTooLarge

AHEAD = 1 << 20
"""Characters that a regular expression is sure to see from the start of a match on."""


_FAR = 1024
_MOST_STEPS = 1_000_000


class Reading:
    """The part of a lazy text that gives its characters by position."""

    __slots__ = ("_blocks", "_longest", "_windows", "document")

    def __init__(
        self,
        data: Bytes,
        encoding: str = "utf-8",
        errors: str = "surrogateescape",
        *,
        start: int = 0,
        block: int = BLOCK,
        ahead: int = AHEAD,
        longest: int = LONGEST,
    ) -> None:
        self._blocks = Blocks(data, encoding, errors, start, block)
        self._longest = longest
        self._windows = Windows(self._blocks, ahead, longest)
        self.document: int | None = None  # which of the run's documents it is the text of

    def __len__(self) -> int:
        return self._blocks.characters

    def __bool__(self) -> bool:
        return self._blocks.start < len(self._blocks.data)

    def __getitem__(self, key: int | slice) -> str:
        if isinstance(key, slice):
            start, stop, step = self._bounds(key)
            if abs(step) >= _FAR and len(range(start, stop, step)) <= _MOST_STEPS:
                # Each by itself, rather than all that lies between them.
                return "".join(self[position] for position in range(start, stop, step))
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
            if 0 <= stop <= start + self._longest:
                return start, stop, 1
        return key.indices(len(self))

    def _text(self, start: int, stop: int) -> str:
        if stop - start > self._longest:
            raise TextTooLarge(
                f"a slice over {stop - start:,} characters; at most {self._longest:,} can be read "
                "at once. Work through the text in pieces: t[a:b], `for line in t`, t.finditer(p)"
            )
        return self._blocks.slice(start, stop)

    def _has(self, position: int) -> bool:
        blocks = self._blocks
        while blocks.known < position and blocks.grow():
            pass
        return blocks.known >= position

    def _window(self, start: int, stop: int) -> tuple[str, bool]:
        """The characters in ``[start, stop)``, and whether the text ends with them."""
        text = self._blocks.slice(start, stop)
        return text, self._blocks.complete and stop >= self._blocks.known
