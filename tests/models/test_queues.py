"""Who waits is served in turn, whatever others have waiting."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.models.places import Places
from abyme.models.queues import FairQueue, Line

LINES = st.builds(Line, st.integers(0, 3), st.integers(0, 2))
STEPS = st.lists(st.one_of(LINES, st.sampled_from(["pop", "discard"])), max_size=80)


def test_runs_take_turns_and_within_a_run_its_levels() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(3):
        queue.push(Line("big", "leaves"), f"big leaf {number}")
    queue.push(Line("big", "turns"), "big turn")
    queue.push(Line("small", "turns"), "small turn")
    assert [queue.pop() for _ in range(len(queue))] == [
        "big leaf 0", "small turn", "big turn", "big leaf 1", "big leaf 2",
    ]  # fmt: skip
    with pytest.raises(IndexError):
        queue.pop()


def test_one_that_goes_first_goes_before_its_own_line_only() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push(Line("a", 0), "a1")
    queue.push(Line("b", 0), "b1")
    queue.push(Line("b", 0), "b0", first=True)
    assert [queue.pop(), queue.pop(), queue.pop()] == ["a1", "b0", "b1"]


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_nothing_is_lost_or_served_twice_and_each_line_keeps_its_order(steps: list[Any]) -> None:
    queue: FairQueue[int] = FairQueue()
    waiting: dict[int, Line] = {}
    for number, step in enumerate(steps):
        if isinstance(step, Line):
            queue.push(step, number)
            waiting[number] = step
        elif step == "pop" and waiting:
            popped = queue.pop()
            line = waiting.pop(popped)
            assert all(other > popped for other, where in waiting.items() if where == line)
        elif step == "discard" and waiting:
            item = next(iter(waiting))
            queue.discard(waiting.pop(item), item)
            queue.discard(Line(0, 0), item)  # it is there no more
        assert len(queue) == len(waiting)
    assert sorted(queue.pop() for _ in range(len(queue))) == sorted(waiting)
    assert not queue._runs, "nothing is kept of empty lines"


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=120))
def test_no_run_waits_longer_than_a_round_and_no_level_than_a_round_of_its_run(
    lines: list[Line],
) -> None:
    queue: FairQueue[int] = FairQueue()
    for number, line in enumerate(lines):
        queue.push(line, number)
    served = [lines[queue.pop()] for _ in lines]
    for at in range(len(served)):
        after = served[at:]
        runs = {line.run for line in after}
        assert {line.run for line in after[: len(runs)]} == runs
    of_run: dict[Any, list[Any]] = defaultdict(list)
    for line in served:
        of_run[line.run].append(line.level)
    for levels in of_run.values():
        for at in range(len(levels)):
            left = set(levels[at:])
            assert set(levels[at : at + len(left)]) == left


# -- places --------------------------------------------------------------------------------------


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(steps, 20))


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_limit_that_grows_lets_in_those_who_wait() -> None:
    async def steps() -> None:
        limit = 1
        places = Places(lambda: limit)
        taking = [asyncio.create_task(places.take(Line(0, 0))) for _ in range(5)]
        await soon()
        assert (places.taken, places.waiting) == (1, 4)
        limit = 3
        await asyncio.wait_for(places.take(Line(1, 0)), 5)  # whoever comes looks again
        assert (places.taken, places.waiting) == (3, 3)
        limit = 0
        places.give_back()
        assert (places.taken, places.waiting) == (2, 3)
        limit = 9
        places.serve()
        await asyncio.gather(*taking)
        assert (places.taken, places.waiting) == (5, 0)

    run(steps())


def test_cancelling_ten_thousand_that_wait_leaves_nothing_behind() -> None:
    async def steps() -> None:
        places = Places(lambda: 0)
        waiting = [asyncio.create_task(places.take(Line(0, n % 7))) for n in range(10_000)]
        await soon()
        assert places.waiting == 10_000
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (places.taken, places.waiting, len(asyncio.all_tasks())) == (0, 0, 1)

    asyncio.run(steps())
