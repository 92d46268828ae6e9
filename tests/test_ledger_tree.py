"""Accounts below accounts: what a child may spend, hold, wait for, and what becomes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from abyme.config import ChildLimits, Limits, children_above
from abyme.errors import BudgetExceeded, CallFailed, ConfigError
from abyme.ledger import Account, Amount, Spent
from abyme.types import Usage
from support.ledger import UNLIMITED, account, asking, below, run, soon


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def left(node: Account, kind: str = "tokens") -> Any:
    return node.snapshot()[kind]["left"]


# -- limits --------------------------------------------------------------------------------------


def test_limits_by_depth_the_last_of_which_holds_below() -> None:
    limits = Limits(
        max_cost=2.0,
        max_input_tokens=9,
        max_width=3,
        children=(ChildLimits(max_cost=0.5), ChildLimits(max_turns=3)),
    )
    assert limits.at_depth(0) is limits
    first, second, third = (limits.at_depth(depth) for depth in (1, 2, 3))
    assert (first.max_cost, first.max_turns, first.max_width) == (0.5, 15, 3)
    assert (first.max_calls, first.max_seconds, first.max_input_tokens) == (None, None, None)
    assert (second.max_cost, second.max_turns) == (None, 3) and third == second
    assert Limits(max_calls=7).at_depth(4).max_turns == ChildLimits().max_turns


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"max_depth": 9}, "max_depth must be at most 8"),
        ({"max_depth": 0}, "max_depth must be above 0"),
        ({"max_input_tokens": -1}, "max_input_tokens must be above 0"),
        ({"children": [ChildLimits()]}, "children must be a tuple of ChildLimits"),
        ({"children": (ChildLimits(),) * 9}, "children must be at most 8"),
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Limits(**wrong)
    with pytest.raises(ConfigError, match="max_turns must be above 0"):
        ChildLimits(max_turns=0)


def test_what_children_are_allowed_beyond_ones_own_limits() -> None:
    own = Limits(children=(ChildLimits(max_cost=1.0, max_turns=5), ChildLimits(max_cost=0.5)))
    assert children_above(own.children, own) == {}
    assert children_above((ChildLimits(max_cost=0.5, max_turns=5),), own) == {}
    above = children_above((ChildLimits(max_cost=2.0, max_turns=5), ChildLimits()), own)
    assert above == {"max_cost": None}
    assert children_above((ChildLimits(max_turns=16),), Limits()) == {"max_turns": 16}
    assert children_above((), own) == {"max_turns": 15, "max_cost": None}


# -- no more than those above have left ------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "amount", "named"),
    [
        ({"max_input_tokens": 100}, Amount(150, output_tokens=20), "max_input_tokens"),
        ({"max_output_tokens": 100}, Amount(150, output_tokens=120), "max_output_tokens"),
    ],
)
def test_tokens_in_and_out_have_limits_of_their_own(
    limits: dict[str, Any], amount: Amount, named: str
) -> None:
    async def steps() -> None:
        node = account(**limits)
        (await node.reserve(Amount(100, output_tokens=50))).settle(Usage(10, 20), 0.0)
        with pytest.raises(BudgetExceeded, match=rf"^{named}: .* of 100 .*put tokens are used"):
            await node.reserve(amount)
        used = [node.snapshot()[kind]["used"] for kind in ("input_tokens", "output_tokens")]
        assert used == [10, 20]

    run(steps())


def test_a_child_gets_no_more_than_any_above_it_has_left() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        child = below(root, max_tokens=5000)
        grandchild = below(child, "0.1.1", max_tokens=300)
        (await root.reserve(Amount(600))).settle(Usage(600), 0.0)
        assert (left(child), left(grandchild)) == (400, 300)
        with pytest.raises(BudgetExceeded, match=r"^max_tokens: 600 of 1,000") as of_run:
            await child.reserve(Amount(401))
        assert (of_run.value.node, of_run.value.limit) == ("", "max_tokens")
        with pytest.raises(BudgetExceeded, match=r"^max_tokens of node 0\.1\.1: 0 of 300") as own:
            await grandchild.reserve(Amount(301))
        assert own.value.node == "0.1.1" and str(own.value).endswith("raise it with --child-tokens")
        (await grandchild.reserve(Amount(300))).settle(Usage(300), 0.0)
        assert [node.usage.tokens for node in (root, child, grandchild)] == [900, 300, 300]

    run(steps())


def test_the_snapshot_of_a_child_says_whose_limit_leaves_the_least() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000, max_calls=10)
        child = below(root, max_tokens=500)
        (await root.reserve(Amount(800, calls=4))).settle(Usage(800), 0.0)
        line = child.snapshot()["tokens"]
        assert line == {
            "used": 0, "reserved": 0, "limit": 500, "left": 200, "share": 0.8, "node": "0"
        }  # fmt: skip
        (await child.reserve(Amount(100, calls=1))).settle(Usage(100), 0.0)
        assert child.snapshot()["calls"]["left"] == 5
        assert child.snapshot()["calls"]["limit"] is None
        assert child.snapshot()["turns"]["node"] == "0.1"
        cheap = below(root, "0.2", max_tokens=50).snapshot()["tokens"]
        assert (cheap["left"], cheap["node"], cheap["share"]) == (50, "0.2", 0.0)

    run(steps())


def test_what_is_in_flight_is_neither_used_nor_left() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        (await root.reserve(Amount(100))).settle(Usage(100), 0.0)
        flying = await root.reserve(Amount(700))
        line = root.snapshot()["tokens"]
        told = [line[kind] for kind in ("used", "reserved", "left", "share")]
        assert told == [100, 700, 200, 0.1]
        flying.charge()
        assert root.snapshot()["tokens"]["share"] == 0.8

    run(steps())


def test_a_child_goes_on_with_what_it_had_spent_which_those_above_have_counted() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        limits = Limits(**{**UNLIMITED, "max_tokens": 300, "max_turns": 4})
        child = root.child("0.1", limits, spent=Spent(Usage(250), seconds=5.0, turns=3))
        assert (left(root), left(child), child.turns) == (1000, 50, 3)
        assert child.seconds >= 5.0

    run(steps())


def test_an_unknown_price_below_is_unknown_above_and_not_beside() -> None:
    async def steps() -> None:
        root = account(max_cost=1.0)
        one, other = below(root, "0.1", max_cost=0.5), below(root, "0.2", max_cost=0.25)
        (await one.reserve(Amount(10, None, 1))).settle(Usage(10), None)
        assert (root.cost, one.cost, other.cost) == (None, None, 0.0)
        assert (left(root, "cost"), left(one, "cost"), left(other, "cost")) == (None, None, 0.25)

    run(steps())


# -- holding -------------------------------------------------------------------------------------


def test_what_a_child_holds_is_set_aside_above_it_and_only_its_last_call_may_use_it() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        one, other = below(root, "0.1"), below(root, "0.2")
        one.hold(Amount(300))
        assert (left(root), left(other), left(one)) == (700, 700, 700)
        with pytest.raises(BudgetExceeded, match="300 kept for the final answer"):
            await one.reserve(Amount(701))
        waiting = [asking(root, 701), asking(other, 701), asking(other, 701, final=True)]
        await soon()
        assert not any(task.done() for task in waiting), "they wait for its end"
        for task in waiting:
            task.cancel()
        await soon()
        last = await one.reserve(Amount(1000), final=True)
        last.settle(Usage(200), 0.0)
        assert left(root) == 800, "what was held has been used"

    run(steps())


def test_a_last_call_that_costs_nothing_leaves_what_was_held() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        child = below(root)
        child.hold(Amount(300))
        (await child.reserve(Amount(400), final=True)).release()
        assert left(root) == 700

    run(steps())


def test_a_child_holds_no_more_than_is_free_above_it_and_its_parents_hold_stays() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        root.hold(Amount(200))
        child = below(root)
        first = await root.reserve(Amount(700))
        child.hold(Amount(500))
        (await root.reserve(Amount(200), final=True)).release()
        with pytest.raises(BudgetExceeded):
            await child.reserve(Amount(801), final=True)
        waiting = asking(root, 100)  # there is nothing free beside what is in flight and held
        await soon()
        assert not waiting.done()
        first.settle(Usage(300), 0.0)  # 400 come free: the hold comes first, and takes all of them
        await soon()
        assert not waiting.done() and left(root) == 0
        (await child.reserve(Amount(500), final=True)).release()
        child.close()
        (await waiting).release()

    run(steps())


# -- waiting -------------------------------------------------------------------------------------


def test_a_call_of_a_child_that_can_never_fit_is_refused_at_once_though_others_wait() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        child = below(root, max_tokens=300)
        first = await root.reserve(Amount(900))
        waiting = asking(root, 500)
        await soon()
        with pytest.raises(BudgetExceeded, match=r"max_tokens of node 0\.1"):
            await child.reserve(Amount(301))
        first.release()
        (await waiting).release()

    run(steps())


def test_a_small_call_goes_past_a_large_one_that_waits_at_the_limit_of_another_node() -> None:
    async def steps() -> None:
        root = account(max_tokens=10_000)
        one, other = below(root, "0.1", max_tokens=300), below(root, "0.2", max_tokens=300)
        first = await one.reserve(Amount(200))
        large, behind = asking(one, 250), asking(one, 10)
        await soon()
        (await other.reserve(Amount(300))).release()
        (await root.reserve(Amount(5000))).release()
        assert not large.done() and not behind.done(), "those of its own node keep their order"
        first.release()
        (await large).release()
        (await behind).release()

    run(steps())


def test_small_calls_do_not_starve_a_large_one_where_both_need_the_parents_rest() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        one, other = below(root, "0.1"), below(root, "0.2")
        first = await root.reserve(Amount(500))
        large = asking(one, 900)
        await soon()
        small = asking(other, 100)
        await soon()
        assert not small.done()
        first.release()
        (await large).release()
        (await small).release()

    run(steps())


def test_calls_of_its_children_do_not_overtake_one_that_waits_at_the_limit_of_a_node() -> None:
    async def steps() -> None:
        root = account(max_tokens=10_000)
        child = below(root, max_tokens=1000)
        grandchild = below(child, "0.1.1")
        first = await child.reserve(Amount(500))
        large = asking(child, 900)
        await soon()
        small = asking(grandchild, 100)
        await soon()
        assert not small.done()
        first.release()
        (await large).release()
        (await small).release()

    run(steps())


def test_the_last_call_of_a_child_goes_before_all_that_wait() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        child = below(root)
        first = await root.reserve(Amount(900))
        ordinary = asking(root, 500)
        await soon()
        last = asking(child, 500, final=True)
        await soon()
        first.release()
        await soon()
        assert last.done() and ordinary.done(), "both fit"
        last.result().release()
        ordinary.result().release()

    run(steps())


# -- closing -------------------------------------------------------------------------------------


def test_closing_gives_back_what_is_held_and_charges_what_is_still_in_flight_below() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        child = below(root)
        grandchild = below(child, "0.1.1")
        child.hold(Amount(100))
        grandchild.hold(Amount(100))
        open_ = await grandchild.reserve(Amount(300, output_tokens=50))
        waiting = asking(child, 600)
        await soon()
        child.close()
        child.close()
        with pytest.raises(CallFailed, match=r"node 0\.1 has ended"):
            await waiting
        assert root.usage == Usage(250, 50, estimated=True)
        assert left(root) == 700 and root.snapshot()["tokens"]["reserved"] == 0
        open_.settle(Usage(9000), 0.0)  # it has been charged already
        assert left(root) == 700
        for node in (child, grandchild):
            assert node.closed
            with pytest.raises(CallFailed):
                await node.reserve(Amount(1))
            with pytest.raises(CallFailed):
                node.child("0.1.2")
        child.hold(Amount(500))
        assert left(root) == 700
        (await root.reserve(Amount(700))).release()

    run(steps())


# -- more spent than reserved ----------------------------------------------------------------------


def test_an_overrun_is_told_to_its_account_and_to_all_below_and_to_no_other() -> None:
    async def steps() -> None:
        root = account(max_tokens=10_000)
        one, other = below(root, "0.1", max_tokens=1000), below(root, "0.2", max_tokens=1000)
        deep = below(one, "0.1.1")
        one.hold(Amount(200))
        told = {node: asyncio.create_task(node.overrun()) for node in (root, one, other, deep)}
        await soon()
        (await deep.reserve(Amount(500))).settle(Usage(500), 0.0)
        (await deep.reserve(Amount(250))).settle(Usage(300), 0.0)  # more, and nothing is lacking
        await soon()
        assert not any(task.done() for task in told.values())
        first = await other.reserve(Amount(10))
        with pytest.raises(BudgetExceeded):
            await deep.reserve(Amount(10))
        last = await one.reserve(Amount(10), final=True)
        last.settle(Usage(11), 0.0)
        await soon()
        assert told[one].done() and told[deep].done()
        assert not told[root].done() and not told[other].done()
        error = told[deep].result()
        assert error.node == "0.1" and str(error).startswith("max_tokens of node 0.1: 811 of 1,000")
        first.settle(Usage(9500), 0.0)
        await soon()
        assert told[root].result().node == "" and told[other].done()

    run(steps())


def test_a_last_call_within_its_hold_is_no_overrun() -> None:
    async def steps() -> None:
        root = account(max_tokens=1000)
        child = below(root)
        child.hold(Amount(400))
        (await root.reserve(Amount(600))).settle(Usage(600), 0.0)
        told = asyncio.create_task(root.overrun())
        await soon()
        (await child.reserve(Amount(400), final=True)).settle(Usage(400), 0.0)
        await soon()
        assert not told.done()
        told.cancel()

    run(steps())


# -- time and turns ------------------------------------------------------------------------------


def test_a_childs_clock_is_its_own_and_ends_before_its_parents_ordinary_time_does() -> None:
    clock = Clock()
    limits = Limits(max_seconds=1000.0, children=(ChildLimits(max_seconds=100.0, max_turns=1),))
    root = Account(limits, clock)
    child = root.child("0.1")
    assert (child.seconds_left(), child.seconds_left(final=True)) == (90.0, 100.0)
    clock.now += 95
    with pytest.raises(
        BudgetExceeded, match=r"^max_seconds of node 0\.1: 95 of 100 s.*10 s"
    ) as own:
        child.check_time()
    assert own.value.node == "0.1" and "--child-seconds" in str(own.value)
    child.check_time(final=True)
    root.check_time()
    clock.now += 755  # 850 of 1000; 60 s are kept
    late = root.child("0.2")
    assert late.seconds == 0 and late.seconds_left(final=True) == root.seconds_left() == 90.0
    assert late.seconds_left() == 81.0
    line = late.snapshot()["seconds"]
    assert (line["limit"], line["left"], line["node"]) == (100.0, 81.0, "0")
    clock.now += 85
    with pytest.raises(BudgetExceeded, match=r"^max_seconds: 85 of 90 s") as of_run:
        late.check_time()
    assert of_run.value.node == "" and "--max-seconds" in str(of_run.value)
    root.check_time()
    assert root.child("0.3").seconds_left(final=True) == 5.0
    clock.now += 100
    assert root.child("0.4").seconds_left() <= 0


def test_a_childs_turns_are_its_own() -> None:
    root = Account(Limits(max_turns=1, children=(ChildLimits(max_turns=2),)))
    child = root.child("0.1")
    assert [root.start_turn(), child.start_turn(), child.start_turn()] == [1, 1, 2]
    with pytest.raises(BudgetExceeded, match=r"^max_turns of node 0\.1: 2 of 2 .*--child-turns"):
        child.start_turn()
    with pytest.raises(BudgetExceeded, match=r"^max_turns: 1 of 1 .*--max-turns"):
        root.start_turn()
