"""Regular expressions over a text that is never whole in memory: it is looked at in windows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .blocks import Blocks
from .decoding import character_width
from .toolarge import TextTooLarge

WIDTH = 16
"""A window takes this many bytes of memory for each character that a match is sure to see."""
_BEHIND = 1 << 16  # characters kept before a window, for \b, ^ and lookbehind


def compile_pattern(pattern: str | re.Pattern[str], flags: int) -> re.Pattern[str]:
    """As ``re.compile``; refuses bytes patterns. Raises ``re.error`` for an invalid pattern."""
    compiled = re.compile(pattern, flags)
    if not isinstance(compiled.pattern, str):
        raise TypeError("cannot use a bytes pattern on text")
    return compiled


class Windows(NamedTuple):
    """One text in windows.

    A match is sure to see ``ahead`` characters from its start on. One of that length or more is
    looked for again in a larger window, up to ``longest`` characters; beyond that
    :class:`~.toolarge.TextTooLarge` is raised. So what is found is what would be found in the
    whole text wherever an attempt to match, with all that it looks ahead to, spans fewer than
    ``ahead`` characters and looks back at most 65,536. An attempt that would need more characters
    than its window has in order to succeed is not seen; an attempt that found too much is.
    """

    blocks: Blocks
    ahead: int
    longest: int

    def matches(
        self,
        pattern: re.Pattern[str],
        pos: int = 0,
        endpos: int | None = None,
        *,
        after_empty: bool = False,
        width: int = WIDTH,
    ) -> Iterator[tuple[re.Match[str], int]]:
        """What ``pattern.finditer(text, pos, endpos)`` finds, each with what its positions lack.

        A position in the whole text is the position in the match plus that number. ``pos`` is in
        the text and not above ``endpos``. ``after_empty``: the empty match at ``pos`` was found
        before.
        """
        position, reach, last = pos, self.ahead, (pos, pos) if after_empty else (-1, -1)
        wide = 4
        while True:
            text, shift, ends = self._window(position, reach, endpos, width // wide)
            wide = character_width(text)
            # Matches that begin later are the next window's.
            limit = len(text) + 1 if ends else len(text) - reach
            following, next_reach = shift + limit, self.ahead
            for found in pattern.finditer(text, position - shift):
                start, end = found.span()
                if start >= limit:
                    break
                if end - start >= reach and not ends:
                    following, next_reach = shift + start, self._more(reach)
                    break
                if start == end and last == (shift + start, shift + end):
                    continue  # an empty match before one that is tried again
                yield found, shift
                last = (shift + start, shift + end)
                following = max(following, last[1])
            if ends:
                return
            position, reach = following, next_reach

    def match(
        self, pattern: re.Pattern[str], pos: int = 0, endpos: int | None = None
    ) -> tuple[re.Match[str], int] | None:
        """What ``pattern.match(text, pos, endpos)`` finds, as :meth:`matches` gives it."""
        reach = self.ahead
        while True:
            text, shift, ends = self._window(pos, reach, endpos, 2)
            found = pattern.match(text, pos - shift)
            if found is None or ends or found.end() - found.start() < reach:
                return None if found is None else (found, shift)
            reach = self._more(reach)

    def fullmatch(
        self, pattern: re.Pattern[str], pos: int = 0, endpos: int | None = None
    ) -> tuple[re.Match[str], int] | None:
        """What ``pattern.fullmatch(text, pos, endpos)`` finds.

        Raises :class:`~.toolarge.TextTooLarge` where more than ``longest`` characters would have
        to match.
        """
        text, shift, ends = self._window(pos, self.longest // 2, endpos, 0)
        if not ends:
            raise TextTooLarge(
                f"fullmatch over more than {self.longest:,} characters: use t.match(pattern) or "
                "t.search(pattern), or fullmatch on slices t[a:b] or lines"
            )
        found = pattern.fullmatch(text, pos - shift)
        return None if found is None else (found, shift)

    def _window(
        self, position: int, reach: int, endpos: int | None, times: int
    ) -> tuple[str, int, bool]:
        """The text around ``times * ahead`` characters or more, its position, whether it ends."""
        stop = position + max(times * self.ahead, 2 * reach)
        if endpos is not None:
            stop = min(stop, endpos)
        # The string begins before the position: ^, \b and lookbehind see what is really there.
        text, shift, ends = self.blocks.window(max(0, position - _BEHIND), stop)
        if endpos is not None and shift + len(text) >= endpos:
            return text[: endpos - shift], shift, True
        return text, shift, ends

    def _more(self, reach: int) -> int:
        if 4 * reach > self.longest:
            raise TextTooLarge(
                f"a match may have {self.longest // 2:,} characters: use a pattern that stops "
                "earlier (for instance [^\\n]* for .* with re.DOTALL), or slices t[a:b]"
            )
        return 2 * reach
