"""Many calls at once: what one of them comes to is its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from abyme.errors import BudgetExceeded, CallFailed, JournalError
from abyme.subcalls.batches import IN_A_ROW, UNASKED, Crew, answers
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
    items = asyncio.run(answers(calls, ask, Crew(width)))
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
    items = asyncio.run(answers(calls, ask, Crew(1)))
    assert [item["error"]["message"] for item in items[3:]] == [UNASKED] * 3


def test_many_batches_share_one_crew() -> None:
    """Six hundred batches of five hundred would else be 600 times as many tasks as one."""

    async def steps() -> None:
        crew, gate = Crew(64), asyncio.Event()
        under_way = most = 0

        async def ask(call: Identified, index: int) -> Any:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await gate.wait()
            under_way -= 1
            return index

        calls = [Identified(str(index), 1) for index in range(500)]
        batches = [asyncio.create_task(answers(calls, ask, crew)) for _ in range(100)]
        await asyncio.sleep(0.05)
        assert 100 <= most < 500
        gate.set()
        for items in await asyncio.gather(*batches):
            assert [item["value"] for item in items] == list(range(500))
        assert most < 500 and crew.share == 64

    asyncio.run(asyncio.wait_for(steps(), 20))


def test_a_batch_beside_a_long_one_has_its_part() -> None:
    async def steps() -> None:
        crew, before = Crew(16), len(asyncio.all_tasks())

        async def ask(call: Identified, index: int) -> Any:
            await asyncio.sleep(0.001)
            return index

        calls = [Identified(str(index), 1) for index in range(100_000)]
        long = asyncio.create_task(answers(calls, ask, crew))
        await asyncio.sleep(0.01)
        assert len(await answers(calls[:200], ask, crew)) == 200
        assert not long.done()
        long.cancel()
        await asyncio.gather(long, return_exceptions=True)
        assert crew.share == 16 and len(asyncio.all_tasks()) == before

    asyncio.run(asyncio.wait_for(steps(), 20))


def test_a_fault_of_one_ends_the_batch() -> None:
    async def steps() -> None:
        async def ask(call: Identified, index: int) -> Any:
            await asyncio.sleep(0)
            if index == 7:
                raise JournalError("the disk is full")
            return index

        before = len(asyncio.all_tasks())
        calls = [Identified(str(index), 1) for index in range(100)]
        with pytest.raises(JournalError):
            await answers(calls, ask, Crew(4))
        assert len(asyncio.all_tasks()) == before

    asyncio.run(asyncio.wait_for(steps(), 20))
