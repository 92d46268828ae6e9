"""Patterns of paths as a shell has them (``docs/**/*.md``), matched while folders are walked.

Not ``glob``: it follows links out of a stranger's folder and round in circles, and knows nothing
of what a walk leaves out.
"""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

_MAGIC = re.compile(r"[*?\[]")
_DEEP = "**"
_MOST_ENTRIES = 200_000
_MOST_SECONDS = 2.0

Places = frozenset[int]
"""How many components of a pattern may be behind one who has walked to a folder."""


def has_magic(word: str) -> bool:
    """Whether a word could be a pattern."""
    return _MAGIC.search(word) is not None


class Pattern(msgspec.Struct, frozen=True):
    """A pattern as a piece of the context: all files that match, and all in folders that do.

    ``*``, ``?`` and ``[…]`` stay within a name, ``**`` is any number of folders. What a walk of
    ``base`` leaves out is left out here.
    """

    text: str
    """As it was written; relative to the current folder where it begins without a slash."""

    @property
    def base(self) -> str:
        """The folder before the first component with magic."""
        return self._split().base

    def matching(self) -> Matching:
        """A new test of what lies below ``base``."""
        return Matching(*self._split()[1:])

    def matches_something(self) -> bool:
        """Whether anything matches, found without following links.

        For a word that may as well be a question. Where it takes too long to find out, what looks
        like a pattern is taken for one: loading goes on to look, shows it, and can be interrupted.
        """
        matching = self.matching()
        deadline, seen = time.monotonic() + _MOST_SECONDS, 0
        folders = deque([("", self.base)])
        while folders:
            prefix, path = folders.popleft()
            try:
                with os.scandir(path) as entries:
                    for entry in entries:
                        seen += 1
                        if seen > _MOST_ENTRIES or time.monotonic() > deadline:
                            return self._is_likely()
                        folder = entry.is_dir(follow_symlinks=False)
                        if matching.takes(prefix, entry.name, folder=folder):
                            return True
                        if folder and entry.name != ".git" and matching.enters(prefix, entry.name):
                            folders.append((f"{prefix}{entry.name}/", entry.path))
            except (OSError, ValueError):  # not there, or not ours to read; a NUL in the word
                continue
        return False

    def _is_likely(self) -> bool:
        return _DEEP in self._split().parts or not any(map(str.isspace, self.text))

    def _split(self) -> _Split:
        parts = self.text.split("/")
        fixed = next((at for at, part in enumerate(parts) if has_magic(part)), len(parts))
        base = "/".join(parts[:fixed]) or ("/" if fixed else ".")
        below = tuple(part for part in parts[fixed:] if part not in ("", "."))
        return _Split(base, below, self.text.endswith("/"))


class _Split(NamedTuple):
    base: str
    parts: tuple[str, ...]
    folders_only: bool


class Matching:
    """Says of each entry of a walk, come to from above, whether it is wanted."""

    def __init__(self, parts: tuple[str, ...], folders_only: bool) -> None:
        self._tests: list[Callable[[str], object] | None] = [
            None if part == _DEEP else re.compile(fnmatch.translate(part)).match for part in parts
        ]
        self._folders_only = folders_only
        self._places: dict[str, Places] = {"": self._closed({0})}

    def takes(self, prefix: str, name: str, *, folder: bool) -> bool:
        """Whether ``name``, in the folder ``prefix`` ("" or "a/b/"), matches or lies in a match."""
        here = self._places[prefix]
        if self._is_over(here):
            return True
        return (folder or not self._folders_only) and self._is_over(self._after(here, name))

    def enters(self, prefix: str, name: str) -> bool:
        """Whether a folder may hold what is wanted."""
        here = self._places[prefix]
        inside = here if self._is_over(here) else self._after(here, name)
        self._places[f"{prefix}{name}/"] = inside
        return bool(inside)

    def _is_over(self, places: Places) -> bool:
        return len(self._tests) in places

    def _after(self, places: Places, name: str) -> Places:
        after: set[int] = set()
        for place in places:
            test = self._tests[place]
            if test is None:
                after.add(place)
            elif test(name):
                after.add(place + 1)
        return self._closed(after)

    def _closed(self, places: set[int]) -> Places:
        """With the places behind each ``**``, which may be no folder at all."""
        closed = set(places)
        for place in places:
            while place < len(self._tests) and self._tests[place] is None:
                place += 1
                closed.add(place)
        return frozenset(closed)
