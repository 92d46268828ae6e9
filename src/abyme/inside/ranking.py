"""Ranking passages without an index: one pass marks where terms stand, one scores what is there."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from heapq import nlargest

from .documents import Store
from .hits import Passage, Passages
from .scoring import window_score
from .structure import in_headlines
from .terms import Term

WIDTH = 800
"""Characters that a passage has, about."""

_PIECE = 1 << 20  # bytes that are looked at together: they stay in the processor's cache
_BUCKET = 512  # the first pass marks which terms stand in each so many bytes
_MAX_MARKS = 500_000  # of all terms (50 MB); a term that has more than its share is sampled
_NAMED = 0.5  # what a term in a document's name counts, beside how few names have it
_ANCHORS_APART = 32  # bytes between two places where a window may begin


class _Marks:
    """The buckets in which a term stands; every ``stride``-th at most, so that they stay few.

    Sampling loses only where a frequent term stands beside others, and frequent terms weigh
    little. What the second pass scores it reads again, all terms included.
    """

    def __init__(self, term: Term, limit: int) -> None:
        self.term = term
        self.limit = limit
        self.buckets: list[int] = []
        self.stride = 1

    def add(self, low: bytes, raw: bytes, base: int) -> None:
        size = self.stride * _BUCKET
        found = self.term.find(low, raw, size, base)
        self.buckets += [(base + at) // _BUCKET for at in found]
        while len(self.buckets) > self.limit:
            self.buckets = self.buckets[::2]
            self.stride *= 2


class _Piece:
    """Bytes ``[low, high)`` of a document; ``base`` is where they lie in the scan as a whole."""

    __slots__ = ("base", "high", "index", "low")

    def __init__(self, base: int, index: int, low: int, high: int) -> None:
        self.base = base
        self.index = index
        self.low = low
        self.high = high

    def read(self, store: Store) -> bytes:
        """The piece as UTF-8, in which every encoding is searched."""
        decode, data = store.decoder(self.index), store.data(self.index)
        if decode.utf8:
            return data[self.low : self.high]
        return decode.decode(data, self.low, self.high).encode("utf-8", "surrogatepass")

    def text(self, store: Store, part: bytes) -> str:
        """The characters of a part of what :meth:`read` gave, cut between characters."""
        decode = store.decoder(self.index)
        return str(part, decode.encoding, decode.errors) if decode.utf8 else _to_str(part)


def _to_str(part: bytes) -> str:
    return part.decode("utf-8", "surrogatepass")


class Ranking:
    """One query over some documents of a store."""

    def __init__(self, store: Store, indices: list[int], terms: list[Term]) -> None:
        self._store = store
        self._terms = terms
        self._pieces: list[_Piece] = []
        self._bases: list[int] = []
        self._last: tuple[_Piece | None, bytes] = (None, b"")
        self._marks = [_Marks(term, _MAX_MARKS // len(terms)) for term in terms]
        self._named = self._in_names(indices)
        size = self._scan(indices)
        windows = size / _BUCKET + 1
        self.places = {m.term.word: len(set(m.buckets)) * m.stride for m in self._marks}
        self._weights = [
            math.log(1 + (max(0.0, windows - found) + 0.5) / (found + 0.5))
            for found in self.places.values()
        ]

    def _in_names(self, indices: list[int]) -> dict[int, float]:
        """What the name of each document counts for the terms that stand in it.

        The fewer names have a term, the more it counts; what all names have counts nothing.
        """
        found: dict[int, list[int]] = {}
        for index in indices:
            name = self._store.name(index).encode("utf-8", "surrogatepass")
            low = name.lower()
            for number, term in enumerate(self._terms):
                if next(term.find(low, name), None) is not None:
                    found.setdefault(number, []).append(index)
        named: dict[int, float] = {}
        for those in found.values():
            counts = _NAMED * math.log(len(indices) / len(those))
            for index in those:
                named[index] = named.get(index, 0.0) + counts
        return named

    def _scan(self, indices: list[int]) -> int:
        """First pass: mark the buckets of every term. Gives the bytes looked at."""
        base = 0
        for index in indices:
            ranges = self._store.decoder(index).ranges(
                self._store.data(index), self._store.start(index), _PIECE, 0
            )
            for low, high in ranges:
                piece = _Piece(base, index, low, high)
                raw = piece.read(self._store)
                lowered = raw.lower()
                for marks in self._marks:
                    marks.add(lowered, raw, base)
                self._pieces.append(piece)
                self._bases.append(base)
                # The next piece begins in a bucket of its own.
                base += -(-len(raw) // _BUCKET) * _BUCKET
        return base

    def best(self, k: int, looked_at: int) -> Passages:
        """Second pass: the ``k`` best passages that do not overlap, best first."""
        windows = [window for bucket in self._candidates(k) for window in self._refine(bucket)]
        windows.sort(key=lambda window: -window[0])
        chosen: list[tuple[float, _Piece, int, int]] = []
        for window in windows:
            if len(chosen) >= k:
                break
            _, piece, start, end = window
            if all(p is not piece or end <= s or e <= start for _, p, s, e in chosen):
                chosen.append(window)
        return Passages(self._placed(chosen), looked_at, self.places)

    def _candidates(self, k: int) -> list[int]:
        """Buckets that, with the one after them, hold the terms of most weight."""
        held: dict[int, int] = {}
        for number, marks in enumerate(self._marks):
            bit = 1 << number
            for bucket in marks.buckets:
                held[bucket] = held.get(bucket, 0) | bit
        known: dict[int, float] = {}

        def weight(bits: int) -> float:
            if (value := known.get(bits)) is None:
                value = sum(w for n, w in enumerate(self._weights) if bits >> n & 1)
                known[bits] = value
            return value

        def promise(bucket: int) -> float:
            bits = held[bucket]
            named = 0.0
            if self._named:
                piece = self._pieces[bisect_right(self._bases, bucket * _BUCKET) - 1]
                named = self._named.get(piece.index, 0.0)
            return weight(bits | held.get(bucket + 1, 0)) + 0.1 * weight(bits) + named

        return sorted(nlargest(max(400, 20 * k), held, key=promise))

    def _refine(self, bucket: int) -> Iterator[tuple[float, _Piece, int, int]]:
        """The best window whose first term stands in the bucket: score, piece, start, end."""
        piece = self._pieces[bisect_right(self._bases, bucket * _BUCKET) - 1]
        if self._last[0] is not piece:
            self._last = (piece, piece.read(self._store))
        raw = self._last[1]
        first = bucket * _BUCKET - piece.base
        low = _border(raw, max(0, first - 2 * WIDTH))
        high = _border(raw, min(len(raw), first + _BUCKET + 5 * WIDTH))
        region = raw[low:high]
        width = WIDTH * len(region) // max(1, len(piece.text(self._store, region)))
        lowered = region.lower()
        hits = sorted(
            (at, number)
            for number, term in enumerate(self._terms)
            for at in term.find(lowered, region)
            if first - low <= at < first - low + _BUCKET + width
        )
        raised = in_headlines(region, (at for at, _ in hits))
        best: tuple[float, int, int] = (0.0, 0, 0)
        tried = -_ANCHORS_APART
        for number, (at, _) in enumerate(hits):
            if at >= first - low + _BUCKET:
                break
            if at - tried < _ANCHORS_APART:
                continue
            tried = at
            inside = hits[number : bisect_right(hits, (at + width, 0))]
            best = max(
                best,
                (window_score(inside, self._weights, raised), at, inside[-1][0]),
                key=lambda item: item[0],
            )
        score, begin, end = best
        if score:
            start, stop = _snap(region, begin, end, width)
            score += self._named.get(piece.index, 0.0)
            yield score, piece, low + start, low + stop

    def _placed(self, chosen: list[tuple[float, _Piece, int, int]]) -> list[Passage]:
        """Passages with their line and characters, counted from the start of their documents."""
        before = self._counted({piece for _, piece, _, _ in chosen})
        passages = []
        for score, piece, start, end in chosen:
            raw = piece.read(self._store)
            characters, lines = before[piece]
            head = piece.text(self._store, raw[:start])
            text = piece.text(self._store, raw[start:end])
            first = characters + len(head)
            line = lines + head.count("\n") + 1
            name = self._store.name(piece.index)
            passages.append(Passage(name, line, first, first + len(text), text, score))
        return passages

    def _counted(self, wanted: set[_Piece]) -> dict[_Piece, tuple[int, int]]:
        """Characters and newlines of the same document before each piece wanted."""
        counted: dict[_Piece, tuple[int, int]] = {}
        last = {piece.index: piece for piece in sorted(wanted, key=lambda piece: piece.base)}
        for index, end in last.items():
            at = bisect_right(self._bases, end.base) - 1
            while at and self._pieces[at - 1].index == index:
                at -= 1
            characters = lines = 0
            while (piece := self._pieces[at]).base <= end.base:
                if piece in wanted:
                    counted[piece] = (characters, lines)
                if piece is end:
                    break
                raw = piece.read(self._store)
                characters += len(raw) if raw.isascii() else len(piece.text(self._store, raw))
                lines += raw.count(b"\n")
                at += 1
        return counted


def _border(raw: bytes, at: int) -> int:
    """The last border between UTF-8 characters at or before ``at``."""
    for back in range(min(4, at + 1) if at < len(raw) else 0):
        if raw[at - back] & 0xC0 != 0x80:
            return at - back
    return at


def _snap(raw: bytes, begin: int, end: int, width: int) -> tuple[int, int]:
    """A window of about ``width`` bytes around ``[begin, end]``, cut at lines where they are near.

    A third of what is left over comes before the first term, for context.
    """
    start = max(0, begin - max(0, width - (end - begin)) // 3)
    stop = min(len(raw), max(start + width, end))
    slack = width // 4
    line = raw.rfind(b"\n", max(0, start - slack), start)
    if start > 0:
        if line < 0:
            line = raw.find(b"\n", start, begin)
        space = raw.find(b" ", start, begin)
        start = line + 1 if line >= 0 else space + 1 if space >= 0 else start
    if stop < len(raw):
        line = raw.find(b"\n", stop, stop + slack)
        if line < 0:
            line = raw.rfind(b"\n", end, stop)
        space = raw.rfind(b" ", end, stop)
        stop = line + 1 if line >= 0 else space + 1 if space >= 0 else stop
    return _border(raw, start), _border(raw, stop)
