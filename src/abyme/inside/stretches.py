"""Within a passage, the stretch of lines that bears best on a query."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .scoring import WindowScore
from .structure import in_headlines, parts
from .terms import Term

LONGEST = 1_000
"""Bytes of a stretch, about."""
_A_BYTE = 0.0004
"""What a byte costs, as a part of the weight of all terms."""
_DEFINES = 0.4
"""What a definition that is asked for adds, in the same measure."""


class Stretch(NamedTuple):
    """A part of a text: how well it bears on a query, from 0; the part of the weight it holds."""

    score: float
    covered: float
    start: int
    end: int


def hits_of(terms: Sequence[Term], raw: bytes) -> list[tuple[int, int]]:
    """Where the terms stand in ``raw``, in order, each with its number."""
    low = raw.lower()
    return sorted({(at, number) for number, term in enumerate(terms) for at in term.find(low, raw)})


def stretches(
    raw: bytes,
    hits: Sequence[tuple[int, int]],
    weights: Sequence[float],
    defines: Callable[[bytes, int, int], bool],
) -> Iterator[Stretch]:
    """From each line with a hit, or that ``defines``, to each following one with a hit."""
    whole = sum(weights)
    places = [at for at, _ in hits]
    raised = in_headlines(raw, places)
    lines = list(parts(raw))
    defining = {start for start, end in lines if defines(raw, start, end)}
    for number, (start, first_end) in enumerate(lines):
        before = bisect_left(places, start)
        if start not in defining and bisect_left(places, first_end) == before:
            continue
        score = WindowScore(weights, raised)
        for follower in range(number, len(lines)):
            line, end = lines[follower]
            if line > start and (end - start > LONGEST or line in defining):
                break
            if (stop := bisect_left(places, end)) == before:
                continue
            for at, term in hits[before:stop]:
                score.add(at, term)
            before = stop
            worth = score.value / whole - (end - start) * _A_BYTE
            yield Stretch(worth + _DEFINES * (start in defining), score.covered / whole, start, end)
