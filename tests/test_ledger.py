"""The ledger binds under any interleaving: nothing over a limit, nothing leaked, first come first
served."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.config import Limits
from abyme.errors import BudgetExceeded
from abyme.ledger import Account, Amount, Reservation
from abyme.types import Usage
from support.ledger import account, run, soon


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def left(node: Account, kind: str) -> Any:
    return node.snapshot()[kind]["left"]


# -- one call ------------------------------------------------------------------------------------


def test_what_is_settled_is_charged_and_the_rest_of_the_reservation_is_free_again() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000, max_cost=1.0, max_calls=3)
        reservation = await node.reserve(Amount(600, 0.5, 1))
        assert (left(node, "tokens"), left(node, "cost"), left(node, "calls")) == (400, 0.5, 2)
        reservation.settle(Usage(100, 50), 0.1)
        assert (left(node, "tokens"), left(node, "cost"), left(node, "calls")) == (850, 0.9, 2)
        assert node.usage == Usage(100, 50, calls=1)
        assert node.cost == 0.1

    run(steps())


def test_what_is_released_costs_nothing() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        (await node.reserve(Amount(600, 0.5, 1))).release()
        assert node.usage == Usage()
        assert node.cost == 0.0
        assert left(node, "tokens") == 1000

    run(steps())


def test_what_is_charged_costs_its_reservation_and_is_marked_estimated() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        charged = (await node.reserve(Amount(600, 0.5, 1, 200))).charge()
        assert charged == node.usage == Usage(400, 200, calls=1, estimated=True)
        assert node.cost == 0.5

    run(steps())


def test_only_the_first_way_of_closing_a_reservation_counts() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        reservation = await node.reserve(Amount(600, 0.5, 1))
        reservation.settle(Usage(10, 10), 0.1)
        reservation.release()
        reservation.charge()
        reservation.settle(Usage(500, 500), 5.0)
        assert (node.usage.tokens, node.cost, left(node, "tokens")) == (20, 0.1, 980)

    run(steps())


def test_an_actual_above_its_reservation_is_counted_in_full_and_stops_what_follows() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        (await node.reserve(Amount(600))).settle(Usage(900, 600), 0.0)
        line = node.snapshot()["tokens"]
        assert (line["used"], line["reserved"], line["limit"], line["left"]) == (1500, 0, 1000, 0)
        with pytest.raises(BudgetExceeded):
            await node.reserve(Amount(1))

    run(steps())


def test_an_unknown_price_is_reported_as_unknown_and_never_as_nothing() -> None:
    async def steps() -> None:
        node = account(max_cost=1.0)
        (await node.reserve(Amount(10, 0.25, 1))).settle(Usage(10), 0.25)
        (await node.reserve(Amount(10, None, 1))).settle(Usage(10), None)
        assert node.cost is None
        line = node.snapshot()["cost"]
        assert (line["used"], line["limit"], line["left"]) == (None, 1.0, None)
        with pytest.raises(BudgetExceeded):  # what is known still binds
            await node.reserve(Amount(10, 0.8, 1))

    run(steps())


@pytest.mark.parametrize("amount", [{"tokens": -1}, {"cost": -0.1}, {"calls": -1}])
def test_an_amount_cannot_be_negative(amount: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="negative"):
        Amount(**amount)


def test_a_million_small_sums_come_back_to_zero() -> None:
    async def steps() -> None:
        node = account(max_cost=5.0)
        held = [await node.reserve(Amount(1, 0.0000123, 1)) for _ in range(1000)]
        random.Random(1).shuffle(held)
        for reservation in held:
            reservation.release()
        assert left(node, "cost") == 5.0

    run(steps())


# -- refusing and waiting ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "amount", "line"),
    [
        (
            {"max_calls": 2},
            Amount(calls=2),
            "max_calls: 1 of 2 calls are used, this call may need 2; raise it with --max-calls",
        ),
        (
            {"max_tokens": 1100},
            Amount(5000),
            "max_tokens: 1,000 of 1,100 tokens are used, this call may need 5,000; "
            "raise it with --max-tokens",
        ),
        (
            {"max_cost": 2.0},
            Amount(cost=1.25),
            "max_cost: $1 of $2 are used, this call may need $1.25; raise it with --max-cost",
        ),
    ],
)
def test_a_refusal_is_one_line_that_names_limit_value_ask_and_argument(
    limits: dict[str, Any], amount: Amount, line: str
) -> None:
    async def steps() -> None:
        node = account(**limits)
        (await node.reserve(Amount(1000, 1.0, 1))).settle(Usage(1000), 1.0)
        with pytest.raises(BudgetExceeded) as caught:
            await node.reserve(amount)
        assert str(caught.value) == line
        assert caught.value.limit == next(iter(limits))

    run(steps())


def test_a_call_that_fits_alone_waits_for_those_in_flight() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        first = await node.reserve(Amount(800))
        second = asyncio.create_task(node.reserve(Amount(500)))
        await soon()
        assert not second.done()
        first.settle(Usage(300), 0.0)
        assert (await second).amount.tokens == 500

    run(steps())


def test_one_that_can_never_fit_is_refused_at_once_and_disturbs_nobody() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        first = await node.reserve(Amount(800))
        with pytest.raises(BudgetExceeded):
            await node.reserve(Amount(1001))
        first.release()
        assert left(node, "tokens") == 1000

    run(steps())


def test_one_that_waits_is_refused_as_soon_as_it_cannot_fit_any_more() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        first = await node.reserve(Amount(800))
        other = await node.reserve(Amount(100))
        waiting = asyncio.create_task(node.reserve(Amount(500)))
        await soon()
        first.settle(Usage(800), 0.0)
        with pytest.raises(BudgetExceeded):
            await waiting
        other.release()

    run(steps())


def test_a_small_call_does_not_overtake_a_large_one_that_waits() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        first = await node.reserve(Amount(800))
        order: list[str] = []

        async def ask(name: str, tokens: int) -> None:
            reservation = await node.reserve(Amount(tokens))
            order.append(name)
            await asyncio.sleep(0)
            reservation.release()

        large = asyncio.create_task(ask("large", 900))
        await soon()
        small = asyncio.create_task(ask("small", 1))
        await soon()
        assert order == []
        first.release()
        await asyncio.gather(large, small)
        assert order == ["large", "small"]

    run(steps())


def test_cancelling_one_that_waits_lets_the_next_go_on() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        first = await node.reserve(Amount(800))
        large = asyncio.create_task(node.reserve(Amount(900)))
        small = asyncio.create_task(node.reserve(Amount(100)))
        await soon()
        large.cancel()
        await soon()
        assert small.done()
        first.release()
        small.result().release()
        assert left(node, "tokens") == 1000

    run(steps())


def test_one_granted_and_cancelled_in_the_same_step_leaks_nothing() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        first = await node.reserve(Amount(800))
        waiting = asyncio.create_task(node.reserve(Amount(900)))
        await soon()
        first.release()  # grants it
        waiting.cancel()  # before it could take note
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert left(node, "tokens") == 1000

    run(steps())


# -- what is held for the final call -------------------------------------------------------------


def test_ordinary_calls_leave_free_what_is_held_and_the_final_one_may_use_it() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000, max_calls=2)
        node.hold(Amount(300, 0.0, 1))
        with pytest.raises(BudgetExceeded, match="300 kept for the final answer"):
            await node.reserve(Amount(701))
        (await node.reserve(Amount(700, 0.0, 1))).settle(Usage(700), 0.0)
        assert left(node, "tokens") == 0
        assert (node.rooms()["tokens"], node.rooms()["cost"]) == (0, math.inf)
        assert node.rooms(final=True)["tokens"] == 300
        (await node.reserve(Amount(300, 0.0, 1), final=True)).settle(Usage(300), 0.0)

    run(steps())


def test_the_final_call_goes_before_those_that_wait() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        node.hold(Amount(200))
        first = await node.reserve(Amount(800))
        waiting = asyncio.create_task(node.reserve(Amount(100)))
        await soon()
        (await node.reserve(Amount(200), final=True)).release()
        late = asyncio.create_task(node.reserve(Amount(1000), final=True))
        await soon()
        first.release()
        (await late).release()
        (await waiting).release()

    run(steps())


def test_holding_less_lets_those_that_wait_go_on() -> None:
    async def steps() -> None:
        node = account(max_tokens=1000)
        first = await node.reserve(Amount(500))
        node.hold(Amount(300))
        waiting = asyncio.create_task(node.reserve(Amount(400)))
        await soon()
        assert not waiting.done()
        node.hold(Amount(100))
        (await waiting).release()
        first.release()

    run(steps())


# -- time and turns ------------------------------------------------------------------------------


def test_turns_are_counted_and_end() -> None:
    node = account(max_turns=2)
    assert [node.start_turn(), node.start_turn()] == [1, 2]
    with pytest.raises(BudgetExceeded, match=r"max_turns: 2 of 2 turns are used; .*--max-turns"):
        node.check()
    node.check_time()  # calls of the last turn go on


@pytest.mark.parametrize(("seconds", "kept"), [(100.0, 10.0), (1800.0, 60.0)])
def test_a_tenth_of_the_time_or_a_minute_is_kept_for_the_final_call(
    seconds: float, kept: float
) -> None:
    clock = Clock()
    node = Account(Limits(max_seconds=seconds), clock)
    assert node.seconds_left() == seconds - kept
    assert node.seconds_left(final=True) == seconds
    clock.now += seconds - kept
    with pytest.raises(BudgetExceeded, match=r"max_seconds: .*--max-seconds"):
        node.check()
    node.check_time(final=True)
    clock.now += kept
    with pytest.raises(BudgetExceeded):
        node.check_time(final=True)


def line(
    used: float, limit: float | None = None, left: float | None = None, share: float | None = None
) -> dict[str, Any]:
    node = None if limit is None else "0"
    return {
        "used": used, "reserved": 0, "limit": limit, "left": left, "share": share, "node": node
    }  # fmt: skip


def test_the_snapshot_says_of_each_kind_used_reserved_limit_and_left() -> None:
    clock = Clock()
    node = Account(Limits(max_calls=5, max_seconds=100.0, max_turns=4), clock)
    node.start_turn()
    clock.now += 12.5
    assert node.snapshot() == {
        "calls": line(0, 5, 5, 0.0),
        "tokens": line(0),
        "input_tokens": line(0),
        "output_tokens": line(0),
        "cost": line(0, 5.0, 5.0, 0.0),
        "turns": line(1, 4, 3, 0.25),
        "seconds": line(12.5, 100.0, 77.5, 0.125),
    }


# -- any interleaving ----------------------------------------------------------------------------

LIMITS = {"max_tokens": 1000, "max_calls": 60, "max_cost": 1.0}


class Bench:
    """Many tasks at one account or its child; checks the sums after each change."""

    def __init__(self, seed: int, *, overrun: bool) -> None:
        self.chance = random.Random(seed)
        self.overrun = overrun
        self.root = account(**LIMITS)
        self.child = Account(Limits(max_tokens=400, max_cost=None), parent=self.root)
        self.settled = Usage()
        self.open: set[Reservation] = set()
        self.served: dict[Account, list[int]] = {self.root: [], self.child: []}

    def check(self) -> None:
        state = self.root.snapshot()
        assert state["tokens"]["used"] == self.settled.tokens
        assert state["tokens"]["reserved"] >= sum(r.amount.tokens for r in self.open)
        assert all(line["reserved"] >= 0 for line in state.values())
        if not self.overrun:
            for kind in ("tokens", "calls", "cost"):
                line = state[kind]
                assert line["used"] + line["reserved"] <= line["limit"] + 1e-9
            line = self.child.snapshot()["tokens"]
            assert line["used"] + line["reserved"] <= line["limit"]

    async def ask(self, number: int, node: Account) -> None:
        amount = Amount(self.chance.randrange(1, 300), self.chance.random() / 4, 1)
        try:
            reservation = await node.reserve(amount)
        except BudgetExceeded:
            return
        self.served[node].append(number)
        self.open.add(reservation)
        try:
            self.check()
            for _ in range(self.chance.randrange(4)):
                await asyncio.sleep(0)
            self.end(reservation)
        finally:
            self.open.discard(reservation)
            if reservation.open:  # cancelled in flight
                self.settled += reservation.charge()
            self.check()

    def end(self, reservation: Reservation) -> None:
        match self.chance.randrange(3):
            case 0:
                reservation.release()
            case 1:
                most = reservation.amount.tokens * (3 if self.overrun else 1)
                used = Usage(self.chance.randrange(most + 1))
                reservation.settle(used, reservation.amount.cost)
                self.settled += used
            case _:
                self.settled += reservation.charge()

    async def go(self, tasks: int, cancels: int) -> None:
        nodes = (self.root, self.child)
        running = [
            asyncio.create_task(self.ask(number, self.chance.choice(nodes)))
            for number in range(tasks)
        ]
        for _ in range(cancels):
            await asyncio.sleep(0)
            self.chance.choice(running).cancel()
            if self.chance.random() < 0.3:
                self.root.hold(Amount(self.chance.randrange(100)))
        await asyncio.gather(*running, return_exceptions=True)
        for task in running:
            if not task.cancelled():
                assert task.exception() is None, task.exception()
        for line in self.root.snapshot().values():
            assert line["reserved"] == 0
        for served in self.served.values():
            assert served == sorted(served)  # all of a node asked in order and were served so


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(0, 30), st.booleans())
def test_no_interleaving_passes_a_limit_leaks_or_deadlocks(
    seed: int, tasks: int, cancels: int, overrun: bool
) -> None:
    run(Bench(seed, overrun=overrun).go(tasks, cancels))
