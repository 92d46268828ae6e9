"""The scheduler bounds what is in flight at an endpoint, fairly, and loses no place."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.errors import EndpointError, RateLimited
from abyme.models.scheduler import Scheduler, Share
from abyme.types import Reply, Usage


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(steps, 20))


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def refuse(scheduler: Scheduler, retry_after: float | None = None) -> None:
    """One of two that are in flight, where there are two places."""
    async with AsyncExitStack() as other:
        if scheduler.limit("e") > 1:
            await other.enter_async_context(scheduler.share().slot("e"))
        with pytest.raises(RateLimited):
            async with scheduler.share().slot("e"):
                raise RateLimited("429", retry_after=retry_after)


async def answer(share: Share, pause: float = 0.0, endpoint: str = "e") -> None:
    async with share.slot(endpoint) as slot:
        await asyncio.sleep(0)
        slot.answered("m", Reply("fine", Usage(10, 10), pause=pause))


async def stay(scheduler: Scheduler, until: asyncio.Event) -> None:
    async with scheduler.share().slot("e"):
        await until.wait()


def test_no_more_than_the_width_is_in_flight_and_a_run_is_served_in_order() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=3)
        share = scheduler.share()
        order: list[int] = []
        most = 0

        async def work(number: int) -> None:
            nonlocal most
            async with share.slot("e"):
                order.append(number)
                most = max(most, scheduler.in_flight("e"))
                await asyncio.sleep(0)

        await asyncio.gather(*(work(number) for number in range(50)))
        assert order == list(range(50))
        assert 3 <= most <= scheduler.limit("e")
        assert scheduler.in_flight("e") == 0

    run(steps())


def test_no_endpoint_needs_no_slot() -> None:
    async def steps() -> None:
        share = Scheduler(start=1).share()
        async with share.slot("") as one, share.slot("") as other:
            one.answered("m", Reply("fine"))
            other.answered("m", Reply("fine", pause=99.0))
        async with share.slot(""):
            pass

    run(steps())


def test_endpoints_do_not_wait_for_each_other() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=1)
        async with scheduler.share().slot("a"), scheduler.share().slot("b"):
            assert scheduler.in_flight("a") == scheduler.in_flight("b") == 1

    run(steps())


def test_a_run_that_asks_for_more_width_gets_it_until_the_endpoint_refuses() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=4, most=100)
        async with scheduler.share(50).slot("e"):
            assert scheduler.limit("e") == 50
        async with scheduler.share(500).slot("e"):
            assert scheduler.limit("e") == 500
        for _ in range(2):
            await refuse(scheduler)
        narrowed = scheduler.limit("e")
        assert narrowed < 50
        async with scheduler.share(500).slot("e"):
            assert scheduler.limit("e") == narrowed

    run(steps())


def test_refusals_halve_once_a_round_trip_and_never_below_one() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=16)

        async def all_refused(count: int) -> None:
            gate = asyncio.Event()

            async def refused_later() -> None:
                with pytest.raises(RateLimited):
                    async with scheduler.share().slot("e"):
                        await gate.wait()
                        raise RateLimited("429")

            together = [asyncio.create_task(refused_later()) for _ in range(count)]
            await soon()
            gate.set()
            await asyncio.gather(*together)

        await all_refused(10)
        assert scheduler.limit("e") == 8
        await all_refused(3)
        assert scheduler.limit("e") == 4
        for _ in range(9):
            await all_refused(2)
        assert scheduler.limit("e") == 1

    run(steps())


def test_answers_widen_and_other_failures_do_nothing() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=2)
        share = scheduler.share()
        for _ in range(5):
            with pytest.raises(EndpointError):
                async with share.slot("e"):
                    raise EndpointError("500")
        assert scheduler.limit("e") == 2
        await asyncio.gather(*(answer(share) for _ in range(6)))
        assert scheduler.limit("e") == 8

    run(steps())


def test_a_failure_that_names_a_time_narrows_and_holds_everyone() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=8)
        async with scheduler.share().slot("e"):
            with pytest.raises(EndpointError):
                async with scheduler.share().slot("e"):
                    raise EndpointError("503", status=503, retry_after=60.0)
        assert scheduler.limit("e") == 4
        await nothing_goes_out(scheduler)

    run(steps())


def test_an_answer_that_says_that_nothing_is_left_holds_everyone() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=8)
        await answer(scheduler.share(), pause=60.0)
        await nothing_goes_out(scheduler)
        await answer(scheduler.share(), endpoint="other")

    run(steps())


async def nothing_goes_out(scheduler: Scheduler) -> None:
    done = asyncio.Event()
    waiting = [asyncio.create_task(stay(scheduler, done)) for _ in range(3)]
    await soon()
    assert (scheduler.in_flight("e"), scheduler.waiting("e")) == (0, 3)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert (scheduler.in_flight("e"), scheduler.waiting("e")) == (0, 0)


def test_nothing_goes_out_before_the_time_the_endpoint_named() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=8)
        loop = asyncio.get_running_loop()
        before = loop.time()
        await refuse(scheduler, retry_after=0.2)
        await nothing_goes_out(scheduler)
        async with scheduler.share().slot("e"):
            assert loop.time() - before >= 0.2

    run(steps())


def test_cancelling_one_that_waits_loses_no_place() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=1)
        done = asyncio.Event()
        first = asyncio.create_task(stay(scheduler, done))
        await soon()
        second = asyncio.create_task(stay(scheduler, done))
        third = asyncio.create_task(stay(scheduler, done))
        await soon()
        first.cancel()  # hands its place to the second …
        await asyncio.sleep(0)
        second.cancel()  # … which is cancelled before it could take it
        await soon()
        done.set()
        await third
        assert scheduler.in_flight("e") == 0

    run(steps())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 30))
def test_no_interleaving_loses_a_place_or_deadlocks(seed: int, tasks: int, cancels: int) -> None:
    chance = random.Random(seed)

    async def work(scheduler: Scheduler) -> None:
        async with scheduler.share().slot("e"):
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.3:
                raise RateLimited("429", retry_after=chance.choice([None, 0.0, 0.0005]))

    async def steps() -> None:
        scheduler = Scheduler(start=5)
        running = [asyncio.create_task(work(scheduler)) for _ in range(tasks)]
        for _ in range(cancels):
            await asyncio.sleep(0)
            chance.choice(running).cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert scheduler.in_flight("e") == 0
        assert 1 <= scheduler.limit("e") <= 64

    run(steps())


def test_it_refuses_a_second_event_loop() -> None:
    scheduler = Scheduler()

    async def use() -> None:
        async with scheduler.share().slot("e"):
            pass

    run(use())
    with pytest.raises(RuntimeError, match="one event loop"):
        run(use())


# -- fair ----------------------------------------------------------------------------------------


class Served:
    """An endpoint that takes a pass of the loop for each attempt; who was served, in order."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.order: list[str] = []

    async def ask(self, share: Share, who: str, level: int = 0) -> None:
        async with share.turn("e", level), share.slot("e", level) as slot:
            self.order.append(who)
            await asyncio.sleep(0)
            slot.answered("m", Reply("fine", Usage(10, 10)))


