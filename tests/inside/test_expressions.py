"""Regular expressions over LazyText against ``re`` over the str that its bytes decode to."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme.inside.text import LazyText
from abyme.inside.toolarge import TextTooLarge
from support.texts import PIECES, Sample, both, encoded

PATTERNS = [
    r"",
    r"(?m)^",
    r"(?m)$",
    r"(?m)^$|b",
    r"(?<!a)b(?!\n)",
    r"(?<=\A.)b",
    r"(?<=^a)|(?<=\n)b",
    r"\B.",
    r"(?i)Ω|SS|ß",
    r"(?a)\w+",
    r"(a|b)(\s)?",
    r"(?:a(?=b)|(b))+?",
    r"(.)\1",
    r"\s+",
    r"\S+",
    r"(?s).",
    r"[\ud800-\udfff]+",
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


def _same_matches(lazy: LazyText, text: str, pattern: str, flags: int = 0) -> None:
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


def test_a_match_without_end_raises() -> None:
    with pytest.raises(TextTooLarge, match="stops earlier"):
        list(LazyText(b"a" * 5000, block=8, ahead=16, longest=1000).finditer("(?s).*"))


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


@given(encoded(), st.sampled_from(PATTERNS), st.integers(-3, 70), st.none() | st.integers(-3, 70))
def test_pos_and_endpos(sample: Sample, pattern: str, pos: int, endpos: int | None) -> None:
    lazy, text = both(sample)
    compiled = re.compile(pattern)
    end = len(text) if endpos is None else endpos
    expected = list(compiled.finditer(text, pos, end))
    found = list(lazy.finditer(compiled, pos=pos, endpos=endpos))
    assert [match.regs for match in found] == [match.regs for match in expected]
    assert lazy.findall(compiled, 0, pos, endpos) == compiled.findall(text, pos, end)
    for name in ("search", "match", "fullmatch") if pos <= end else ():
        here = getattr(lazy, name)(compiled, 0, pos, endpos)
        there = getattr(compiled, name)(text, pos, end)
        assert (here and here.regs) == (there and there.regs), name
        assert (here and here.lastindex, here and here.lastgroup) == (
            there and there.lastindex,
            there and there.lastgroup,
        )


REPLACEMENTS: list[Any] = [
    "",
    "-",
    r"<\g<0>>",
    r"\n\t\\",
    r"\101",
    lambda match: f"{match.start()}{match.group()!r}",
]


@given(encoded(), st.sampled_from(PATTERNS), st.sampled_from(REPLACEMENTS), st.integers(-1, 3))
def test_sub_and_subn(sample: Sample, pattern: str, repl: Any, count: int) -> None:
    lazy, text = both(sample)
    assert lazy.subn(pattern, repl, count) == re.subn(pattern, repl, text, count=count)
    assert lazy.sub(pattern, repl, count) == re.sub(pattern, repl, text, count=count)


@given(
    st.lists(st.sampled_from(PIECES), max_size=250).map("".join),
    st.sampled_from(PATTERNS),
    st.integers(0, 300),
)
def test_split(text: str, pattern: str, number: int) -> None:
    lazy, text = both((text.encode(), "utf-8", "surrogateescape", 0))
    expected = re.split(pattern, text)
    pieces = lazy.re_split(pattern)
    assert list(pieces) == expected
    assert len(pieces) == len(expected)
    assert pieces[number:] == expected[number:]
    again = lazy.re_split(pattern)
    if number < len(expected):
        assert again[number] == expected[number]
        assert again[-number - 1] == expected[-number - 1]


@pytest.mark.parametrize("shift", range(12))
def test_borders_of_windows_are_not_ends(shift: int) -> None:
    """Each window ends somewhere in a text whose lines and words lie at every distance from it."""
    text = "-" * shift + "ab cd\nab ef\n\nx" * 100
    lazy = LazyText(text.encode(), block=8, ahead=8)
    for pattern in (
        r"\A.",
        r"^.",
        r".\Z",
        r".$",
        r"\n$",
        r"$",
        r"\b\w\w\b",
        r"(?m)^ab",
        r"(?m)cd$",
        r"(?m)^$",
        r"(?m)^",
        r"(?<=x)ab",
        r"(?<!x)ab",
        r"ef(?=\n\n)",
        r"x(?!ab)",
        r"(?=(ab cd))",
        r"|ab",
    ):
        _same_matches(lazy, text, pattern)


def test_a_match_that_took_all_that_it_saw_is_looked_for_again() -> None:
    """Greedy: the last b of a window is not the last b of the text."""
    text = "-" * 50 + "a" + ".b" * 3000 + "-" * 5000
    lazy = LazyText(text.encode(), block=8, ahead=16)
    _same_matches(lazy, text, r"a.*b")
    _same_matches(lazy, text, r"(?:.b)+")
    small = LazyText(text.encode(), block=8, ahead=16, longest=4000)
    with pytest.raises(TextTooLarge, match="2,000"):
        small.search(r"a.*b")
    with pytest.raises(TextTooLarge):
        small.match(r".*")


def test_an_attempt_that_needs_more_than_it_sees_is_missed_as_documented() -> None:
    text = "-" * 50 + "a" + "." * 3000 + "b" + "-" * 500
    lazy = LazyText(text.encode(), block=8, ahead=16)
    assert lazy.search(r"a\.*b") is None
    assert LazyText(text.encode(), block=8, ahead=3100).search(r"a\.*b") is not None


def test_the_whole_text_may_match() -> None:
    lazy = LazyText(b"a" * 3000, block=8, ahead=16)
    for match in (lazy.match("a*"), lazy.fullmatch("a+"), lazy.search("(?s).*"), lazy.match("")):
        assert match is not None
        assert match.span() in ((0, 3000), (0, 0))
    assert lazy.fullmatch("a+b") is None
    with pytest.raises(TextTooLarge, match="fullmatch"):
        LazyText(b"a" * 3000, block=8, ahead=16, longest=1000).fullmatch("a+")
    small = LazyText(b"a" * 3000, block=8, ahead=16, longest=1000)
    assert small.fullmatch("a+", pos=100, endpos=700) is not None


def test_a_result_that_is_too_large_is_never_built() -> None:
    lazy = LazyText(b"ab" * 5000, block=8, ahead=16, longest=1000)
    made = 0

    def double(match: Any) -> str:
        nonlocal made
        made += 1
        return "xxxx"

    with pytest.raises(TextTooLarge, match="pieces"):
        lazy.sub("a", double)
    assert made <= 201
    assert lazy.sub("[ab]+?", "") == ""
    with pytest.raises(TextTooLarge):
        lazy.sub("c", "")
    with pytest.raises(TextTooLarge):
        lazy.subn("a", "", 1)
    with pytest.raises(TextTooLarge):
        list(lazy.re_split("c"))
    with pytest.raises(TextTooLarge, match=r"\[:n\]"):
        lazy.re_split("a", 1)


@given(encoded(), st.sampled_from([r"(?P<one>\w)(\s)?(?P<two>\S)?", r"(a)|(?P<two>b)|.(?P<one>)"]))
def test_expand(sample: Sample, pattern: str) -> None:
    lazy, text = both(sample)
    template = r"[\g<one>|\2|\g<two>|\g<0>\n]"
    expected = [match.expand(template) for match in re.finditer(pattern, text)]
    assert [match.expand(template) for match in lazy.finditer(pattern)] == expected
    assert lazy.sub(pattern, template) == re.sub(pattern, template, text)


def test_bad_templates_are_refused_as_by_re() -> None:
    lazy = LazyText(b"abc", block=8)
    found = lazy.search("b")
    assert found is not None
    for template in (r"\2", r"\q", r"\g<none>", "\\g<"):
        with pytest.raises((re.error, IndexError)) as wanted:
            re.sub("b", template, "abc")
        with pytest.raises(wanted.type):
            found.expand(template)
        with pytest.raises(wanted.type):
            lazy.sub("b", template)


def test_a_match_knows_where_it_comes_from() -> None:
    lazy = LazyText(b"x" * 100 + b"abc", block=8, ahead=16)
    pattern = re.compile("(?P<first>a)(b)")
    found = lazy.search(pattern, pos=5)
    assert found is not None
    assert (found.string, found.re, found.pos, found.endpos) == (lazy, pattern, 5, 103)
    assert (found.lastindex, found.lastgroup) == (2, None)
    assert found.regs == ((100, 102), (100, 101), (101, 102))
    limited = lazy.search(pattern, 0, 5, 102)
    assert limited is not None
    assert limited.endpos == 102
    assert lazy.search(pattern, 0, 5, 101) is None
