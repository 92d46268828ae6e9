"""What a query asks for: its words, cut so that their other forms are found too."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_TERMS = 24
"""Words of a query that are looked for; of a longer query the longest."""

_STOP_WORDS = """
a about all also an and any are as at be because been being but by can could did do does for from
give had has have he her here his how i if in into is it its just me more most my no not of on one
only or our out please she should show so some such tell than that the their them then there these
they this those to up us very was we were what when where which while who whom whose why will with
would you your
"""
_STOP = frozenset(_STOP_WORDS.split())
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
# As strings: compiling them takes 3 ms, which only a search shall pay for (``re`` keeps them).
_IS_CJK = f"[{_CJK}]"
_WORD = rf"[{_CJK}]+|[^\W{_CJK}]+"
_HUMP = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+"
_ENDINGS = ("ing", "ied", "ies", "ed", "es", "ly", "s", "e", "y")
_SHORT_TAIL = re.compile(rb"[a-z]?(?![a-z])")
_LONG_TAIL = re.compile(rb"[a-z]{0,4}(?![a-z])")
_WHOLE = re.compile(rb"(?![0-9])")
_IDENTIFIER = re.compile(rb"(?![A-Za-z0-9_])")


class Term:
    """A word of the query. ``find`` gives where it, or a form of it, stands in UTF-8 bytes."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.inside_words = re.match(_IS_CJK, word) is not None
        stem = word if self.inside_words else _stem(word)
        # Bytes are lowered in ASCII only: other letters are looked for in their usual forms.
        forms = (stem, stem.upper(), stem.capitalize())
        self.variants = tuple(dict.fromkeys(form.encode().lower() for form in forms))
        if "_" in word:  # wait_for is not wait_for_handle, which its parts find
            self._tail = _IDENTIFIER
        elif stem.isdigit():
            self._tail = _WHOLE
        else:
            self._tail = _LONG_TAIL if len(stem) > 3 else _SHORT_TAIL

    def find(self, low: bytes, raw: bytes, stride: int = 0, origin: int = 0) -> Iterator[int]:
        """Offsets in ``raw`` (``low`` is the same in lower case) where the term stands.

        With ``stride``, at most one in each ``stride`` bytes as counted from ``-origin``.
        """
        for variant in self.variants:
            size = len(variant)
            at = low.find(variant)
            while at >= 0:
                if self.inside_words or self._is_word(raw, at, at + size):
                    yield at
                    if stride:
                        at = ((origin + at) // stride + 1) * stride - origin - 1
                at = low.find(variant, at + 1)

    def _is_word(self, raw: bytes, start: int, end: int) -> bool:
        """True where a word, or a part of an identifier, begins at ``start`` and ends near."""
        if self._tail.match(raw, end) is None:
            return False
        if start == 0:
            return True
        before, first = raw[start - 1], raw[start]
        if before >= 0x80:
            character = raw[max(0, start - 4) : start].decode("utf-8", "ignore")[-1:]
            return not character.isalnum() or character >= "\u2e80"
        if 97 <= before <= 122:  # a lower-case letter: only camelCase begins a word here
            return not 97 <= first <= 122 and first < 0x80
        if 65 <= before <= 90:  # THESE never, HTTPServer at the S
            return 65 <= first <= 90 and 97 <= raw[start + 1 : start + 2].ljust(1)[0] <= 122
        return not (48 <= before <= 57 and 48 <= first <= 57)


def terms_of(query: str) -> list[Term]:
    """The terms of a query, at most ``MAX_TERMS``; all its words where all are stop words.

    A query of signs alone is one term as it stands. Empty for white space.
    """
    words = list(dict.fromkeys(_words(query)))
    words = [word for word in words if word not in _STOP] or words
    if not words:
        words = [query.strip()] if query.strip() else []
    if len(words) > MAX_TERMS:
        kept = set(sorted(words, key=len, reverse=True)[:MAX_TERMS])
        words = [word for word in words if word in kept]
    unique = {term.variants: term for term in reversed([Term(word) for word in words])}
    return list(reversed(unique.values()))


def _words(query: str) -> Iterator[str]:
    for found in re.findall(_WORD, query):
        if re.match(_IS_CJK, found):
            yield from (found[n : n + 2] for n in range(max(1, len(found) - 1)))
            continue
        parts = re.findall(_HUMP, found)
        for word in [found, *parts] if len(parts) > 1 else [found]:
            if len(word) > 1 or word.isdigit():
                yield word.lower()


def _stem(word: str) -> str:
    """The beginning that the forms of an English word share; others are left as they are."""
    if not word.isascii() or not word.isalpha():
        return word
    for ending in _ENDINGS:
        stem = word[: len(word) - len(ending)]
        if word.endswith(ending) and len(stem) >= 3 and not word.endswith("ss"):
            doubled = ending in ("ing", "ed") and stem[-1] == stem[-2] and stem[-1] not in "ls"
            return stem[:-1] if doubled else stem
    return word
