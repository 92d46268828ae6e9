"""Arguments that do not fit are answered with what the function takes."""

from __future__ import annotations

import pytest

from abyme.inside.budget import Budget
from abyme.inside.signatures import telling


def query(question: str, context: object = None) -> str:
    """Ask."""
    return question + context  # type: ignore[operator]


def test_a_wrong_name_is_answered_with_the_signature() -> None:
    told = telling([query])["query"]
    with pytest.raises(TypeError) as caught:
        told("q", contexts=["a"])
    assert str(caught.value) == (
        "query(): got an unexpected keyword argument 'contexts'; it is "
        "query(question, context=None)"
    )
    with pytest.raises(TypeError, match="missing a required argument: 'question'"):
        told()
    assert told("a", "b") == "ab"
    assert told.__doc__ == "Ask."


def test_an_error_from_within_stays_what_it_is() -> None:
    with pytest.raises(TypeError, match="can only concatenate"):
        telling([query])["query"]("q", 5)


def test_a_budget_prints_as_few_lines_and_counts_as_figures() -> None:
    calls = {"used": 3, "reserved": 2, "limit": 14, "left": 9, "share": 0.3, "node": "0"}
    cost = {"used": 0.25, "reserved": 0, "limit": None, "left": None, "share": None, "node": None}
    budget = Budget(calls=calls, cost=cost)
    assert str(budget) == ("calls: 3 used, 2 in flight, 9 left of 14\ncost: $0.2500 used, no limit")
    assert budget["calls"]["left"] == 9
