"""LazyText against the str that the same bytes decode to, in blocks so small that borders bite."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.inside import text as text_module
from abyme.inside.decoding import decoder
from abyme.inside.text import LazyText, TextTooLarge

settings.register_profile("inside", deadline=None, max_examples=80)
settings.load_profile("inside")

PIECES = [
    "a",
    "b",
    "ab",
    "\n",
    "\r\n",
    "\r",
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
def encoded(draw: st.DrawFn) -> tuple[bytes, str, str, int]:
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


def both(sample: tuple[bytes, str, str, int], block: int = 8) -> tuple[LazyText, str]:
    data, encoding, errors, start = sample
    lazy = LazyText(data, encoding, errors, start=start, block=block, ahead=16)
    return lazy, str(data[start:], encoding, errors)


bounds = st.none() | st.integers(-70, 70)


@given(encoded(), st.integers(8, 20))
def test_all_of_it_is_the_decoded_text(sample: tuple[bytes, str, str, int], block: int) -> None:
    lazy, text = both(sample, block)
    assert bool(lazy) == bool(text)
    assert lazy[:] == text
    assert len(lazy) == len(text)
    assert lazy == text
    assert lazy != text + "x"


@given(encoded(), bounds, bounds, st.sampled_from([None, 1, 2, -1, -3]))
def test_slices(sample: Any, start: int | None, stop: int | None, step: int | None) -> None:
    lazy, text = both(sample)
    assert lazy[start:stop:step] == text[start:stop:step]


@given(encoded(), st.integers(-70, 70))
def test_single_characters(sample: Any, position: int) -> None:
    lazy, text = both(sample)
    if -len(text) <= position < len(text):
        assert lazy[position] == text[position]
    else:
        with pytest.raises(IndexError):
            lazy[position]


@given(encoded(), st.data(), bounds, bounds)
def test_find_rfind_count_in(sample: Any, data: st.DataObject, start: Any, stop: Any) -> None:
    lazy, text = both(sample)
    at = data.draw(st.integers(0, max(0, len(text) - 1)))
    sub = data.draw(
        st.sampled_from(["", "a", "aa", "é", "漢", "ab", "\n", "\udc80", "\ud800", "z", "\udca9"])
        | st.just(text[at : at + data.draw(st.integers(1, 12))])
    )
    assert lazy.find(sub, start, stop) == text.find(sub, start, stop)
    assert lazy.rfind(sub, start, stop) == text.rfind(sub, start, stop)
    assert lazy.count(sub, start, stop) == text.count(sub, start, stop)
    assert (sub in lazy) == (sub in text)
    assert lazy.startswith(sub) == text.startswith(sub)
    assert lazy.endswith(sub) == text.endswith(sub)


@given(encoded(), st.data())
def test_byte_spans_decode_to_the_text(sample: Any, data: st.DataObject) -> None:
    lazy, text = both(sample)
    at = data.draw(st.integers(0, max(0, len(text) - 1)))
    sub = text[at : at + data.draw(st.integers(1, 12))]
    if not sub:
        return
    span = lazy.span_bytes(sub)
    assert span is not None
    raw, encoding, errors, mark = sample
    assert str(raw[span[0] : span[1]], encoding, errors) == sub
    assert len(str(raw[mark : span[0]], encoding, errors)) == text.find(sub)
    assert lazy.line_at_byte(span[0]) == text.count("\n", 0, text.find(sub)) + 1


@given(encoded(), st.integers(1, 12), st.none() | st.integers(1, 12))
def test_lines(sample: Any, start: int, stop: int | None) -> None:
    lazy, text = both(sample)
    expected = list(io.StringIO(text, newline="\n"))
    assert lazy.lines(start, stop) == expected[start - 1 : None if stop is None else stop - 1]
    assert list(lazy) == expected
    assert "".join(lazy) == text
    for position in range(0, len(text), 5):
        assert lazy.line_of(position) == text.count("\n", 0, position) + 1


PATTERNS = [
    r"a",
    r"a*",
    r"(?<=a)b",
    r"^.",
    r"(?m)^\w+",
    r"(?m)\w+$",
    r"\Aa",
    r"a\Z",
    r"$",
    r"\b",
    r"(a)|(?P<other>[^\x00-\x7f])",
    r"[^\n]{2,9}",
    r"(?=ab)",
    r"x*|b",
    r"\w+",
    r"(?s).{5}\s",
]


@given(encoded(), st.sampled_from(PATTERNS), st.sampled_from([0, re.IGNORECASE]))
def test_finditer_is_re_finditer(sample: Any, pattern: str, flags: int) -> None:
    lazy, text = both(sample)
    _same_matches(lazy, text, pattern, flags)


@given(st.lists(st.sampled_from(PIECES), min_size=100, max_size=250), st.sampled_from(PATTERNS))
def test_finditer_over_many_windows(parts: list[str], pattern: str) -> None:
    lazy, text = both(("".join(parts).encode(), "utf-8", "surrogateescape", 0))
    _same_matches(lazy, text, pattern, 0)


def _same_matches(lazy: LazyText, text: str, pattern: str, flags: int) -> None:
    expected = list(re.finditer(pattern, text, flags))
    found = list(lazy.finditer(pattern, flags))
    assert [match.span() for match in found] == [match.span() for match in expected]
    assert [match.groups() for match in found] == [match.groups() for match in expected]
    assert [match.groupdict() for match in found] == [match.groupdict() for match in expected]
    assert lazy.findall(pattern, flags) == re.findall(pattern, text, flags)


def test_a_match_longer_than_a_window_is_found_whole() -> None:
    text = "-" * 40 + "a" * 2000 + "-" * 300 + "a" * 10
    lazy = LazyText(text.encode(), block=8, ahead=16)
    assert [match.span() for match in lazy.finditer("a+")] == [(40, 2040), (2340, 2350)]
    assert [match.span() for match in lazy.finditer("|a+")] == [
        match.span() for match in re.finditer("|a+", text)
    ]


def test_a_match_without_end_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "LONGEST_SLICE", 1000)
    with pytest.raises(TextTooLarge, match="stops earlier"):
        list(LazyText(b"a" * 5000, block=8, ahead=16).finditer("(?s).*"))


def test_matches_offer_what_re_matches_offer() -> None:
    lazy = LazyText(b"x" * 100 + b"key=value", block=8, ahead=16)
    match = lazy.search(r"(?P<key>\w{3})=(?P<value>\w+)(?P<none>!)?")
    assert match is not None
    assert match.group() == match[0] == "key=value" or match.group(1) == "key"
    assert match.group("key", "value") == (match["key"], match["value"])
    assert match.groups("-")[2] == "-"
    assert match.groupdict()["none"] is None
    assert (match.start("none"), match.end(3)) == (-1, -1)
    assert match.span("value") == (match.start(2), 109)
    assert "Match" in repr(match)
    with pytest.raises(IndexError):
        match.group(4)
    with pytest.raises(re.error):
        lazy.finditer("(")
    with pytest.raises(TypeError):
        lazy.finditer(re.compile(b"a"))  # type: ignore[arg-type]


def test_what_would_copy_it_whole_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "LONGEST_SLICE", 50)
    lazy: Any = LazyText(b"line\n" * 100)
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: str(lazy), "slices"),
        (lambda: f"{lazy}", "slices"),
        (lambda: lazy + "x", "slices"),
        (lambda: "x" + lazy, "slices"),
        (lambda: lazy.lower(), "IGNORECASE"),
        (lambda: lazy.split("\n"), "for line in"),
        (lambda: lazy.replace("a", "b"), "slice first"),
        (lambda: reversed(lazy), "slices"),
        (lambda: lazy[:], "pieces"),
        (lambda: lazy[10:490], "pieces"),
        (lambda: lazy.lines(1), "fewer"),
    ]
    for refused, advice in cases:
        with pytest.raises(TextTooLarge, match=advice):
            refused()
    assert isinstance(TextTooLarge(), MemoryError)
    assert lazy[480:10_000] == "line\n" * 4


def test_a_line_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "LONGEST_SLICE", 50)
    with pytest.raises(TextTooLarge, match="a line"):
        list(LazyText(b"x" * 200, block=8))


def test_repr_shows_size_and_use_but_no_content() -> None:
    lazy = LazyText(b"secret " * 100)
    assert "700 bytes" in repr(lazy)
    assert len(lazy) == 700
    assert "700 characters" in repr(lazy)
    assert "secret" not in repr(lazy)
    assert len(repr(lazy)) < 300


def test_the_index_grows_only_as_far_as_needed() -> None:
    lazy = LazyText("é".encode() * 10_000, block=64)
    assert lazy[:10] == "é" * 10
    assert "bytes" in repr(lazy), "the whole text was read for its first ten characters"


def test_encodings_that_cannot_be_cut_are_refused() -> None:
    for encoding in ("shift_jis", "gb18030", "euc-kr", "iso2022_jp", "utf-7", "big5", "hz"):
        with pytest.raises(ValueError, match="start only"):
            LazyText(b"abc", encoding)
    for encoding in ("latin-1", "cp1252", "koi8-r", "iso8859-15", "mac-roman", "cp037", "ascii"):
        assert decoder(encoding, "surrogateescape").single, encoding


def test_other_uses_are_as_a_str_has_them() -> None:
    lazy = LazyText(b"abc")
    with pytest.raises(TypeError):
        hash(lazy)
    with pytest.raises(TypeError):
        re.search("a", lazy)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        assert 3 in lazy
    with pytest.raises(ValueError, match="not found"):
        lazy.index("z")
    assert lazy.index("c") == 2
    assert lazy == LazyText(b"abc")
    assert lazy != 3
    with pytest.raises(ValueError, match="from 1"):
        lazy.lines(0)


def test_threads_share_one_text() -> None:
    text = "aé漢😀\n" * 4000
    lazy = LazyText(text.encode(), block=64)
    places = range(0, len(text), 37)

    def read(step: int) -> bool:
        ordered = places[::step]
        return all(
            lazy[at : at + 5] == text[at : at + 5]
            and lazy.line_of(at) == text.count("\n", 0, at) + 1
            for at in ordered
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, [1, -1, 2, -2, 3, -3, 5, -5]))
    assert lazy == text
