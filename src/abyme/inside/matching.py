"""Regular expressions over a text that is never whole in memory: windows, and what they find."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Window = Callable[[int, int], tuple[str, bool]]
"""``window(start, stop)``: those characters, and whether the text ends with them."""

WINDOWS = 8
"""A window has this many times the characters that a match may look ahead."""
_BEHIND = 4096  # characters kept before a window, for \b, ^ and lookbehind


class Match:
    """A match with absolute positions. It copies its groups: it keeps no part of the text alive."""

    __slots__ = ("_groups", "_names", "_spans", "lastgroup", "lastindex")

    def __init__(self, found: re.Match[str], shift: int) -> None:
        self._spans = tuple(
            (start + shift, end + shift) if start >= 0 else (-1, -1) for start, end in found.regs
        )
        self._groups: tuple[str | Any, ...] = (found.group(), *found.groups())
        self._names = found.re.groupindex
        self.lastindex = found.lastindex
        self.lastgroup = found.lastgroup

    def _number(self, group: int | str) -> int:
        number = self._names.get(group, -1) if isinstance(group, str) else group
        if not 0 <= number < len(self._spans):
            raise IndexError("no such group")
        return number

    def group(self, *groups: int | str) -> Any:
        """As ``re.Match.group``."""
        texts = tuple(self._groups[self._number(group)] for group in groups or (0,))
        return texts[0] if len(texts) == 1 else texts

    def __getitem__(self, group: int | str) -> Any:
        return self.group(group)

    def groups(self, default: Any = None) -> tuple[Any, ...]:
        """As ``re.Match.groups``."""
        return tuple(default if text is None else text for text in self._groups[1:])

    def groupdict(self, default: Any = None) -> dict[str, Any]:
        """As ``re.Match.groupdict``."""
        texts = self.groups(default)
        return {name: texts[number - 1] for name, number in self._names.items()}

    def start(self, group: int | str = 0) -> int:
        """Position of the group's first character in the whole text; -1 where it took no part."""
        return self.span(group)[0]

    def end(self, group: int | str = 0) -> int:
        """Position after the group's last character in the whole text; -1 as above."""
        return self.span(group)[1]

    def span(self, group: int | str = 0) -> tuple[int, int]:
        """``(start, end)`` of the group in the whole text."""
        return self._spans[self._number(group)]

    def __repr__(self) -> str:
        text = self._groups[0]
        return f"<Match span={self.span()} match={text[:50] + '…' if len(text) > 50 else text!r}>"


def compile_pattern(pattern: str | re.Pattern[str], flags: int) -> re.Pattern[str]:
    """As ``re.compile``; refuses bytes patterns. Raises ``re.error`` for an invalid pattern."""
    compiled = re.compile(pattern, flags)
    if not isinstance(compiled.pattern, str):
        raise TypeError("cannot use a bytes pattern on text")
    return compiled


def windowed(
    pattern: re.Pattern[str], window: Window, ahead: int, longest: int, too_long: Exception
) -> Iterator[Match]:
    """What ``pattern.finditer`` finds in the whole text, from windows of ``WINDOWS * ahead``.

    Each match sees at least ``ahead`` characters from its start on, and a match that reaches the
    end of its window is tried again in a larger one, up to ``longest`` characters, beyond which
    ``too_long`` is raised. So the matches are those of the whole text wherever a match (or what
    it looks ahead to, or an attempt that fails) spans at most ``ahead`` characters.
    """
    position, reach, last = 0, ahead, (-1, -1)
    while True:
        # The string begins before the position: ^, \b and lookbehind see what is really there.
        start = max(0, position - _BEHIND)
        text, ends = window(start, position + WINDOWS * reach)
        limit = len(text) + 1 if ends else len(text) - reach  # later starts: the next window's
        following, next_reach = start + limit, ahead
        for found in pattern.finditer(text, position - start):
            if found.start() >= limit:
                break
            if not ends and found.end() >= len(text) - 1:
                following, next_reach = start + found.start(), 2 * reach
                if WINDOWS * next_reach > longest:
                    raise too_long
                break
            span = (start + found.start(), start + found.end())
            if span != last:  # else an empty match before one that is tried again
                yield Match(found, start)
            last, following = span, max(following, span[1])
        if ends:
            return
        position, reach = following, next_reach
