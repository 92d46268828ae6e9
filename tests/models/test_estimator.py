"""The estimate of tokens: what it starts from, learns, and never believes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme.models.estimator import TokenEstimator


def test_the_estimate_learns_what_the_endpoint_counts() -> None:
    estimator = TokenEstimator()
    assert estimator.tokens("a", 3500) == 1000
    for _ in range(40):
        estimator.observe("a", 10_000, 5000)
    assert estimator.tokens("a", 3500) == pytest.approx(1750, rel=0.01)
    assert estimator.tokens("b", 3500) == 1000


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(-5, 10**7)), max_size=50))
def test_the_estimate_stays_within_one_and_eight_characters_a_token(
    seen: list[tuple[int, int]],
) -> None:
    estimator = TokenEstimator()
    for characters, tokens in seen:
        estimator.observe("m", characters, tokens)
    assert 1000 <= estimator.tokens("m", 8000) <= 8000
