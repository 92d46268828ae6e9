"""A call is sized, reserved, tried again, settled and told, whatever befalls it."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.config import Limits
from abyme.errors import (
    AbymeError,
    AuthError,
    BadReply,
    BudgetExceeded,
    CallTimeout,
    EndpointError,
    JournalError,
    ModelError,
    RateLimited,
    WindowExceeded,
)
from abyme.events import (
    AttemptFailed,
    CallEnded,
    CallKind,
    CallRefused,
    CallStarted,
    Event,
    SurrogatesReplaced,
)
from abyme.ledger import Account, Amount
from abyme.models.base import Model, OnText, Request
from abyme.models.caller import Caller
from abyme.models.prices import Price
from abyme.models.retry import RetryPolicy, may_be_billed
from abyme.models.scheduler import Scheduler
from abyme.models.sizing import LEAST_HELD, MOST_HELD
from abyme.types import Message, Reply, Usage

PRICE = Price(input=1.0, cached=0.1, output=10.0)
HANG = "hang"
Step = str | Reply | BaseException
E = TypeVar("E", bound=Event)


class Played:
    """Plays one step an attempt, the last one again and again; sees what was asked."""

    name = "played"
    endpoint = "http://played"
    window = 10_000
    max_output = 1000

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.asked: list[Request] = []
        self.on_ask: Callable[[], None] = lambda: None

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        self.asked.append(request)
        self.on_ask()
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        await asyncio.sleep(0)
        if step is HANG:
            await asyncio.Event().wait()
        if isinstance(step, BaseException):
            raise step
        if on_text is not None and isinstance(step, str):
            on_text(step)
        return step if isinstance(step, Reply) else Reply(step, Usage(100, 50, calls=1))

    async def close(self) -> None:
        pass


class Bench:
    """A caller with all its parts, and what it told."""

    def __init__(
        self,
        *,
        price: Price | None = PRICE,
        share: float = 0.5,
        chance: float = 0.0,
        **limits: Any,
    ) -> None:
        self.limits = Limits(**limits)
        self.account = Account(self.limits)
        self.scheduler = Scheduler()
        self.events: list[Event] = []
        self.waits: list[float] = []
        self.broken: type[Event] | None = None
        self.caller = Caller(
            self.account,
            self.scheduler,
            self.emit,
            self.limits,
            price_of=lambda model: price,
            policy=RetryPolicy(share=share, chance=lambda: chance),
            sleep=self.sleep,
        )

    def emit(self, event: Event) -> None:
        if self.broken is not None and isinstance(event, self.broken):
            raise JournalError("the disk is full")
        self.events.append(event)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def ask(self, model: Model, prompt: str = "why?", **more: Any) -> Reply:
        request = more.pop("request", None) or Request((Message("user", prompt),), "sub")
        return await self.caller.call(
            model, request, key="0/1", node="0", cell=1, kind="llm_query", **more
        )

    def told(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def ended(self) -> CallEnded:
        (event,) = self.told(CallEnded)
        return event

    def nothing_is_left_open(self) -> None:
        state = self.account.snapshot()
        assert all(not line["reserved"] for line in state.values()), state
        assert self.scheduler.in_flight(Played.endpoint) == 0
        assert len(self.told(CallStarted)) == len(self.told(CallEnded))
        told = sum((event.usage for event in self.told(CallEnded)), Usage())
        assert told == self.account.usage


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(steps, 20))


async def soon() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


# -- the ordinary case ---------------------------------------------------------------------------


def test_a_reply_is_settled_by_what_the_endpoint_counted() -> None:
    async def steps() -> None:
        bench = Bench()
        reply = await bench.ask(Played("because"), prompt="why?", on_text=None)
        assert reply.text == "because"
        assert bench.account.usage == Usage(100, 50, calls=1)
        assert bench.account.cost == pytest.approx((100 + 500) / 1e6)
        started, ended = bench.events
        assert isinstance(started, CallStarted)
        assert (started.key, started.model, started.messages) == ("0/1", "played", 1)
        assert started.max_tokens == 1000
        assert started.reserved_tokens == 1003  # 1.25 × 2 tokens, and the output
        assert started.reserved_cost == pytest.approx((3 + 10_000) / 1e6)
        assert isinstance(ended, CallEnded)
        assert (ended.text, ended.attempts, ended.error, ended.charged) == ("because", 1, "", False)
        assert ended.cost == bench.account.cost
        bench.nothing_is_left_open()

    run(steps())


def test_streamed_text_is_passed_on() -> None:
    async def steps() -> None:
        pieces: list[str] = []
        await Bench().ask(Played("because"), on_text=pieces.append)
        assert pieces == ["because"]

    run(steps())


def test_an_unknown_price_stays_unknown() -> None:
    async def steps() -> None:
        bench = Bench(price=None)
        await bench.ask(Played("because"))
        assert bench.ended.cost is None
        assert bench.account.cost is None
        assert bench.told(CallStarted)[0].reserved_cost is None

    run(steps())


def test_an_endpoint_that_counts_nothing_is_estimated() -> None:
    async def steps() -> None:
        bench = Bench()
        await bench.ask(Played(Reply("x" * 35, Usage(calls=1))), prompt="y" * 70)
        assert bench.account.usage == Usage(20, 10, calls=1, estimated=True)

    run(steps())


# -- sized before it is sent ---------------------------------------------------------------------


def test_a_prompt_beyond_the_window_is_refused_in_characters() -> None:
    async def steps() -> None:
        bench, model = Bench(), Played("no")
        with pytest.raises(WindowExceeded) as caught:
            await bench.ask(model, prompt="x" * 70_000)
        assert str(caught.value) == (
            "the prompt has 70,000 characters; played takes about 31,500: cut it"
        )
        assert ([type(event) for event in bench.events], model.asked) == ([CallRefused], [])

    run(steps())


def test_lone_surrogates_are_replaced_and_told() -> None:
    async def steps() -> None:
        bench, model = Bench(), Played("fine")
        await bench.ask(model, prompt="a\ud800b\udfffc é")
        assert model.asked[0].messages[0].text == "a\ufffdb\ufffdc é"
        assert bench.told(SurrogatesReplaced) == [SurrogatesReplaced("0/1", 2)]

    run(steps())


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 1000),
        ({"max_tokens": 703}, 700),  # 3 of them are for the prompt
        ({"max_cost": 0.005003}, 500),
    ],
)
def test_max_tokens_is_the_models_most_or_what_is_left(
    limits: dict[str, Any], expected: int
) -> None:
    async def steps() -> None:
        bench, model = Bench(**limits), Played("fine")
        await bench.ask(model)
        assert model.asked[0].max_tokens == expected

    run(steps())


def test_max_tokens_asked_for_is_kept_below_the_models_most() -> None:
    async def steps() -> None:
        bench, model = Bench(max_tokens=1200), Played("fine")
        messages = (Message("user", "why?"),)
        await bench.ask(model, request=Request(messages, "sub", 100))
        await bench.ask(model, request=Request(messages, "sub", 10_000))
        assert [request.max_tokens for request in model.asked] == [100, 1000]

    run(steps())


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (
            {"max_tokens": 200},
            "max_tokens: 200 of 200 tokens are left beside what is kept for the final "
            "answer; this call needs about 3 tokens in and 256 out; "
            "raise it with --max-tokens",
        ),
        (
            {"max_cost": 0.002},
            "max_cost: $0.0020 of $0.002 are left beside what is kept for the final "
            "answer; this call needs about 3 tokens in and 256 out; "
            "raise it with --max-cost",
        ),
    ],
)
def test_a_reply_too_short_to_be_of_use_is_not_asked_for(limits: dict[str, Any], line: str) -> None:
    async def steps() -> None:
        bench, model = Bench(**limits), Played("no")
        with pytest.raises(BudgetExceeded) as caught:
            await bench.ask(model)
        assert str(caught.value) == line
        assert ([type(event) for event in bench.events], model.asked) == ([CallRefused], [])

    run(steps())


def test_one_that_waited_for_a_neighbour_takes_what_that_one_left() -> None:
    async def steps() -> None:
        bench, model = Bench(max_tokens=1200), Played(Reply("r", Usage(600, 0, calls=1)))
        await asyncio.gather(bench.ask(model), bench.ask(model))
        assert [request.max_tokens for request in model.asked] == [1000, 597]
        bench.nothing_is_left_open()

    run(steps())


@pytest.mark.parametrize(
    ("most", "output"), [(None, MOST_HELD), (16_000, 997), (1000, LEAST_HELD), (10**9, MOST_HELD)]
)
def test_what_is_held_is_a_sixteenth_of_what_is_left_within_bounds(
    most: int | None, output: int
) -> None:
    async def steps() -> None:
        bench, model = Bench(max_tokens=most), Played("fine")
        model.max_output = 10_000
        request = Request((Message("user", "why?"),))
        amount = bench.caller.sizing.last_call(model, request)
        assert amount.output_tokens == output
        if most != 1000:
            await bench.ask(model, request=Request(request.messages, max_tokens=output))
            (started,) = bench.told(CallStarted)
            assert amount == Amount(started.reserved_tokens, started.reserved_cost, 1, output)

    run(steps())


def test_the_final_call_may_use_what_is_held() -> None:
    async def steps() -> None:
        bench, model = Bench(max_tokens=1003), Played("fine")
        bench.account.hold(Amount(900))
        with pytest.raises(BudgetExceeded):
            await bench.ask(model)
        await bench.ask(model, final=True)
        assert model.asked[0].max_tokens == 1000

    run(steps())


def test_no_more_calls_than_the_width_are_in_flight() -> None:
    async def steps() -> None:
        bench, model = Bench(max_width=3), Played("fine")
        most = 0

        def look() -> None:
            nonlocal most
            most = max(most, bench.scheduler.in_flight(Played.endpoint))

        model.on_ask = look
        await asyncio.gather(*(bench.ask(model) for _ in range(20)))
        assert most == 3
        bench.nothing_is_left_open()

    run(steps())


# -- tried again ---------------------------------------------------------------------------------


def test_what_may_pass_is_tried_again_and_told() -> None:
    async def steps() -> None:
        bench = Bench(chance=1.0)
        down, slow = EndpointError("down", status=503), RateLimited("slow", retry_after=0.01)
        assert (await bench.ask(Played(down, slow, "fine"))).text == "fine"
        assert bench.told(AttemptFailed) == [
            AttemptFailed("0/1", 1, "down", 503, 0.5),
            AttemptFailed("0/1", 2, "slow", None, 0.51),
        ]
        assert bench.waits == [0.5, 0.51]

    run(steps())


def test_what_was_refused_costs_nothing() -> None:
    async def steps() -> None:
        bench = Bench()
        await bench.ask(Played(EndpointError("down", status=500), RateLimited("slow"), "fine"))
        assert bench.account.usage == Usage(100, 50, calls=1)
        assert (bench.ended.attempts, bench.ended.charged) == (3, False)
        bench.nothing_is_left_open()

    run(steps())


def test_what_was_dropped_in_flight_is_charged_and_counts_as_the_same_call() -> None:
    async def steps() -> None:
        bench = Bench()
        await bench.ask(Played(EndpointError("dropped"), "fine"))
        assert bench.account.usage == Usage(103, 1050, calls=1, estimated=True)
        assert bench.ended.charged
        assert bench.ended.cost == bench.account.cost
        bench.nothing_is_left_open()

    run(steps())


def test_a_hung_attempt_is_cut_charged_and_tried_again() -> None:
    async def steps() -> None:
        bench = Bench(share=0.0005)  # of 600 s
        assert (await bench.ask(Played(HANG, "fine"))).text == "fine"
        (failed,) = bench.told(AttemptFailed)
        assert failed.error == "no reply from played in its time"
        assert bench.ended.charged
        bench.nothing_is_left_open()

    run(steps())


def test_a_call_that_hangs_to_its_deadline_says_so() -> None:
    async def steps() -> None:
        bench = Bench(call_seconds=0.05)
        with pytest.raises(CallTimeout) as caught:
            await bench.ask(Played(EndpointError("dropped"), HANG))
        assert str(caught.value) == (
            "no reply from played within 0.05 s; the last error was: no reply from "
            "played in its time"
        )
        assert bench.ended.error_type == "CallTimeout"
        bench.nothing_is_left_open()

    run(steps())


def test_a_wait_beyond_the_deadline_is_not_waited_for() -> None:
    async def steps() -> None:
        bench = Bench(call_seconds=5.0)
        with pytest.raises(CallTimeout, match="within 5 s; the last error was: come back later"):
            await bench.ask(Played(RateLimited("come back later", retry_after=60.0)))
        assert bench.waits == []
        assert bench.account.usage == Usage()
        bench.nothing_is_left_open()

    run(steps())


def test_a_wait_beyond_the_runs_time_names_that_time() -> None:
    async def steps() -> None:
        bench = Bench(call_seconds=600.0, max_seconds=30.0)
        with pytest.raises(CallTimeout, match=r"\(max_seconds\); the last error was: later"):
            await bench.ask(Played(RateLimited("later", retry_after=60.0)))
        bench.nothing_is_left_open()

    run(steps())


def test_the_runs_time_ends_a_call_too() -> None:
    async def steps() -> None:
        bench = Bench(max_seconds=0.3)
        with pytest.raises(CallTimeout, match="within the run's time") as caught:
            await bench.ask(Played(HANG), final=True)
        assert caught.value.advice == "check the server, or raise --max-seconds"
        with pytest.raises(BudgetExceeded, match="max_seconds"):
            await bench.ask(Played("late"), final=True)
        bench.nothing_is_left_open()

    run(steps())


def test_a_wait_beyond_the_runs_time_names_that_and_not_the_calls_seconds() -> None:
    async def steps() -> None:
        bench = Bench(max_seconds=3.0, call_seconds=600.0)
        with pytest.raises(CallTimeout, match=r"within the run's time \(max_seconds\); .*later"):
            await bench.ask(Played(RateLimited("come back later", retry_after=60.0)))
        assert bench.waits == []
        bench.nothing_is_left_open()

    run(steps())


def test_who_waits_for_the_end_of_another_node_leaves_its_turn_to_that() -> None:
    async def steps() -> None:
        bench, model = Bench(max_tokens=10_000, max_width=1), Played("fine")
        account = bench.account.child("0.1", Limits())
        child = bench.caller.child(account)
        account.hold(Amount(9_500))
        waiting = asyncio.create_task(bench.ask(model))
        await asyncio.sleep(0)
        assert not waiting.done()
        request = Request((Message("user", "why?"),), max_tokens=300)
        reply = await child.call(model, request, key="k2", node="0.1", cell=1, kind="llm_query")
        assert reply.text == "fine" and not waiting.done()
        account.close()
        assert (await waiting).text == "fine"
        bench.nothing_is_left_open()

    run(steps())


def test_429_is_tried_again_without_end_and_others_six_times() -> None:
    async def steps() -> None:
        bench = Bench()
        await bench.ask(Played(*[RateLimited("slow")] * 50, "fine"))
        assert bench.ended.attempts == 51
        bench = Bench()
        with pytest.raises(EndpointError, match="down"):
            await bench.ask(Played(EndpointError("down", status=500)))
        assert bench.ended.attempts == 6
        assert bench.account.usage == Usage()
        bench.nothing_is_left_open()

    run(steps())


def away() -> EndpointError:
    error = EndpointError("cannot reach it: connection refused")
    error.__cause__ = OSError(errno.ECONNREFUSED, "refused")
    return error


def test_an_endpoint_that_has_answered_and_is_away_is_waited_for() -> None:
    async def steps() -> None:
        bench = Bench(chance=1.0)
        gone = [away(), EndpointError("bad gateway", status=502)] * 20
        await bench.ask(Played("fine"))
        assert (await bench.ask(Played(*gone, "back"))).text == "back"
        assert bench.waits == [0.5, 1.0, 2.0, 4.0] + [5.0] * 36
        bench.nothing_is_left_open()

    run(steps())


def test_while_it_is_away_what_failed_otherwise_still_counts() -> None:
    async def steps() -> None:
        bench = Bench()
        await bench.ask(Played("fine"))
        failures = [step for _ in range(6) for step in (away(), EndpointError("down", status=500))]
        with pytest.raises(EndpointError, match="down"):
            await bench.ask(Played(*failures, "too late"))
        assert bench.told(CallEnded)[-1].attempts == 12
        bench.nothing_is_left_open()

    run(steps())


def test_one_that_has_never_answered_is_given_up_soon() -> None:
    async def steps() -> None:
        bench = Bench()
        with pytest.raises(EndpointError, match="connection refused"):
            await bench.ask(Played(away()))
        assert bench.ended.attempts == 6
        bench.nothing_is_left_open()

    run(steps())


def test_the_callers_of_a_tree_share_its_width_and_take_turns_by_depth() -> None:
    async def steps() -> None:
        bench, model = Bench(max_width=2), Played("fine")
        deep = bench.caller.child(Account(bench.limits, parent=bench.account))
        order: list[str] = []
        most = 0

        def look() -> None:
            nonlocal most
            most = max(most, bench.scheduler.in_flight(Played.endpoint))

        model.on_ask = look

        async def ask(caller: Caller, kind: CallKind, number: int) -> None:
            request = Request((Message("user", "why?"),), "sub")
            key = f"{kind}/{number}"
            await caller.call(model, request, key=key, node="0", cell=1, kind=kind)
            order.append(kind)

        asking = [asyncio.create_task(ask(deep, "llm_query", n)) for n in range(50)]
        await soon()
        before = len(order)
        await ask(bench.caller, "root", 0)
        assert order.index("root") - before <= 6
        await asyncio.gather(*asking)
        assert most == 2
        assert bench.account.usage.calls == 51
        bench.nothing_is_left_open()

    run(steps())


def test_an_empty_reply_is_paid_for_and_tried_again_twice() -> None:
    async def steps() -> None:
        bench = Bench()
        with pytest.raises(BadReply, match="played gave an empty reply"):
            await bench.ask(Played(" \n"))
        assert bench.ended.attempts == 3
        assert bench.account.usage == Usage(300, 150, calls=1)
        bench.nothing_is_left_open()

    run(steps())


def test_what_will_not_pass_is_raised_at_once() -> None:
    async def steps() -> None:
        bench, model = Bench(), Played(AuthError("wrong key", status=401))
        with pytest.raises(AuthError):
            await bench.ask(model)
        assert len(model.asked) == 1
        assert (bench.ended.error, bench.ended.error_type) == ("wrong key", "AuthError")
        assert bench.account.usage == Usage()
        bench.nothing_is_left_open()

    run(steps())


def test_a_fault_in_a_model_is_a_model_error() -> None:
    async def steps() -> None:
        bench = Bench()
        with pytest.raises(ModelError, match="played broke with ZeroDivisionError: oops"):
            await bench.ask(Played(ZeroDivisionError("oops")))
        bench.nothing_is_left_open()

    run(steps())


def test_the_budget_binds_between_attempts() -> None:
    async def steps() -> None:
        bench = Bench(max_tokens=1200)
        with pytest.raises(BudgetExceeded, match=r"max_tokens: .*an attempt that failed: dropped"):
            await bench.ask(Played(EndpointError("dropped")))
        assert bench.ended.error_type == "BudgetExceeded"
        bench.nothing_is_left_open()

    run(steps())


# -- cancelled, and events that cannot be written ------------------------------------------------


def test_cancelled_in_flight_it_is_charged_and_told() -> None:
    async def steps() -> None:
        bench = Bench()
        task = asyncio.create_task(bench.ask(Played(HANG)))
        await soon()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (bench.ended.error, bench.ended.charged) == ("cancelled", True)
        assert bench.account.usage == Usage(3, 1000, calls=1, estimated=True)
        bench.nothing_is_left_open()

    run(steps())


def test_cancelled_before_it_was_sent_it_costs_nothing() -> None:
    async def steps() -> None:
        bench, model = Bench(max_width=1), Played(HANG)
        first = asyncio.create_task(bench.ask(model))
        second = asyncio.create_task(bench.ask(model))
        await soon()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert bench.account.usage == Usage()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert len(model.asked) == 1
        bench.nothing_is_left_open()

    run(steps())


@pytest.mark.parametrize("broken", [CallStarted, AttemptFailed, CallEnded, SurrogatesReplaced])
def test_a_full_disk_leaks_nothing(broken: type[Event]) -> None:
    async def steps() -> None:
        bench = Bench()
        bench.broken = broken
        with pytest.raises(JournalError):
            await bench.ask(Played(EndpointError("dropped"), "fine"), prompt="\ud800")
        state = bench.account.snapshot()
        assert all(not line["reserved"] for line in state.values())
        assert bench.scheduler.in_flight(Played.endpoint) == 0

    run(steps())


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 15))
def test_no_interleaving_leaks_or_leaves_a_call_untold(seed: int, calls: int, cancels: int) -> None:
    chance = random.Random(seed)

    class Wild(Played):
        async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            failures = (EndpointError("d"), RateLimited("r"), BadReply("b"), AuthError("a"))
            if chance.random() < 0.4:
                raise chance.choice(failures)
            # As an endpoint bills: what was sent (three tokens here), and no more than was allowed.
            most = min(300, request.max_tokens or 300)
            return Reply("fine", Usage(3, chance.randrange(most + 1)))

    async def steps() -> None:
        bench = Bench(max_tokens=20_000, max_calls=30, max_width=5)
        running = [asyncio.create_task(bench.ask(Wild(""))) for _ in range(calls)]
        for _ in range(cancels):
            await asyncio.sleep(0)
            chance.choice(running).cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for task in running:
            error = None if task.cancelled() else task.exception()
            assert error is None or isinstance(error, AbymeError), error
        bench.nothing_is_left_open()
        assert bench.account.usage.calls <= 30
        assert bench.account.usage.tokens <= 20_000

    run(steps())


# -- the policy ----------------------------------------------------------------------------------


def test_waits_double_with_full_jitter_up_to_the_cap() -> None:
    failures: list[ModelError] = []
    most = RetryPolicy(chance=lambda: 1.0)
    least = RetryPolicy(chance=lambda: 0.0)
    waits = []
    for _ in range(9):
        failures.append(RateLimited("slow"))
        waits.append(most.wait(failures))
        assert least.wait(failures) == 0.0
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert most.wait(failures * 500) == 30


def test_retry_after_is_the_least_wait() -> None:
    failures: list[ModelError] = [RateLimited("slow", retry_after=45.0)]
    assert RetryPolicy(chance=lambda: 0.0).wait(failures) == 45.0
    assert RetryPolicy(chance=lambda: 1.0).wait(failures) == 45.5


def refused(code: int) -> EndpointError:
    error = EndpointError("cannot reach it")
    error.__cause__ = OSError(code, "as the system says")
    return error


@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (CallTimeout("hung"), True),
        (BadReply("HTML"), True),
        (EndpointError("dropped"), True),
        (refused(errno.ECONNRESET), True),
        (refused(errno.ECONNREFUSED), False),
        (refused(-2), False),  # the name does not resolve
        (EndpointError("down", status=500), False),
        (RateLimited("slow", status=429), False),
        (AuthError("wrong key", status=401), False),
        (ModelError("no such thing", status=400), False),
    ],
)
def test_only_what_was_sent_and_not_refused_may_be_billed(error: ModelError, billed: bool) -> None:
    assert may_be_billed(error) is billed
