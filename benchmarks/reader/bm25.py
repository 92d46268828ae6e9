"""Plain BM25 over windows of fixed size: what the reader is compared with.

Words are runs of letters, digits and underscores in lower case; nothing is stemmed, left out or
weighed by its place. Windows are whole lines up to the size of the longest passage that counts,
each beginning half a window after the one before; of the best, those that overlap one ranked
higher are passed over.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import nlargest
from itertools import pairwise
from pathlib import Path

_K1, _B = 1.2, 0.75
_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text as they are counted here."""
    return _WORD.findall(text.lower())


class Plain:
    """An index of some files for the words of some questions."""

    def __init__(self, files: Iterable[Path], questions: Iterable[str], size: int) -> None:
        wanted = {word for question in questions for word in words(question)}
        self._windows: list[tuple[int, str]] = []
        self._lengths: list[int] = []
        self._counts: dict[str, list[tuple[int, int]]] = {word: [] for word in wanted}
        for number, path in enumerate(files):
            text = path.read_text(encoding="utf-8", errors="replace")
            for window in _windows(text, size):
                found = words(window)
                for word, count in Counter(found).items():
                    if word in wanted:
                        self._counts[word].append((len(self._windows), count))
                self._windows.append((number, window))
                self._lengths.append(len(found))

    def best(self, question: str, k: int) -> list[str]:
        """The ``k`` best windows, none of which overlaps a better one."""
        average = sum(self._lengths) / max(1, len(self._lengths))
        scores: dict[int, float] = {}
        for word in set(words(question)):
            places = self._counts[word]
            weight = math.log(1 + (len(self._windows) - len(places) + 0.5) / (len(places) + 0.5))
            for window, count in places:
                norm = _K1 * (1 - _B + _B * self._lengths[window] / average)
                worth = weight * count * (_K1 + 1) / (count + norm)
                scores[window] = scores.get(window, 0.0) + worth
        chosen: list[int] = []
        for window in nlargest(4 * k, scores, key=lambda window: scores[window]):
            if not any(self._overlap(window, other) for other in chosen):
                chosen.append(window)
        return [self._windows[window][1] for window in chosen[:k]]

    def _overlap(self, one: int, other: int) -> bool:
        return abs(one - other) <= 1 and self._windows[one][0] == self._windows[other][0]


def _windows(text: str, size: int) -> Iterator[str]:
    """Two halves at a time, so that each begins half a window after the one before."""
    halves = list(_halves(text, size // 2))
    if len(halves) == 1:
        yield halves[0]
    for first, second in pairwise(halves):
        yield first + second


def _halves(text: str, size: int) -> Iterator[str]:
    """The text in whole lines, at most ``size`` characters at a time; longer lines are cut."""
    half = ""
    for line in text.splitlines(keepends=True):
        for start in range(0, len(line), size):
            part = line[start : start + size]
            if len(half) + len(part) > size:
                yield half
                half = ""
            half += part
    if half:
        yield half
