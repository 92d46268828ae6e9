"""LazyText against the str that the same bytes decode to, in blocks so small that borders bite."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme.inside.decoding import decoder
from abyme.inside.text import LazyText
from abyme.inside.toolarge import TextTooLarge
from support.texts import both, encoded

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
        st.sampled_from(
            [
                "",
                "a",
                "aa",
                "aba",
                "\n\n",
                "é",
                "éé",
                "漢",
                "ab",
                "\n",
                "\udc80",
                "\ud800",
                "z",
                "\udca9",
            ]
        )
        | st.just(text[at : at + data.draw(st.integers(1, 12))])
    )
    assert lazy.find(sub, start, stop) == text.find(sub, start, stop)
    assert lazy.rfind(sub, start, stop) == text.rfind(sub, start, stop)
    assert lazy.count(sub, start, stop) == text.count(sub, start, stop)
    assert (sub in lazy) == (sub in text)
    for ends in (sub, ("zz", sub), ()):
        assert lazy.startswith(ends, start, stop) == text.startswith(ends, start, stop)
        assert lazy.endswith(ends, start, stop) == text.endswith(ends, start, stop)
    for name in ("index", "rindex"):
        if text.find(sub, start, stop) >= 0:
            assert getattr(lazy, name)(sub, start, stop) == getattr(text, name)(sub, start, stop)


@given(
    st.lists(st.sampled_from(["a", "b", "\n", "é"]), max_size=200).map("".join),
    st.sampled_from(["aa", "aaa", "aba", "\n\n", "éé", "aéa", "a" * 40]),
    st.sampled_from(["utf-8", "utf-16-le", "utf-32-be", "latin-1"]),
    bounds,
)
def test_count_of_what_overlaps_itself(text: str, sub: str, encoding: str, start: Any) -> None:
    lazy = LazyText(text.encode(encoding), encoding, "surrogatepass", block=8)
    assert lazy.count(sub) == text.count(sub)
    assert lazy.count(sub, start) == text.count(sub, start)


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


def test_what_would_copy_it_whole_is_refused_with_advice() -> None:
    lazy: Any = LazyText(b"line\n" * 100, longest=50)
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: str(lazy), "slices"),
        (lambda: f"{lazy}", "slices"),
        (lambda: lazy + "x", "slices"),
        (lambda: "x" + lazy, "slices"),
        (lambda: lazy.lower(), "IGNORECASE"),
        (lambda: lazy.split("\n", 1), "find"),
        (lambda: lazy.rsplit("\n", 1), "split"),
        (lambda: lazy.partition("\n"), "find"),
        (lambda: lazy * 2, "slices"),
        (lambda: lazy % 2, "slices"),
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


def test_a_line_that_never_ends_is_refused() -> None:
    with pytest.raises(TextTooLarge, match="a line"):
        list(LazyText(b"x" * 200, block=8, longest=50))


def test_repr_shows_size_and_use_but_no_content() -> None:
    lazy = LazyText(b"secret " * 100)
    assert "700 bytes" in repr(lazy)
    assert len(lazy) == 700
    assert "700 characters" in repr(lazy)
    assert "secret" not in repr(lazy)
    assert len(repr(lazy)) < 400


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
        "".join([lazy])  # type: ignore[list-item]
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
