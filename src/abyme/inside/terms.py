"""What a query asks for: its words, cut so that their other forms are found too."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_TERMS = 24
"""Words of a query that are looked for; of a longer query the longest."""

_STOP_WORDS = """
a about all also an and any are as at be because been being but by can could did do does for from
give had has have he her here herself himself his how i if in into is it its itself just many me
more most much my no not of on one only or our out please she should show so some such tell than
that the their them themselves then there these they this those to up us very was we were what when
where which while who whom whose why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
# As strings: compiling them takes 3 ms, which only a search shall pay for (``re`` keeps them).
_IS_CJK = f"[{_CJK}]"
_WORD = rf"[{_CJK}]+|[^\W{_CJK}]+"
_WORDS = rf"\w+(?:\|\w+)+|{_WORD}"
_HUMP = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+"
_ENDINGS = ("ing", "ied", "ies", "ed", "es", "ly", "s", "e", "y")
_LONG_ENDINGS = ("ations", "ation", "ions", "ion", "ments", "ment", "ors", "or", "ers", "er")
_SHORTEST_ROOT = 5  # what is left where one of the long endings is cut off
_SHORT_TAIL = rb"[a-z]?"
_SHORT_FORMS = rb"[a-z]?|i?e[sdr]|ing|%b(?:ers?|ed|ing)"
_LONG_FORMS = rb"[a-z]{0,4}"
_LONGEST_TAIL = 4
_LONG_TAIL = re.compile(_LONG_FORMS + rb"(?![a-z])")
_WHOLE = re.compile(rb"(?![0-9])")
_IDENTIFIER = re.compile(rb"(?![A-Za-z0-9_])")


class Term:
    """A word of the query, or several that count as one: ``find`` gives where any of them stands.

    A word stands where it, or a form of it, is found in UTF-8 bytes.
    """

    def __init__(self, *words: str) -> None:
        self.word = "|".join(words)
        self._tails: dict[bytes, re.Pattern[bytes] | None] = {}
        for word in words:
            cjk = re.match(_IS_CJK, word) is not None
            root = word if cjk else stem(word)
            tail = None if cjk else _tail(root, word[len(root) :])
            # Bytes are lowered in ASCII only: other letters are looked for in their usual forms.
            for form in (root, root.upper(), root.capitalize()):
                self._tails.setdefault(form.encode().lower(), tail)
        self.variants = tuple(self._tails)

    def find(self, low: bytes, raw: bytes, stride: int = 0, origin: int = 0) -> Iterator[int]:
        """Offsets in ``raw`` (``low`` is the same in lower case) where the term stands.

        With ``stride``, at most one in each ``stride`` bytes as counted from ``-origin``.
        """
        for variant in self.variants:
            size, tail = len(variant), self._tails[variant]
            at = low.find(variant)
            while at >= 0:
                if tail is None or (tail.match(raw, at + size) and _begins(raw, at)):
                    yield at
                    if stride:
                        at = ((origin + at) // stride + 1) * stride - origin - 1
                at = low.find(variant, at + 1)


def _tail(root: str, rest: str) -> re.Pattern[bytes]:
    """What may follow the root of a word for it to be a form of it; ``rest`` always may."""
    if "_" in root:  # wait_for is not wait_for_handle, which its parts find
        return _IDENTIFIER
    if root.isdigit():
        return _WHOLE
    if len(root) > 3:
        return _LONG_TAIL if len(rest) <= _LONGEST_TAIL else _tail_of(_LONG_FORMS, rest)
    if len(root) < 3 or not (root.isascii() and root.isalpha()):
        return _tail_of(_SHORT_TAIL, rest)
    return _tail_of(_SHORT_FORMS % root[-1].encode(), rest)  # win: wins, winner, winning


def _tail_of(forms: bytes, rest: str) -> re.Pattern[bytes]:
    return re.compile(b"(?:%b|%b)(?![a-z])" % (rest.encode(), forms))


def _begins(raw: bytes, start: int) -> bool:
    """True where a word, or a part of an identifier, begins at ``start``."""
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

    Words joined by ``|`` count as one. A query of signs alone is one term as it stands. Empty for
    white space.
    """
    words = list(dict.fromkeys(_words(query)))
    words = [word for word in words if word[0] not in STOP_WORDS] or words
    if not words:
        words = [(query.strip(),)] if query.strip() else []
    if len(words) > MAX_TERMS:
        kept = set(sorted(words, key=lambda word: len(word[0]), reverse=True)[:MAX_TERMS])
        words = [word for word in words if word in kept]
    unique = {term.variants: term for term in reversed([Term(*word) for word in words])}
    return list(reversed(unique.values()))


def _words(query: str) -> Iterator[tuple[str, ...]]:
    for found in re.findall(_WORDS, query):
        if "|" in found:
            yield tuple(dict.fromkeys(found.lower().split("|")))
        elif re.match(_IS_CJK, found):
            yield from ((found[n : n + 2],) for n in range(max(1, len(found) - 1)))
        else:
            parts = re.findall(_HUMP, found)
            for word in [found, *parts] if len(parts) > 1 else [found]:
                if len(word) > 1 or word.isdigit():
                    yield (word.lower(),)


def stem(word: str) -> str:
    """The beginning that the forms of an English word share; others are left as they are."""
    if not word.isascii() or not word.isalpha() or word.endswith("ss"):
        return word
    for ending in _LONG_ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_ROOT:
            return word[: -len(ending)]
    for ending in _ENDINGS:
        root = word[: len(word) - len(ending)]
        if word.endswith(ending) and len(root) >= 3:
            doubled = ending in ("ing", "ed") and root[-1] == root[-2] and root[-1] not in "ls"
            return root[:-1] if doubled else root
    return word
