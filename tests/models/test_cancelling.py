"""Cancelled wherever it is, a call is over at once and leaves no task, socket or place behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from abyme.config import Limits
from abyme.events import CallEnded, CallStarted, Event
from abyme.ledger import Account
from abyme.models.base import Request
from abyme.models.caller import Caller
from abyme.models.openai import OpenAIModel
from abyme.models.scheduler import Scheduler
from abyme.models.transport import Transport
from abyme.types import Message
from support.calls import until
from support.stub import Action, Hang, Reply, Status, Stub, StubRequest

CALLS = 300


class Bench:
    """A run's caller at a stub, over real sockets."""

    def __init__(self, url: str, **limits: Any) -> None:
        limits.setdefault("max_calls", None)
        self.transport = Transport()
        self.model = OpenAIModel("m", base_url=url, transport=self.transport)
        self.scheduler = Scheduler()
        self.events: list[Event] = []
        self.account = Account(Limits(**limits))
        self.caller = Caller(self.account, self.scheduler, self.events.append, self.account.limits)

    def start(self, calls: int) -> list[asyncio.Task[Any]]:
        return [asyncio.create_task(self._ask(number)) for number in range(calls)]

    async def _ask(self, number: int) -> Any:
        request = Request((Message("user", f"part {number}"),), "sub")
        key = f"0/1/{number}"
        return await self.caller.call(
            self.model, request, key=key, node="0", cell=1, kind="llm_query"
        )

    async def cancel(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Cancel them; they are over long before something that takes its time."""
        long = asyncio.create_task(asyncio.sleep(5))
        for task in tasks:
            task.cancel()
        for task in tasks:
            await asyncio.wait([task, long], return_when=asyncio.FIRST_COMPLETED)
        assert not long.done()
        assert all(task.cancelled() for task in tasks)
        long.cancel()
        await asyncio.wait([long])

    async def nothing_is_left(self, stub: Stub) -> None:
        """No place, reservation, task or socket; and every call that began has been told to end."""
        endpoint = self.model.endpoint
        assert self.scheduler.in_flight(endpoint) == self.scheduler.waiting(endpoint) == 0
        assert self.caller._share.begun == 0
        assert not any(line["reserved"] for line in self.account.snapshot().values())
        assert asyncio.all_tasks() == {asyncio.current_task()}
        kinds = [type(event) for event in self.events]
        assert kinds.count(CallStarted) == kinds.count(CallEnded)
        await self.transport.close()
        await until(lambda: stub.open_connections == 0)


def run(steps: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(30):
            await steps

    asyncio.run(in_time())


def hang(request: StubRequest) -> Action:
    return Hang()


def limited(request: StubRequest) -> Action:
    return Status(429, "later", {"Retry-After": "500"})


def failing(request: StubRequest) -> Action:
    return Status(503, "away")


def nothing_left(request: StubRequest) -> Action:
    if request.index:
        return Hang()
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9m"}
    return Status(200, {"choices": [{"message": {"content": "fine"}}]}, headers)


@pytest.mark.parametrize("max_width", [None, 4, 200])
@pytest.mark.parametrize("script", [hang, limited, failing])
def test_calls_in_every_queue_between_attempts_and_in_flight(
    script: Callable[[StubRequest], Action], max_width: int | None
) -> None:
    async def steps() -> None:
        with Stub(script) as stub:
            bench = Bench(stub.url, max_width=max_width)
            tasks = bench.start(CALLS)
            await until(lambda: len(stub.requests) >= 4)
            await bench.cancel(tasks)
            await bench.nothing_is_left(stub)
            assert len(stub.requests) < CALLS, "most of them were waiting"

    run(steps())


def test_calls_that_wait_for_a_reset() -> None:
    async def steps() -> None:
        with Stub(nothing_left) as stub:
            bench = Bench(stub.url, max_width=1)
            await asyncio.gather(*bench.start(1))
            tasks = bench.start(CALLS)
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(stub.requests) == 1, "nothing goes out"
            await bench.cancel(tasks)
            await bench.nothing_is_left(stub)

    run(steps())


def test_calls_that_wait_for_budget() -> None:
    async def steps() -> None:
        with Stub(hang) as stub:
            bench = Bench(stub.url, max_tokens=10_000, max_width=100)
            tasks = bench.start(CALLS)
            await until(lambda: len(stub.requests) >= 1)
            await bench.cancel(tasks)
            await bench.nothing_is_left(stub)

    run(steps())


def test_calls_that_are_being_answered() -> None:
    async def steps() -> None:
        with Stub(lambda request: Reply("fine", latency=0.001 * (request.index % 7))) as stub:
            bench = Bench(stub.url)
            tasks = bench.start(2_000)
            await until(lambda: len(stub.requests) >= 300)
            unfinished = [task for task in tasks if not task.done()]
            assert unfinished
            for task in unfinished:
                task.cancel()
            await asyncio.wait(tasks)
            await bench.nothing_is_left(stub)

    run(steps())


def test_what_is_left_of_a_run_works_on() -> None:
    """Cancelling some of the calls frees their places for the others."""

    def script(request: StubRequest) -> Action:
        number = int(request.prompt.split()[1])
        return Hang() if number % 2 else Reply("fine")

    async def steps() -> None:
        with Stub(script) as stub:
            bench = Bench(stub.url, max_width=8)
            tasks = bench.start(CALLS)
            await until(lambda: stub.in_flight == 8)
            await bench.cancel(tasks[1::2])
            replies = await asyncio.gather(*tasks[::2])
            assert {reply.text for reply in replies} == {"fine"}
            await bench.nothing_is_left(stub)

    run(steps())
