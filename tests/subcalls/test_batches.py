"""Many calls at once: what one of them comes to is its own."""

from __future__ import annotations

import asyncio
from typing import Any

from abyme.errors import BudgetExceeded, CallFailed
from abyme.subcalls.batches import IN_A_ROW, UNASKED, answers
from abyme.subcalls.book import Identified
from abyme.subcalls.rerun import NOT_MADE


def outcomes(dear: set[int], count: int, width: int = 8, **recorded: Any) -> tuple[list[str], int]:
    """What ``count`` calls came to, of which the ``dear`` ones are refused; and how many asked."""
    asked = 0

    async def ask(call: Identified, index: int) -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        if index in dear:
            raise BudgetExceeded("max_cost", f"max_cost: {index} is too dear")
        return "fine"

    calls = [Identified(str(index), 1, **recorded) for index in range(count)]
    items = asyncio.run(answers(calls, ask, width))
    return [item.get("value") or item["error"]["message"] for item in items], asked


def test_one_that_is_too_dear_is_refused_alone() -> None:
    came, asked = outcomes({0, 10, 11, 30}, 200)
    assert [index for index, each in enumerate(came) if each != "fine"] == [0, 10, 11, 30]
    assert came[10].endswith("10 is too dear") and asked == 200


def test_where_all_are_refused_not_all_ask() -> None:
    came, asked = outcomes(set(range(10_000)), 10_000)
    assert IN_A_ROW <= asked < IN_A_ROW + 8
    assert came[-1] == UNASKED and came[0].endswith("0 is too dear")


def test_what_was_not_asked_is_not_when_its_cell_runs_again() -> None:
    """Those that were refused then have a record, which tells here that some were."""

    async def ask(call: Identified, index: int) -> Any:
        if index < 3:
            raise CallFailed("max_cost: used up", "BudgetExceeded")
        raise AssertionError("it was not asked then")

    calls = [Identified(str(index), 1, None if index < 3 else NOT_MADE) for index in range(6)]
    items = asyncio.run(answers(calls, ask, 1))
    assert [item["error"]["message"] for item in items[3:]] == [UNASKED] * 3
