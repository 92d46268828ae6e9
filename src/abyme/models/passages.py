"""Choosing, in a text, the lines that bear on a question: words and their places, no model.

The words of the question are weighed by how rare they are. A stretch of lines is worth the words
it holds and how near they stand to each other, less a little for its length. Where the question
asks for a function or a class, the line that defines it belongs to the stretch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from abyme.inside.terms import Term, terms_of

MOST_CHARS = 900
"""Characters of a chosen stretch."""

_DEFINED_BY = {"function": "def", "method": "def", "class": "class", "exception": "class"}
_THINGS = frozenset({*_DEFINED_BY, "module", "file", "document", "name", "call", "called"})
"""Words that say what kind of thing is asked for, not what it is about."""
_ENDINGS = (
    *("ations", "ation", "ions", "ion", "ments", "ment", "ities", "ity", "ors", "or"),
    *("ers", "er", "able", "ible", "ness", "ally", "al"),
)
_SHORTEST_STEM = 5

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_LONG_LINE = 300
_SENTENCE = re.compile(r".{1,600}?(?:[.!?][\"')\]]*\s+|[。！？]|$)|.{600}", re.DOTALL)
_SENTENCE_ENDS = re.compile(r"([.:;!?。！？]|[\"'`)\]}]{1,3})\s*$")
_DEFINITION = re.compile(
    r"""^[ \t]*(?:async[ \t]+)?(?P<kind>def|class)[ \t]+(?P<name>\w+)[^\n]*
    (?:  # up to seven more lines of its head, then a docstring, of which the end may be cut off
        (?:\n(?![ \t]*(?:def|class|async)\b)[^\n]*){0,7}?
        \n[ \t]*[rRuU]?(?P<quotes>\"{3}|'{3})(?s:.*?)(?:(?P=quotes)|\Z)
    )?""",
    re.MULTILINE | re.VERBOSE,
)
_IN_TESTS = re.compile(r"(?:^|/)(?:tests?/|test_|idle_test/)|_tests?\.\w+$")

_MOST_UNITS = 16
_NEAR = 30
_A_CHARACTER = 0.0004
"""What a character costs, as a part of the weight of all words."""
_ENOUGH = 0.4
"""Part of the weight of all words that a stretch must hold to bear on the question."""


class Stretch(NamedTuple):
    """A part of a text: how well it bears on the question, from 0; the weight of its words."""

    score: float
    covered: float
    start: int
    end: int


class _Unit(NamedTuple):
    """A line, or a sentence of a long line, with the places of the question's words in it."""

    text: str
    start: int
    hits: tuple[tuple[int, int], ...]
    """Place in the text, and number of the term."""
    defines: bool
    """Whether it is the first line of a definition such as the question asks for."""
    emphasis: float
    """What its words count: more where such a definition begins, and in its docstring."""


class Query:
    """A question as it is looked for. ``places``: in how many places of the data each word is."""

    def __init__(self, question: str, places: Mapping[str, int] | None = None) -> None:
        self._names = set(re.findall(r"\w+", question))
        words = {name.lower() for name in self._names}
        self._kinds = {_DEFINED_BY[word] for word in words if word in _DEFINED_BY}
        self._about_tests = not words.isdisjoint({"test", "tests"})
        self.text = search_text(question)
        self._terms = terms_of(self.text)
        self._places = places or {}

    def best(self, text: str) -> Stretch | None:
        """The stretch of ``text`` that bears best on the question; None where nothing does."""
        units = self._units(text)
        weights = self._weights(units)
        whole = sum(weights)
        found = max(
            self._stretches(units, weights, whole), key=lambda stretch: stretch.score, default=None
        )
        if found is None or found.covered < _ENOUGH:
            return None
        return found

    def relevance(self, document: str, text: str) -> float:
        """How well ``text``, taken as a whole, answers; comparable for one question."""
        found = self.best(text)
        if found is None:
            return 0.0
        named = sum(any(_places(term, document)) for term in self._terms) / len(self._terms)
        in_tests = not self._about_tests and _IN_TESTS.search(document) is not None
        return found.score + 0.5 * named - (0.3 if in_tests else 0.0)

    def _units(self, text: str) -> list[_Unit]:
        spans = [found.span() for found in _DEFINITION.finditer(text) if self._is_asked(found)]
        starts = {start for start, _ in spans}
        units: list[_Unit] = []
        for start, part in _parts(text):
            hits = sorted(
                (start + at, number)
                for number, term in enumerate(self._terms)
                for at in _places(term, part)
            )
            told = any(begin <= start < end for begin, end in spans)
            units.append(_Unit(part, start, tuple(hits), start in starts, 1.3 if told else 1.0))
        return units

    def _is_asked(self, definition: re.Match[str]) -> bool:
        return definition["kind"] in self._kinds or definition["name"] in self._names

    def _weights(self, units: Sequence[_Unit]) -> list[float]:
        """A weight a term: from its places in the data where they are known, else in the text."""
        counts = [self._places.get(term.word, 0) for term in self._terms]
        if not any(counts):
            held = [{number for _, number in unit.hits} for unit in units]
            counts = [sum(n in each for each in held) for n in range(len(self._terms))]
        most = 20 * max([1, *counts])
        return [math.log(1 + most / max(1, count)) for count in counts]

    def _stretches(
        self, units: Sequence[_Unit], weights: Sequence[float], whole: float
    ) -> Iterator[Stretch]:
        """From each line with a hit or a definition, to each following one with a hit."""
        for first, unit in enumerate(units):
            if not (unit.hits or unit.defines):
                continue
            tally = _Tally(weights)
            for number in range(first, min(first + _MOST_UNITS, len(units))):
                last = units[number]
                size = last.start + len(last.text) - unit.start
                if number > first and (size > MOST_CHARS or last.defines):
                    break
                if last.hits:
                    tally.add(last)
                    score = tally.value / whole - size * _A_CHARACTER
                    score += 0.25 if unit.defines else 0.0
                    start, end = _rounded(units, first, number)
                    yield Stretch(score, tally.covered / whole, start, end)


class _Tally:
    """The worth of the words met so far, as a stretch grows line by line."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights = weights
        self._counts: dict[int, int] = {}
        self._near: dict[tuple[int, int], float] = {}
        self._last: tuple[int, int] | None = None
        self.value = 0.0
        self.covered = 0.0

    def add(self, unit: _Unit) -> None:
        """One line more."""
        for at, term in unit.hits:
            count = self._counts[term] = self._counts.get(term, 0) + 1
            weight = self._weights[term]
            self.value += weight * unit.emphasis * (1.0 if count == 1 else 0.2 / count)
            self.covered += weight if count == 1 else 0.0
            if self._last is not None and self._last[1] != term:
                self._pair(*self._last, at, term)
            self._last = (at, term)

    def _pair(self, before: int, other: int, at: int, term: int) -> None:
        """Two different words in a row: what they gain by standing near, once a pair."""
        pair = (min(term, other), max(term, other))
        lighter = min(self._weights[term], self._weights[other])
        near = 0.5 * lighter * _NEAR / (_NEAR + at - before)
        self.value += max(0.0, near - self._near.get(pair, 0.0))
        self._near[pair] = max(near, self._near.get(pair, 0.0))


def search_text(question: str) -> str:
    """The words of ``question`` to search for: what it is about, in forms that match others."""
    words = re.findall(r"\w+", question)
    about = [word for word in words if _singular(word.lower()) not in _THINGS] or words
    return " ".join(_stem(word) for word in about) or question.strip()


def _singular(word: str) -> str:
    return word[: -2 if word.endswith("sses") else -1] if word.endswith("s") else word


def _stem(word: str) -> str:
    """``insertion`` is looked for as ``insert``, which a search finds in all its forms."""
    if not (word.isascii() and word.isalpha() and word[1:].islower()):
        return word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word


def _places(term: Term, text: str) -> Iterator[int]:
    raw = text.encode("utf-8", "surrogatepass")
    return term.find(raw.lower(), raw)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """The lines of ``text``, with their ends; of a long line its sentences."""
    for line in _LINE.finditer(text):
        if len(line[0]) <= _LONG_LINE:
            yield line.start(), line[0]
        else:
            for sentence in _SENTENCE.finditer(line[0]):
                yield line.start() + sentence.start(), sentence[0]


def _rounded(units: Sequence[_Unit], first: int, last: int) -> tuple[int, int]:
    """The stretch with the rest of a sentence that goes on, in small letters, on the next lines."""
    start = units[first].start
    for unit in units[last + 1 : last + 3]:
        broken_off = _SENTENCE_ENDS.search(units[last].text) is None
        goes_on = unit.text.lstrip()[:1].islower()
        if not (broken_off and goes_on) or unit.start + len(unit.text) - start > MOST_CHARS:
            break
        last += 1
    return start, units[last].start + len(units[last].text)
