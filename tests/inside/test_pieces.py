"""What a LazyText is split into, against the lists that the methods of ``str`` give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme.inside import pieces as pieces_module
from abyme.inside.pieces import LazyList
from abyme.inside.text import LazyText
from abyme.inside.toolarge import TextTooLarge
from support.texts import Sample, both, encoded

places = st.none() | st.integers(-40, 40)
steps = st.sampled_from([None, 1, 2, -1, -3])


def _same(lazy: LazyList, expected: list[str], key: slice, number: int) -> None:
    """In an order that lets the list know little of itself when it is asked."""
    if number < len(expected):
        assert lazy[number] == expected[number]
    assert _listed(lazy[key]) == expected[key]
    assert bool(lazy) == bool(expected)
    assert list(lazy) == expected
    assert len(lazy) == len(expected)
    assert list(reversed(lazy)) == expected[::-1]
    for place in (-number - 1, number):
        if -len(expected) <= place < len(expected):
            assert lazy[place] == expected[place]
        else:
            with pytest.raises(IndexError):
                lazy[place]
    for piece in {*expected[:3], "never"}:
        assert (piece in lazy) == (piece in expected)
        assert lazy.count(piece) == expected.count(piece)
    if expected:
        assert lazy.index(expected[-1]) == expected.index(expected[-1])


def _listed(pieces: Sequence[Any]) -> list[Any]:
    return list(pieces)


@given(
    encoded(),
    st.sampled_from(["\n", "\r\n", " ", "a", "aa", "é", "漢字", "ab\n", "\ud800", "\udca9", "zz"]),
    st.builds(slice, places, places, steps),
    st.integers(0, 40),
)
def test_split(sample: Sample, separator: str, key: slice, number: int) -> None:
    lazy, text = both(sample)
    _same(lazy.split(separator), text.split(separator), key, number)


@given(encoded(), st.builds(slice, places, places, steps), st.integers(0, 40))
def test_split_at_white_space(sample: Sample, key: slice, number: int) -> None:
    lazy, text = both(sample)
    _same(lazy.split(), text.split(), key, number)


@given(encoded(), st.booleans(), st.builds(slice, places, places, steps), st.integers(0, 40))
def test_splitlines(sample: Sample, keepends: bool, key: slice, number: int) -> None:
    lazy, text = both(sample)
    _same(lazy.splitlines(keepends), text.splitlines(keepends), key, number)


@given(encoded(), st.builds(slice, places, places, steps), st.builds(slice, places, places, steps))
def test_a_long_slice_is_lazy_too(sample: Sample, first: slice, second: slice) -> None:
    lazy, text = both(sample)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "_MOST_IN_LIST", 2)
        some, expected = lazy.split("\n")[first], text.split("\n")[first]
        assert isinstance(some, LazyList if len(expected) > 2 else list)
        assert list(some) == expected
        assert len(some) == len(expected)
        assert list(some[second]) == expected[second]
        for place in range(-len(expected), len(expected)):
            assert some[place] == expected[place]
        assert list(reversed(some)) == expected[::-1]
        assert bool(some) == bool(expected)


def test_a_slice_of_long_pieces_is_lazy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "LONGEST", 100)
    lazy = LazyText(("x" * 30 + "\n").encode() * 10, block=8)
    assert isinstance(lazy.splitlines()[:3], list)
    some = lazy.splitlines()[:4]
    assert isinstance(some, LazyList)
    assert list(some) == ["x" * 30] * 4


def test_little_is_read_for_the_first_pieces() -> None:
    lazy = LazyText(b"line\n" * 10_000, block=64)
    assert lazy.splitlines()[3] == lazy.split("\n")[:5][4] == lazy.split()[0] == "line"
    assert "bytes" in repr(lazy), "the whole text was read for its first lines"


def test_a_piece_that_is_too_long_is_refused() -> None:
    lazy = LazyText(b"ab\n" + b"x" * 200 + b"\ncd", block=8, longest=100)
    for pieces in (lazy.split("\n"), lazy.splitlines(), lazy.split()):
        assert pieces[0] == "ab"
        with pytest.raises(TextTooLarge, match="a piece"):
            pieces[1]
    assert len(lazy.split("\n")) == 3, "counting needs no piece"


def test_an_interrupt_loses_no_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    read, calls = LazyText._window, 0

    def interrupted(self: LazyText, start: int, stop: int) -> tuple[str, bool]:
        nonlocal calls
        calls += 1
        if calls % 3 == 0 and calls < 60:
            raise KeyboardInterrupt
        return read(self, start, stop)

    monkeypatch.setattr(LazyText, "_window", interrupted)
    lines = LazyText(b"some line\n" * 200, block=16).splitlines()
    with pytest.raises(KeyboardInterrupt):
        len(lines)
    while True:
        try:
            assert len(lines) == 200
            break
        except KeyboardInterrupt:
            continue
    assert calls > 60
    assert list(lines) == ["some line"] * 200


def test_what_a_str_refuses_is_refused() -> None:
    lazy: Any = LazyText(b"a b")
    with pytest.raises(ValueError, match="empty separator"):
        lazy.split("")
    with pytest.raises(TypeError, match="must be str"):
        lazy.split(b" ")
    with pytest.raises(TypeError):
        lazy.split()[0] = "x"
    assert "secret" not in repr(LazyText(b"secret").split())
    assert len(repr(lazy.split())) < 200
