"""What a regular expression found in a lazy text: as ``re.Match``, with absolute positions."""

from __future__ import annotations

import re
from typing import Any


class Match:
    """A match with absolute positions, for what ``re.Match`` is asked for.

    It copies its groups and keeps no part of the text in memory. ``string`` is the lazy text,
    ``re`` the compiled pattern, ``pos`` where the search was told to begin.
    """

    __slots__ = ("_endpos", "_groups", "_regs", "_shift", "lastindex", "pos", "re", "string")

    def __init__(
        self, found: re.Match[str], shift: int, string: Any, pos: int, endpos: int | None
    ) -> None:
        self._regs = found.regs
        self._shift = shift
        self._groups: tuple[str | Any, ...] = (found[0], *found.groups())
        self.lastindex = found.lastindex
        self.re = found.re
        self.string = string
        self.pos = pos
        self._endpos = endpos

    @property
    def lastgroup(self) -> str | None:
        """As ``re.Match.lastgroup``."""
        names = self.re.groupindex.items()
        return next((name for name, number in names if number == self.lastindex), None)

    @property
    def endpos(self) -> int:
        """Where the search was told to end; else the length of the text, which is then counted."""
        return len(self.string) if self._endpos is None else min(self._endpos, len(self.string))

    @property
    def regs(self) -> tuple[tuple[int, int], ...]:
        """The spans of all groups, the whole match first."""
        return tuple(self.span(group) for group in range(len(self._regs)))

    def _number(self, group: int | str) -> int:
        names = self.re.groupindex
        number = names.get(group, -1) if isinstance(group, str) else group.__index__()
        if not 0 <= number < len(self._regs):
            raise IndexError("no such group")
        return number

    def group(self, *groups: int | str) -> Any:
        """As ``re.Match.group``."""
        if not groups:
            return self._groups[0]
        texts = tuple(self._groups[self._number(group)] for group in groups)
        return texts[0] if len(texts) == 1 else texts

    def __getitem__(self, group: int | str) -> Any:
        return self._groups[self._number(group)]

    def groups(self, default: Any = None) -> tuple[Any, ...]:
        """As ``re.Match.groups``."""
        return tuple(default if text is None else text for text in self._groups[1:])

    def groupdict(self, default: Any = None) -> dict[str, Any]:
        """As ``re.Match.groupdict``."""
        texts = self.groups(default)
        return {name: texts[number - 1] for name, number in self.re.groupindex.items()}

    def start(self, group: int | str = 0) -> int:
        """Position of the group's first character in the whole text; -1 where it took no part."""
        return self.span(group)[0]

    def end(self, group: int | str = 0) -> int:
        """Position after the group's last character in the whole text; -1 as above."""
        return self.span(group)[1]

    def span(self, group: int | str = 0) -> tuple[int, int]:
        """``(start, end)`` of the group in the whole text."""
        start, end = self._regs[self._number(group)]
        return (start + self._shift, end + self._shift) if start >= 0 else (-1, -1)

    def expand(self, template: str) -> str:
        """As ``re.Match.expand``: ``template`` with ``\\1`` and ``\\g<name>`` filled in."""
        return _again(self._groups, self.re).expand(template)

    def __copy__(self) -> Match:
        return self

    def __deepcopy__(self, memo: object) -> Match:
        return self

    def __repr__(self) -> str:
        text = self._groups[0]
        return f"<Match span={self.span()} match={text[:50] + '…' if len(text) > 50 else text!r}>"


def _again(groups: tuple[str | Any, ...], pattern: re.Pattern[str]) -> re.Match[str]:
    """An ``re.Match`` whose groups have these texts and the pattern's names.

    Templates have rules of their own (octal escapes, bad escapes, groups that took no part), which
    only ``re.Match.expand`` knows. All groups are laid end to end behind the match, and each is
    captured by a lookahead.
    """
    names = {number: name for name, number in pattern.groupindex.items()}
    captures, offset = [], len(groups[0])
    for number, text in enumerate(groups[1:], start=1):
        head = f"?P<{names[number]}>" if number in names else ""
        if text is None:
            captures.append(f"({head}(?!))?")
        else:
            captures.append(f"(?=.{{{offset}}}({head}.{{{len(text)}}}))")
            offset += len(text)
    source = "".join([*captures, f".{{{len(groups[0])}}}"])
    found = re.compile(source, re.DOTALL).match("".join(text or "" for text in groups))
    assert found is not None
    return found
