"""The scheduler bounds what is in flight at an endpoint, fairly, and loses no place."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.errors import EndpointError, RateLimited
from abyme.models.scheduler import Scheduler


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(steps, 20))


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def refuse(scheduler: Scheduler, retry_after: float | None = None) -> None:
    with pytest.raises(RateLimited):
        async with scheduler.slot("e", 1):
            raise RateLimited("429", retry_after=retry_after)


async def stay(scheduler: Scheduler, until: asyncio.Event, width: int = 1) -> None:
    async with scheduler.slot("e", width):
        await until.wait()


def test_no_more_than_the_width_is_in_flight_and_waiters_are_served_in_order() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=3)
        order: list[int] = []
        most = 0

        async def work(number: int) -> None:
            nonlocal most
            async with scheduler.slot("e", 3):
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
        scheduler = Scheduler(start=1)
        async with scheduler.slot("", 1), scheduler.slot("", 1):
            pass

    run(steps())


def test_endpoints_do_not_wait_for_each_other() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=1)
        async with scheduler.slot("a", 1), scheduler.slot("b", 1):
            assert scheduler.in_flight("a") == scheduler.in_flight("b") == 1

    run(steps())


def test_a_run_that_asks_for_more_width_gets_it_until_the_endpoint_refuses() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=4, most=100)
        async with scheduler.slot("e", 50):
            assert scheduler.limit("e") == 50
        async with scheduler.slot("e", 5000):
            assert scheduler.limit("e") == 100
        await refuse(scheduler)
        async with scheduler.slot("e", 5000):
            assert scheduler.limit("e") == 50

    run(steps())


def test_refusals_halve_once_a_round_trip_and_never_below_one() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=16)
        gate = asyncio.Event()

        async def refused_later() -> None:
            with pytest.raises(RateLimited):
                async with scheduler.slot("e", 1):
                    await gate.wait()
                    raise RateLimited("429")

        together = [asyncio.create_task(refused_later()) for _ in range(10)]
        await soon()
        gate.set()
        await asyncio.gather(*together)
        assert scheduler.limit("e") == 8
        for expected in (4, 2, 1, 1, 1):
            await refuse(scheduler)
            assert scheduler.limit("e") == expected

    run(steps())


def test_a_window_of_successes_adds_one_and_other_failures_add_nothing() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=2, most=3)
        for _ in range(2):
            async with scheduler.slot("e", 1):
                pass
        assert scheduler.limit("e") == 3
        for _ in range(20):
            async with scheduler.slot("e", 1):
                pass
        assert scheduler.limit("e") == 3
        await refuse(scheduler)
        assert scheduler.limit("e") == 1
        for _ in range(5):
            with pytest.raises(EndpointError):
                async with scheduler.slot("e", 1):
                    raise EndpointError("500")
        assert scheduler.limit("e") == 1

    run(steps())


def test_a_width_that_nobody_uses_does_not_grow() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=10)
        for _ in range(100):
            async with scheduler.slot("e", 1):
                pass
        assert scheduler.limit("e") == 10

    run(steps())


def test_nothing_goes_out_before_the_time_the_endpoint_named() -> None:
    async def steps() -> None:
        scheduler = Scheduler(start=8)
        loop = asyncio.get_running_loop()
        before = loop.time()
        await refuse(scheduler, retry_after=0.2)
        await refuse_while_paused(scheduler)
        async with scheduler.slot("e", 1):
            assert loop.time() - before >= 0.2

    async def refuse_while_paused(scheduler: Scheduler) -> None:
        waiting = asyncio.create_task(stay(scheduler, asyncio.Event()))
        await soon()
        assert scheduler.in_flight("e") == 0
        waiting.cancel()
        await soon()

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
        async with scheduler.slot("e", 1):
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
        async with scheduler.slot("e", 1):
            pass

    run(use())
    with pytest.raises(RuntimeError, match="one event loop"):
        run(use())
