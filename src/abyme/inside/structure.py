"""How text is built, as far as its bytes tell: headlines, docstrings, sentences, paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_HEADLINE = re.compile(
    rb"""[ \t]*+(?:
        (?:(?:export|public|private|static|async|pub)[ ]+)*
            (?:def|class|function|fn|func|struct|enum|trait|interface|type)[ ]+\w
      | [rRuU]?(?:\"{3}|'{3})\\?[ ]*\w         # a docstring begins
      | \#{1,6}[ ]+\S | =+[ ]+\S               # Markdown, AsciiDoc
      | [^\n]{1,80}::[ \t]*$                   # a definition list's term
      | \.\.[ ]+[\w:-]+::[ ]                   # a directive of reStructuredText
      | <(?:h[1-6]|title|dt)\b                 # HTML
      | [\w.-]{2,40}[ ]--?[ ]\w                # a manual's NAME - what it does
      | [^\n]{2,80}\n([=~^"*-])\1{2,}[ \t]*$   # underlined
    )""",
    re.MULTILINE | re.VERBOSE,
)
_QUOTES = re.compile(rb"""[ \t]*[rRuU]?(?:\"{3}|'{3})\\?[ \t]*$""")
_DOCSTRING = re.compile(
    rb"""[ \t]*(?:(?:async[ ]+)?(?P<kind>def|class)[ \t]+(?P<name>\w+)[^\n]*\n
    (?:(?![ \t]*(?:def|class|async)\b)[^\n]*\n){0,7}?)?  # more lines of its head
    [ \t]*[rRuU]?(?P<quotes>\"{3}|'{3})(?s:.*?)(?:(?P=quotes)[^\n]*\n?|\Z)""",
    re.VERBOSE,
)
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_LONG_LINE = 300
_STOP = rb"[.!?][\"')\]]*\s+|\xe3\x80\x82"  # the last: an ideographic full stop
_SENTENCE = re.compile(rb".{1,600}?(?:" + _STOP + rb"|$)|.{600}", re.DOTALL)
_ENDS = re.compile(rb"(?:[.;!?]|\xe3\x80\x82|[\"'`)\]}]{1,3})\s*$")
_BLANK = re.compile(rb"^[ \t\r]*\n", re.MULTILINE)


def in_headlines(text: bytes, places: Iterable[int]) -> set[int]:
    """Those of ``places`` that stand in a headline."""
    lines = {at: text.rfind(b"\n", 0, at) + 1 for at in places}
    headlines = {line for line in set(lines.values()) if _is_headline(text, line)}
    return {at for at, line in lines.items() if line in headlines}


def _is_headline(text: bytes, line: int) -> bool:
    """Whether the line that begins there is one, or begins a docstring opened the line before."""
    if _HEADLINE.match(text, line) is not None:
        return True
    before = text.rfind(b"\n", max(0, line - 20), max(0, line - 1)) + 1
    return _QUOTES.match(text[before : max(0, line - 1)]) is not None


def docstring(text: bytes, at: int) -> re.Match[bytes] | None:
    """A docstring from ``at`` on, perhaps cut off, with the ``kind`` and ``name`` it is about."""
    return _DOCSTRING.match(text, at)


def parts(text: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of the lines of ``text``, with their ends; of a long line of its sentences."""
    for line in _LINE.finditer(text):
        if len(line[0]) <= _LONG_LINE:
            yield line.span()
        else:
            yield from (found.span() for found in _SENTENCE.finditer(text, *line.span()))


def rounded(text: bytes, start: int, end: int, most: int) -> tuple[int, int]:
    """A stretch of lines rounded to its docstring or paragraph of at most ``most`` bytes.

    Where lines mostly end with their sentences they are items of a list, and stay as they are but
    for a sentence that goes on in small letters on the next line.
    """
    if (found := _DOCSTRING.match(text, start)) is not None:
        if found.end() - start <= most:
            return start, max(end, found.end())
        return start, max(end, text.rfind(b"\n", end, start + most) + 1)
    low = max([0, *(blank.end() for blank in _BLANK.finditer(text, max(0, start - most), start))])
    after = _BLANK.search(text, end)
    high = after.start() if after is not None else len(text)
    lines = text[low:high].splitlines()
    ending = sum(_ENDS.search(line) is not None for line in lines)
    if high - low <= most and 2 * ending <= len(lines) + 1:
        return low, high
    while end < len(text) and _ENDS.search(text[max(start, end - 40) : end]) is None:
        stop = text.find(b"\n", end) + 1 or len(text)
        if stop - start > most or not text[end:stop].lstrip()[:1].islower():
            break
        end = stop
    return start, end