@pytest.mark.parametrize("max_width", [None, 64])
def test_ten_thousand_prompts_delay_the_single_call_of_another_run_by_a_round_trip(
    max_width: int | None,
) -> None:
    async def steps() -> None:
        scheduler = Scheduler(most=64)
        served = Served(scheduler)
        big, small = scheduler.share(max_width), scheduler.share(max_width)
        many = [asyncio.create_task(served.ask(big, "big")) for _ in range(10_000)]
        while len(served.order) < 500:
            await asyncio.sleep(0)
        before = len(served.order)
        await served.ask(small, "small")
        assert served.order.index("small") - before <= 2 * 64
        assert len(served.order) < 2_000
        await asyncio.gather(*many)

    run(steps())


@pytest.mark.parametrize("max_width", [None, 64])
def test_a_turn_does_not_wait_behind_what_the_depth_asks(max_width: int | None) -> None:
    async def steps() -> None:
        scheduler = Scheduler(most=64)
        served = Served(scheduler)
        share = scheduler.share(max_width)
        deep = [asyncio.create_task(served.ask(share, "deep", 3)) for _ in range(5_000)]
        while len(served.order) < 500:
            await asyncio.sleep(0)
        before = len(served.order)
        await served.ask(share, "turn", 0)
        assert served.order.index("turn") - before <= 2 * 64
        await asyncio.gather(*deep)

    run(steps())


def test_runs_of_any_size_are_served_alike() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=4, most=4)
        served = Served(scheduler)
        sizes = {"a": 400, "b": 40, "c": 4}
        shares = {name: scheduler.share() for name in sizes}
        await asyncio.gather(
            *(served.ask(shares[name], name) for name, size in sizes.items() for _ in range(size))
        )
        last_of_c = max(at for at, who in enumerate(served.order) if who == "c")
        last_of_b = max(at for at, who in enumerate(served.order) if who == "b")
        assert last_of_c <= 3 * 4 + 3 * 4
        assert last_of_b <= 2 * 40 + 4 + 3 * 4

    run(steps())


def test_the_width_of_a_run_bounds_it_over_all_endpoints_and_no_other_run() -> None:
    async def steps() -> None:
        scheduler = Scheduler()
        share, other, done = scheduler.share(3), scheduler.share(), asyncio.Event()

        async def hold(whose: Share, endpoint: str) -> None:
            async with whose.turn(endpoint), whose.slot(endpoint):
                await done.wait()

        tasks = [asyncio.create_task(hold(share, f"e{number % 2}")) for number in range(9)]
        tasks += [asyncio.create_task(hold(other, "e0")) for _ in range(20)]
        await soon()
        assert share.begun == 3
        assert other.begun == 16
        assert scheduler.in_flight("e0") + scheduler.in_flight("e1") <= 3 + 16
        done.set()
        await asyncio.gather(*tasks)
        assert (share.begun, other.begun) == (0, 0)

    run(steps())


@pytest.mark.parametrize(("max_width", "begun"), [(None, 8), (4, 4)])
def test_calls_that_sleep_let_others_begin_up_to_once_the_width(
    max_width: int | None, begun: int
) -> None:
    async def steps() -> None:
        share, awake = Scheduler(start=4, most=4).share(max_width), asyncio.Event()

        async def sleeper() -> None:
            async with share.turn("e"):
                with share.asleep("e"):
                    await awake.wait()

        sleeping = [asyncio.create_task(sleeper()) for _ in range(20)]
        await soon()
        assert share.begun == begun
        awake.set()
        await asyncio.gather(*sleeping)
        assert share.begun == 0

    run(steps())


def test_attempts_that_hang_do_not_hold_up_the_others() -> None:
    async def steps() -> None:
        scheduler, over = Scheduler(start=4, most=4), asyncio.Event()
        hung = [asyncio.create_task(stay(scheduler, over)) for _ in range(3)]
        share = scheduler.share()
        await soon()
        for _ in range(40):
            await answer(share)
        assert scheduler.limit("e") == 7
        more = [asyncio.create_task(stay(scheduler, over)) for _ in range(9)]
        await soon()
        assert (scheduler.in_flight("e"), scheduler.waiting("e")) == (7, 5)
        over.set()
        await asyncio.gather(*hung, *more)
        assert (scheduler.in_flight("e"), scheduler.limit("e")) == (0, 4)

    run(steps())
