"""Choosing, in a text, the lines that bear on a question: words and their places, no model.

The words of the question are weighed by how rare they are, and stand for their synonyms too. A
stretch of lines is worth what ``search`` would give it, and more where it defines what is asked
for, less a little for its length; then it is rounded to its paragraph.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from abyme.inside.stretches import LONGEST, Stretch, hits_of, stretches
from abyme.inside.structure import docstring, rounded
from abyme.inside.terms import STOP_WORDS, stem, terms_of
from abyme.models.asking import ANSWERS, WORDS, asked

_DEFINED_BY = {"function": b"def", "method": b"def", "class": b"class", "exception": b"class"}
_THINGS, _OTHERS = ({*map(stem, WORDS[kind].split())} for kind in ("things", "others"))
_IN_TESTS = re.compile(r"(?:^|/)(?:tests?/|test_|idle_test/)|_tests?\.\w+$")
_NEVER = r"(?!)"
_ENOUGH = 0.25  # part of the weight of all words that a stretch must hold to bear on the question
_NAMED, _ANSWER, _TEST = 0.5, 0.15, 0.5  # what else counts for an extract, in the same measure


class Query:
    """A question as it is looked for. ``places``: in how many places of the data each word is."""

    def __init__(self, question: str, places: Mapping[str, int] | None = None) -> None:
        self._names = set(re.findall(r"\w+", question))
        words = {name.lower() for name in self._names}
        self._kinds = {kind for word, kind in _DEFINED_BY.items() if word in words}
        self._about_tests = not words.isdisjoint({"test", "tests"})
        answers = (form for words, form in ANSWERS.items() if words in question.lower())
        self._answer = re.compile(next(answers, _NEVER))
        form = asked(question)
        self._definition = re.compile((form.pattern if form.step == "define" else _NEVER).encode())
        self._terms = terms_of(search_text(question))
        self._places = [(places or {}).get(term.word, 0) for term in self._terms]

    def best(self, text: str) -> Stretch | None:
        """The stretch of ``text`` that bears best on the question; None where nothing does."""
        raw = text.encode("utf-8", "surrogatepass")
        hits = hits_of(self._terms, raw)
        found = stretches(raw, hits, self._weights(hits), self._defines)
        best = max(found, key=lambda stretch: stretch.score, default=None)
        if best is None or best.covered < _ENOUGH:
            return None
        ends = rounded(raw, best.start, best.end, LONGEST)
        start, end = (len(raw[:at].decode("utf-8", "surrogatepass")) for at in ends)
        return best._replace(start=start, end=end)

    def copied(self, text: str) -> str:
        """The best stretch of ``text`` as it stands there; empty where nothing bears on it."""
        best = self.best(text)
        return text[best.start : best.end].strip("\r\n") if best else ""

    def relevance(self, document: str, text: str) -> float:
        """How well ``text``, taken as a whole, answers; comparable for one question."""
        found = self.best(text)
        if found is None:
            return 0.0
        hits = hits_of(self._terms, document.encode("utf-8", "surrogatepass"))
        weights = self._weights(hits)
        named = sum(weights[term] for term in {term for _, term in hits}) / sum(weights)
        answers = self._answer.search(text) is not None
        in_tests = not self._about_tests and _IN_TESTS.search(document) is not None
        return found.score + _NAMED * named + _ANSWER * answers - _TEST * in_tests

    def _weights(self, hits: Sequence[tuple[int, int]]) -> list[float]:
        """A weight a term: from its places in the data where they are known, else in the text.

        A word that is nowhere counts nothing beside others that are somewhere.
        """
        counts = self._places
        if not any(counts):
            counts = [sum(term == each for _, term in hits) for each in range(len(counts))]
        most = 5 * max([1, *counts])
        return [math.log(1 + most / count) if count else 1e-9 for count in counts]

    def _defines(self, raw: bytes, start: int, end: int) -> bool:
        """Whether a line begins a definition such as the question asks for."""
        if self._definition.match(raw[start:end]) is not None:
            return True
        found = docstring(raw, start)
        if found is None or found["kind"] is None:
            return False
        return found["kind"] in self._kinds or found["name"].decode() in self._names


def search_text(question: str) -> str:
    """The words of ``question`` to search for, each with its synonyms: ``erase|delete|remove``."""
    words = [word.lower() for word in re.findall(r"\w+", question)]
    kept = [word for word in words if word not in STOP_WORDS]
    about = [word for word in kept if stem(word) not in _THINGS] or kept or words
    return " ".join("|".join((word, *_synonyms(word))) for word in about) or question.strip()


def telling(question: str) -> list[str]:
    """The words of which it matters that they are nowhere in the data."""
    words = dict.fromkeys(re.findall(r"\w+", question.lower()))
    return [word for word in words if not {word, stem(word)} & (_THINGS | _OTHERS | STOP_WORDS)]


def _synonyms(word: str) -> list[str]:
    others = dict.fromkeys(_groups().get(stem(word), ()))
    return [other for other in others if stem(other) != stem(word)][:7]


@cache
def _groups() -> dict[str, list[str]]:
    """For the stem of a word, the words that people use for it."""
    text = (resources.files("abyme.models") / "reader_words.txt").read_text(encoding="utf-8")
    groups: dict[str, list[str]] = {}
    for group in (line.split() for line in text.splitlines() if not line.startswith("#")):
        for word in group:
            groups.setdefault(stem(word), []).extend(group)
    return groups
