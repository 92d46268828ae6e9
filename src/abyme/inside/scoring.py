"""What a window of text is worth for a query: which of its terms are there, and how near."""

from __future__ import annotations

from collections.abc import Container, Sequence

_SATURATION = 0.5  # k1 of BM25: low, since which words are there says more than how often
_RAISED = 1.5  # what a term in a headline counts
_NEAR = 30.0  # bytes between two terms at which nearness counts half
_CLOSE = 0.7 * _NEAR


class WindowScore:
    """BM25 of a window that grows, and for each pair of terms how near they come to each other.

    A term of which a place is in ``raised`` counts more.
    """

    def __init__(self, weights: Sequence[float], raised: Container[int]) -> None:
        self._weights = weights
        self._raised = raised
        self._counts: dict[int, int] = {}
        self._factors: dict[int, float] = {}
        self._near: dict[tuple[int, int], float] = {}
        self._last = (0, -1)

    def add(self, at: int, term: int) -> None:
        """The next place, with the number of its term."""
        self._counts[term] = self._counts.get(term, 0) + 1
        if at in self._raised:
            self._factors[term] = _RAISED
        place, other = self._last
        if other not in (term, -1):
            pair = (min(term, other), max(term, other))
            lighter = min(self._weights[term], self._weights[other])
            near = lighter * _CLOSE / (_NEAR + at - place)
            self._near[pair] = max(self._near.get(pair, 0.0), near)
        self._last = (at, term)

    @property
    def value(self) -> float:
        """What the window is worth so far."""
        frequency = sum(
            self._weights[term]
            * self._factors.get(term, 1.0)
            * count
            * (_SATURATION + 1)
            / (count + _SATURATION)
            for term, count in self._counts.items()
        )
        return frequency + sum(self._near.values())

    @property
    def covered(self) -> float:
        """The weight of the terms that are in it."""
        return sum(self._weights[term] for term in self._counts)


def window_score(
    hits: Sequence[tuple[int, int]], weights: Sequence[float], raised: Container[int]
) -> float:
    """The :class:`WindowScore` of a window whose places, in order, are ``hits``."""
    score = WindowScore(weights, raised)
    for at, term in hits:
        score.add(at, term)
    return score.value
