"""Equal requests are asked once, and only those that are equal."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.errors import EndpointError
from abyme.models.base import Request
from abyme.models.reply_cache import ReplyCache, cache_key
from abyme.types import Message, Reply

REQUEST = Request((Message("system", "be brief"), Message("user", "why?")), "sub", 100)


def key(**other: Any) -> str:
    parts: dict[str, Any] = {"run": "r", "seed": 7, "model": "m", "request": REQUEST, "sample": 0}
    return cache_key(**(parts | other))


def with_messages(*messages: Message) -> Request:
    return msgspec.structs.replace(REQUEST, messages=messages)


@pytest.mark.parametrize(
    "other",
    [
        {"run": "s"},
        {"seed": 8},
        {"model": "n"},
        {"sample": 1},
        {"request": msgspec.structs.replace(REQUEST, max_tokens=None)},
        {"request": with_messages(Message("user", "be brief"), Message("user", "why?"))},
        {"request": with_messages(Message("system", "be brief"), Message("user", "why"))},
        {"request": with_messages(Message("system", "be briefwhy?"))},
        {"request": with_messages(Message("user", "\ud800"))},
    ],
)
def test_whatever_differs_is_another_key(other: dict[str, Any]) -> None:
    assert key(**other) != key()


def test_equal_requests_have_equal_keys() -> None:
    again = Request(
        (Message("system", "be brief"), Message("user", "why?")), purpose="root", max_tokens=100
    )
    assert key(request=again) == key()
    assert key(request=with_messages(Message("user", "\ud800é"))) != key(
        request=with_messages(Message("user", "\\ud800é"))
    )


class Model:
    """Counts what is asked; answers when ``gate`` opens, with ``error`` where there is one."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> Reply:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Reply(f"reply {self.asked}")


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(steps, 20))


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_equal_calls_are_made_once_at_the_same_time_and_later() -> None:
    async def steps() -> None:
        cache, model = ReplyCache(), Model()
        asking = [asyncio.create_task(cache.ask("k", model)) for _ in range(50)]
        await soon()
        model.gate.set()
        replies = await asyncio.gather(*asking)
        assert model.asked == 1
        assert {reply.text for reply, _ in replies} == {"reply 1"}
        assert [cached for _, cached in replies] == [False] + [True] * 49
        assert await cache.ask("k", model) == (Reply("reply 1"), True)
        assert await cache.ask("other", model) == (Reply("reply 2"), False)
        assert len(cache) == 2

    run(steps())


def test_a_reply_that_is_known_is_not_asked_for() -> None:
    async def steps() -> None:
        cache, model = ReplyCache(), Model()
        cache.put("k", Reply("from the journal"))
        assert await cache.ask("k", model) == (Reply("from the journal"), True)
        assert model.asked == 0

    run(steps())


def test_a_failure_is_told_to_those_that_wait_and_not_kept() -> None:
    async def steps() -> None:
        cache, model = ReplyCache(), Model()
        model.error = EndpointError("down")
        asking = [asyncio.create_task(cache.ask("k", model)) for _ in range(9)]
        await soon()
        model.gate.set()
        ended = await asyncio.gather(*asking, return_exceptions=True)
        assert ended == [model.error] * 9
        assert model.asked == 1
        model.error = None
        assert await cache.ask("k", model) == (Reply("reply 2"), False)

    run(steps())


def test_where_the_one_that_asks_is_cancelled_the_next_asks() -> None:
    async def steps() -> None:
        cache, model = ReplyCache(), Model()
        first, second, third = (asyncio.create_task(cache.ask("k", model)) for _ in range(3))
        await soon()
        first.cancel()
        await soon()
        assert (model.asked, first.cancelled()) == (2, True)
        third.cancel()
        await soon()
        model.gate.set()
        assert await second == (Reply("reply 2"), False)
        assert third.cancelled()

    run(steps())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 20))
def test_no_interleaving_asks_twice_at_once_or_leaves_one_waiting(
    seed: int, calls: int, cancels: int
) -> None:
    chance = random.Random(seed)
    out: set[str] = set()

    def asks(key: str) -> Callable[[], Awaitable[Reply]]:
        async def call() -> Reply:
            assert key not in out
            out.add(key)
            try:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                if chance.random() < 0.3:
                    raise EndpointError("down")
                return Reply(key)
            finally:
                out.discard(key)

        return call

    async def steps() -> None:
        cache = ReplyCache()
        keys = [chance.choice("abc") for _ in range(calls)]
        asking = [asyncio.create_task(cache.ask(key, asks(key))) for key in keys]
        for _ in range(cancels):
            await asyncio.sleep(0)
            chance.choice(asking).cancel()
        ended = await asyncio.gather(*asking, return_exceptions=True)
        for key, end in zip(keys, ended, strict=True):
            if isinstance(end, BaseException):
                assert isinstance(end, EndpointError | asyncio.CancelledError)
            else:
                assert end[0].text == key
        assert not cache._asking

    run(steps())
