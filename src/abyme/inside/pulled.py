"""A document's bytes where no descriptor can be passed: pulled from the host, a piece at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

PIECE = 1 << 18
"""Bytes that are pulled and kept at a time."""
MOST_PULLED = 4 << 20
"""Bytes of one pull, at most; the host answers no larger one."""
MOST_PARTS = 64
"""Parts of documents in one pull, at most."""
KEPT_BYTES = 64 << 20
"""Bytes of pieces that a worker keeps of all its documents together."""

Part = tuple[int, int, int]
"""A document's index, the first byte, how many."""

_STEP = 1 << 20


class Pieces:
    """The last pieces that were pulled, of all documents. ``pull`` gives the bytes of parts.

    Threads share it. One pull is under way at a time, so that the host is never asked for more
    than it can answer.
    """

    def __init__(self, pull: Callable[[Sequence[Part]], bytes], kept: int = KEPT_BYTES) -> None:
        self._pull = pull
        self._most = max(1, kept // PIECE)
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._expected: tuple[int, int] | None = None
        self._ahead = 1
        self._lock = threading.RLock()

    def piece(self, document: int, number: int, size: int) -> bytes:
        """Piece ``number`` of a document of ``size`` bytes."""
        key = (document, number)
        with self._lock:
            if (piece := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return piece
            # More and more at once where pieces are read in their order.
            in_order = key == self._expected
            self._ahead = min(MOST_PULLED // PIECE, 2 * self._ahead) if in_order else 1
            first = number * PIECE
            found = self.take(document, first, min(size, first + self._ahead * PIECE))
            count = -(-len(found) // PIECE)
            for place in range(count):
                self._kept[document, number + place] = found[place * PIECE : (place + 1) * PIECE]
            while len(self._kept) > max(self._most, count):
                self._kept.popitem(last=False)
            self._expected = (document, number + count)
            return self._kept[key]

    def take(self, document: int, start: int, stop: int) -> bytes:
        """Bytes that are not kept, at most :data:`MOST_PULLED`."""
        with self._lock:
            found = self._pull([(document, start, stop - start)])
        if len(found) != stop - start:
            raise OSError("the host gave other bytes than were asked for")
        return found

    def several(self, parts: Sequence[Part]) -> list[bytes]:
        """The bytes of parts, at least one, up to the first that the host cannot give."""
        with self._lock:
            found = self._pull(parts)
        at, given = 0, []
        for _, _, size in parts:
            if at + size > len(found):
                break
            given.append(found[at : at + size])
            at += size
        if not given:
            raise OSError("the host gave other bytes than were asked for")
        return given


class Pulled:
    """One document of ``size`` bytes, used as ``bytes`` are; what is pulled and kept is bounded."""

    def __init__(self, pieces: Pieces, document: int, size: int) -> None:
        self._pieces = pieces
        self._document = document
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, slice):
            at = range(self._size)[key]
            return self._pieces.piece(self._document, at // PIECE, self._size)[at % PIECE]
        start, stop, step = key.indices(self._size)
        if step != 1:
            raise ValueError("pulled bytes are sliced without a step")
        return bytes(self.take(start, stop))

    def take(self, start: int, stop: int) -> bytes | bytearray:
        """The bytes from ``start`` to ``stop``. What is long is not kept."""
        if start >= stop:
            return b""
        first = start // PIECE
        if stop <= (first + 1) * PIECE:
            whole = self._pieces.piece(self._document, first, self._size)
            return whole[start - first * PIECE : stop - first * PIECE]
        taken = bytearray(stop - start)
        at = start
        if stop - start > KEPT_BYTES // 4:
            while at < stop:
                end = min(stop, at + MOST_PULLED)
                taken[at - start : end - start] = self._pieces.take(self._document, at, end)
                at = end
            return taken
        while at < stop:
            number = at // PIECE
            piece = self._pieces.piece(self._document, number, self._size)
            part = piece[at - number * PIECE : stop - number * PIECE]
            taken[at - start : at - start + len(part)] = part
            at += len(part)
        return taken

    def find(self, sub: bytes, start: int = 0, end: int | None = None) -> int:
        """As ``bytes.find``, for places that are not negative."""
        end = self._size if end is None else min(end, self._size)
        while start + len(sub) <= end:
            part = self.take(start, min(end, start + _STEP + len(sub) - 1))
            if (at := part.find(sub)) >= 0:
                return start + at
            start += _STEP
        return -1

    def rfind(self, sub: bytes, start: int = 0, end: int | None = None) -> int:
        """As ``bytes.rfind``, for places that are not negative."""
        end = self._size if end is None else min(end, self._size)
        while start + len(sub) <= end:
            low = max(start, end - _STEP - len(sub) + 1)
            if (at := self.take(low, end).rfind(sub)) >= 0:
                return low + at
            end = low + len(sub) - 1
            if low == start:
                break
        return -1
