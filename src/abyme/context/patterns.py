"""One pattern of a ``.gitignore`` as a regular expression, read as git itself reads it (wildmatch).

Made here and not by a library: the expressions of those at hand backtrack without bound
(``*a*a*a*a*b`` before a name of 200 bytes takes seconds, in which nothing else runs), and they
judge whole paths of files, where a walk must judge a folder by itself. Here each wildcard that
another one follows is decided once, at its first fit, and never tried again.
"""

from __future__ import annotations

import re

FOLDER = "\0"
"""What ends the path of a folder, so that a pattern may ask for one; no name can hold it."""

_ANY = r"[^/\0]"
_STAR, _DEEP = "*", "**/"  # tokens: any characters of a name; any number of folders
_MAGIC = re.compile(r"[*?\[\\]")
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\ \t",
    "cntrl": r"\x01-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": r"\ -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\ \t-\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class _Nothing(Exception):
    """The pattern is broken: git lets it match nothing."""


def translate(pattern: str) -> str | None:
    """An expression for the whole of a path that ``pattern`` matches; None where it never can.

    ``pattern`` has no ``!`` before it and no slash around it any more. The path is relative, with
    ``/``; that it ends, perhaps with :data:`FOLDER`, is for the caller to ask.
    """
    if pattern.endswith("/"):
        return None
    try:
        *runs, last = _runs(_Scanner(pattern).tokens())
    except _Nothing:
        return None
    first, deep = (runs[0], [*runs[1:], last]) if runs else (last, [])
    # Folders are passed over to the first place that fits; behind the last "**/" to any.
    middle = "".join(rf"(?>(?:[^/\0]*/)*?{_run(run)})" for run in deep[:-1])
    return _run(first) + middle + (f"(?:.*/)?{_run(deep[-1])}" if deep else "")


def _runs(tokens: list[str]) -> list[list[str]]:
    """The tokens between one ``**/`` and the next."""
    runs: list[list[str]] = [[]]
    for token in tokens:
        if token == _DEEP:
            runs.append([])
        else:
            runs[-1].append(token)
    return runs


def _run(tokens: list[str]) -> str:
    """Tokens without ``**/``: a star that another one of the same name follows fits once."""
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == _STAR:
            parts.append([])
        else:
            parts[-1].append(token)
    made = "".join(parts[0])
    for number, part in enumerate(parts[1:], start=1):
        once = number + 1 < len(parts) and "/" not in part
        fixed = "".join(part)
        made += f"(?>{_ANY}*?{fixed})" if once else f"{_ANY}*{fixed}"
    return made


class _Scanner:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def tokens(self) -> list[str]:
        """The pattern's tokens. Raises ``_Nothing`` where it is broken."""
        tokens: list[str] = []
        while self._at < len(self._pattern):
            character = self._next()
            if character == "*":
                tokens += self._stars(at_start=not tokens or tokens[-1] in ("/", _DEEP))
            elif character == "?":
                tokens.append(_ANY)
            elif character == "[":
                tokens.append(self._set())
            elif character == "\\":
                tokens.append(re.escape(self._next()))
            else:
                tokens.append(re.escape(character))
        return tokens

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            raise _Nothing
        self._at += 1
        return self._pattern[self._at - 1]

    def _stars(self, *, at_start: bool) -> list[str]:
        """``*``, ``**/``, or ``**`` at the end, which is all that lies in a folder.

        ``at_start``: of a name. Plain characters before the first wildcard are compared by
        themselves, and the matching begins behind them: there too stars are at a start.
        """
        begin = self._at - 1
        behind = not at_start and not _MAGIC.search(self._pattern[:begin])
        while self._pattern.startswith("*", self._at):
            self._at += 1
        if (at_start or behind) and self._at - begin > 1:
            if self._at == len(self._pattern):
                return [r"[^\0]*" if behind else r"[^\0]+"]
            if self._pattern.startswith("/", self._at):
                self._at += 1
                return [_DEEP]
            if self._pattern.startswith("\\/", self._at):  # folders, but one at least
                self._at += 2
                return [_STAR, "/", _DEEP]
        return [_STAR]

    def _set(self) -> str:
        """A set of characters in brackets. None holds a slash."""
        negated = self._pattern.startswith(("!", "^"), self._at)
        self._at += negated
        members = ""
        before = ""  # what may begin a range
        character = self._next()
        while True:
            if character == "[" and self._pattern.startswith(":", self._at):
                members += self._named_class()
                before = ""
            elif character == "-" and before and not self._pattern.startswith("]", self._at):
                last = self._literal(self._next())
                if before <= last:
                    members += f"{_escaped(before)}-{_escaped(last)}"
                before = ""
            else:
                before = self._literal(character)
                members += _escaped(before)
            character = self._next()
            if character == "]":
                break
        if not members:
            return _ANY if negated else "(?!)"
        return rf"(?![/\0])[{'^' if negated else ''}{members}]"

    def _literal(self, character: str) -> str:
        return self._next() if character == "\\" else character

    def _named_class(self) -> str:
        """``[:alpha:]`` and its like; where it is not closed, the bracket is one by itself."""
        end = self._pattern.find("]", self._at)
        if end < 0:
            raise _Nothing
        if self._pattern[end - 1] != ":" or end - 1 == self._at:
            return r"\["
        name = self._pattern[self._at + 1 : end - 1]
        if name not in _CLASSES:
            raise _Nothing
        self._at = end + 1
        return _CLASSES[name]


def _escaped(character: str) -> str:
    return character if character.isalnum() else "\\" + character
