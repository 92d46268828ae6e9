"""What ``re`` does with a text, done over windows of one that is never whole in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from operator import index
from typing import Any

from .match import Match
from .matching import WIDTH, compile_pattern
from .pieces import LazyList
from .reading import Reading
from .toolarge import TextTooLarge

Pattern = str | re.Pattern[str]
Replacement = str | Callable[[Match], str]

_SPLIT_STEP = 1 << 20
"""Characters after which splitting may begin again to find one of the next pieces."""


class Expressions(Reading):
    """The part of a lazy text that takes regular expressions.

    Patterns are texts or compiled; ``pos`` and ``endpos`` are those of ``re.Pattern``'s methods.
    What is found is what ``re`` would find in the whole text wherever an attempt to match, with
    all that it looks ahead to, spans fewer than 1 Mi characters and looks back at most 65,536.
    A longer match that is found all the same is right up to 32 Mi characters, and raises
    :class:`~.toolarge.TextTooLarge` beyond. ``(?s)BEGIN.*?END`` with more than that between the
    two may be missed: look for both with ``find``.
    """

    __slots__ = ()

    def _found(
        self, pattern: re.Pattern[str], pos: int, endpos: int | None
    ) -> Iterator[tuple[re.Match[str], int]]:
        place = self._place(pos, endpos)
        return self._windows.matches(pattern, *place) if place else iter(())

    def _place(self, pos: int, endpos: int | None) -> tuple[int, int | None] | None:
        """Both as positions in the text; None where nothing can match between them."""
        pos = max(0, index(pos))
        if not self._has(pos):
            pos = len(self)
        if endpos is None:
            return pos, None
        endpos = max(0, index(endpos))
        if not self._has(endpos):
            endpos = len(self)
        return (pos, endpos) if pos <= endpos else None

    def _match(
        self, found: tuple[re.Match[str], int] | None, pos: int, endpos: int | None
    ) -> Match | None:
        return None if found is None else Match(*found, self, pos, endpos)

    def finditer(
        self, pattern: Pattern, flags: int = 0, pos: int = 0, endpos: int | None = None
    ) -> Iterator[Match]:
        """As ``re.finditer(pattern, text, flags)``, with positions in the whole text."""
        found = self._found(compile_pattern(pattern, flags), pos, endpos)
        return (Match(match, shift, self, pos, endpos) for match, shift in found)

    def search(
        self, pattern: Pattern, flags: int = 0, pos: int = 0, endpos: int | None = None
    ) -> Match | None:
        """As ``re.search(pattern, text, flags)``."""
        return next(self.finditer(pattern, flags, pos, endpos), None)

    def match(
        self, pattern: Pattern, flags: int = 0, pos: int = 0, endpos: int | None = None
    ) -> Match | None:
        """As ``re.match(pattern, text, flags)``: a match that begins at ``pos``."""
        compiled, place = compile_pattern(pattern, flags), self._place(pos, endpos)
        found = self._windows.match(compiled, *place) if place else None
        return self._match(found, pos, endpos)

    def fullmatch(
        self, pattern: Pattern, flags: int = 0, pos: int = 0, endpos: int | None = None
    ) -> Match | None:
        """As ``re.fullmatch(pattern, text, flags)``, over at most 64 Mi characters.

        Raises :class:`~.toolarge.TextTooLarge` where there are more.
        """
        compiled, place = compile_pattern(pattern, flags), self._place(pos, endpos)
        found = self._windows.fullmatch(compiled, *place) if place else None
        return self._match(found, pos, endpos)

    def findall(
        self, pattern: Pattern, flags: int = 0, pos: int = 0, endpos: int | None = None
    ) -> list[Any]:
        """As ``re.findall(pattern, text, flags)``."""
        compiled = compile_pattern(pattern, flags)
        found = self._found(compiled, pos, endpos)
        if compiled.groups == 0:
            return [match[0] for match, _ in found]
        if compiled.groups == 1:
            return [match[1] or "" for match, _ in found]
        return [match.groups("") for match, _ in found]

    def sub(self, pattern: Pattern, repl: Replacement, count: int = 0, flags: int = 0) -> str:
        """As ``re.sub(pattern, repl, text, count, flags)``, where the result can be a ``str``.

        Raises :class:`~.toolarge.TextTooLarge` as soon as it has more than 64 Mi characters.
        """
        return self.subn(pattern, repl, count, flags)[0]

    def subn(
        self, pattern: Pattern, repl: Replacement, count: int = 0, flags: int = 0
    ) -> tuple[str, int]:
        """As ``re.subn``. Raises as :meth:`sub`."""
        compiled = compile_pattern(pattern, flags)
        result = Growing(self._longest)
        position = done = 0
        if count >= 0:
            for match, shift in self._found(compiled, 0, None):
                result.add(self._between(match, shift, position, result.left))
                if callable(repl):
                    result.add(repl(Match(match, shift, self, 0, None)) or "")
                elif "\\" not in repl:
                    result.add(repl)
                else:
                    result.add(match.expand(repl))
                position = match.end() + shift
                done += 1
                if done == count:
                    break
        while self._has(position + 1):
            rest = self._text(position, position + min(result.left + 1, 1 << 20))
            result.add(rest)
            position += len(rest)
        return result.text(), done

    def _between(self, match: re.Match[str], shift: int, position: int, most: int) -> str:
        """The text from ``position`` up to a match, or a part of it that is longer than ``most``.

        It mostly lies in the window in which the match was found.
        """
        start = match.start()
        if position >= shift:
            return match.string[position - shift : start]
        return self._text(position, min(start + shift, position + most + 1))

    def re_split(self, pattern: Pattern, maxsplit: int = 0, flags: int = 0) -> LazyList:
        """As ``re.split(pattern, text, 0, flags)``, as a list whose pieces are read when needed.

        Raises :class:`~.toolarge.TextTooLarge` for a ``maxsplit``, whose last piece is the rest.
        """
        if maxsplit:
            raise TextTooLarge(
                "with maxsplit, the last piece is the rest of the text, which is too large: use "
                "re.split(pattern, t)[:n], or t.search(pattern) and slices t[a:b]"
            )
        compiled = compile_pattern(pattern, flags)

        def step(state: Any) -> tuple[list[Any], Any]:
            return self._split_step(compiled, *state)

        return LazyList(step, (0, False))

    def _split_step(
        self, pattern: re.Pattern[str], begin: int, after_empty: bool
    ) -> tuple[list[Any], tuple[int, bool] | None]:
        """Pieces from ``begin`` on, where a match has ended, and where to go on from."""
        pieces: list[Any] = []
        position = begin
        matches = self._windows.matches(pattern, begin, after_empty=after_empty, width=WIDTH // 2)
        for match, shift in matches:
            pieces.append(self._between(match, shift, position, self._longest))
            pieces += match.groups()
            start, position = match.start() + shift, match.end() + shift
            if position - begin >= min(_SPLIT_STEP, self._windows.ahead):
                return pieces, (position, start == position)
        end = position + self._longest
        pieces.append(self._text(position, end + 1 if self._has(end + 1) else end))
        return pieces, None


class Growing:
    """A result that may have ``longest`` characters. Raises TextTooLarge where it gets more."""

    def __init__(self, longest: int) -> None:
        self._parts: list[str] = []
        self._longest = longest
        self.left = longest

    def add(self, part: str) -> None:
        """Add a part at the end."""
        self.left -= len(part)
        if self.left < 0:
            raise TextTooLarge(
                f"the result has more than {self._longest:,} characters: use t.findall(pattern) "
                "for what matches, or change the text in pieces: re.sub(p, r, t[a:b]), "
                "`for line in t`"
            )
        self._parts.append(part)

    def text(self) -> str:
        """All parts together."""
        return "".join(self._parts)
