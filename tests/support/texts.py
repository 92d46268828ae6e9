"""Texts in many encodings, whole and broken, as LazyText in blocks so small that borders bite."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from abyme.inside.text import LazyText
from abyme.inside.toolarge import LONGEST

settings.register_profile("inside", deadline=None, max_examples=80)
settings.load_profile("inside")

Sample = tuple[bytes, str, str, int]
"""Bytes, encoding, error handler and length of the byte order mark."""

PIECES = [
    "a",
    "b",
    "ab",
    "\n",
    "\r\n",
    "\r",
    "\x0b",
    "\x1c",
    "\x85",
    "\u2028",
    "\u3000",
    "\x00",
    " ",
    "é",
    "ß",
    "λ",
    "Ω",
    "漢",
    "字",
    "😀",
    "🏳",
]
LONE = ["\ud800", "\udc80", "\udbff", "\udfff"]
words = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
lone_words = st.lists(st.sampled_from(PIECES + LONE), max_size=60).map("".join)
# High before low would be one character in UTF-16, so a lone high is kept away from a lone low.
utf16_words = st.lists(st.sampled_from([*PIECES, "\ud800", "\udfffx"]), max_size=60).map(
    lambda parts: "".join(parts).replace("\ud800\udfff", "\ud800")
)
any_bytes = st.lists(
    st.sampled_from([b"a", b"\n", b"\xc3\xa9", b"\xe6\xbc\xa2", b"\xf0\x9f\x98\x80"])
    | st.binary(min_size=1, max_size=3)
    | st.sampled_from([b"\x80", b"\xe6\xbc", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xbf" * 5]),
    max_size=40,
).map(b"".join)


@st.composite
def encoded(draw: st.DrawFn) -> Sample:
    """Bytes, encoding, error handler and length of the byte order mark."""
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return draw(words).encode(), "utf-8", "surrogateescape", 0
    if kind == 1:
        return draw(any_bytes), "utf-8", "surrogateescape", 0
    if kind == 2:
        return draw(lone_words).encode("utf-8", "surrogatepass"), "utf-8", "surrogatepass", 0
    if kind == 3:
        name = draw(st.sampled_from(["utf-16-le", "utf-16-be"]))
        mark = "\ufeff".encode(name) if draw(st.booleans()) else b""
        body = draw(utf16_words).encode(name, "surrogatepass")
        return mark + body, name, "surrogatepass", len(mark)
    if kind == 4:
        name = draw(st.sampled_from(["utf-32-le", "utf-32-be"]))
        return draw(lone_words).encode(name, "surrogatepass"), name, "surrogatepass", 0
    if kind == 5:
        return b"\xef\xbb\xbf" + draw(words).encode(), "utf-8", "surrogateescape", 3
    if kind == 6:
        return draw(any_bytes), draw(st.sampled_from(["ascii", "cp1252"])), "surrogateescape", 0
    return draw(any_bytes), "latin-1", "surrogateescape", 0


def both(
    sample: Sample, block: int = 8, ahead: int = 16, longest: int = LONGEST
) -> tuple[LazyText, str]:
    """The lazy text in small blocks and windows, and the ``str``."""
    data, encoding, errors, start = sample
    lazy = LazyText(data, encoding, errors, start=start, block=block, ahead=ahead, longest=longest)
    return lazy, str(data[start:], encoding, errors)
