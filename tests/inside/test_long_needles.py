"""What is looked for may be a large part of what it is looked for in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme.inside import decoding
from abyme.inside.decoding import find_aligned


@given(
    data=st.text("ab", max_size=60).map(str.encode),
    needle=st.text("ab", min_size=1, max_size=30).map(str.encode),
    unit=st.sampled_from([1, 2, 4]),
    start=st.integers(0, 20),
    stop=st.integers(0, 70),
)
def test_a_long_needle_is_found_where_a_search_for_all_of_it_finds_it(
    data: bytes, needle: bytes, unit: int, start: int, stop: int
) -> None:
    expected = decoding._find(data, needle, unit, start, start, min(stop, len(data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_LONG", 3)
        assert find_aligned(data, needle, unit, start, start, stop) == expected


def test_beginnings_that_lead_nowhere_are_given_up() -> None:
    """A run of one byte begins as the needle does at every place."""
    data = b"a" * 3_000_000 + b"b"
    assert find_aligned(data, b"a" * 1_000_000 + b"b", 1, 0, 0, len(data)) == 2_000_000
    assert find_aligned(data, b"a" * 1_000_000 + b"c", 1, 0, 0, len(data)) == -1


def test_a_slice_of_a_mapped_text_lies_where_it_was_cut() -> None:
    lines = [f"line {number}: the same words in each of them\n" for number in range(50_000)]
    data = "".join(lines).encode()
    for at in (0, 777_777, len(data) - 500_000):
        assert find_aligned(data, data[at : at + 500_000], 1, 0, 0, len(data)) == at
