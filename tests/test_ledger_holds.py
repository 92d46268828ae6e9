"""Calls and children that need what other nodes hold: who waits, who goes past, who gives way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from abyme.config import Limits
from abyme.errors import BudgetExceeded, CallFailed
from abyme.ledger import Account, Amount, Spent
from abyme.ledger.tree import AT_ONCE
from abyme.types import Usage
from support.ledger import UNLIMITED, account, asking, below, run, soon


def tree(children: int = 2, hold: int = 300, **limits: Any) -> tuple[Account, list[Account]]:
    """A root of 1,000 tokens, and children that hold something each."""
    root = account(**{"max_tokens": 1000, **limits})
    nodes = [below(root, f"0.{number + 1}") for number in range(children)]
    for node in nodes:
        node.hold(Amount(hold))
    return root, nodes


def entering(
    parent: Account, name: str, hold: int = 100, first: int = 100, least: int | None = None
) -> asyncio.Task[Account]:
    """A child that is to begin; with ``least`` it can do with that much in all."""

    def entry(pressed: bool) -> tuple[Amount, Amount]:
        if pressed and least is not None:
            return Amount(least // 2), Amount(least)
        return Amount(hold), Amount(hold + first)

    return asyncio.create_task(parent.admit(lambda: name, entry))


def held(node: Account) -> int:
    return node._level.hold[1]


# -- waiting for the end of others -----------------------------------------------------------------


def test_a_call_waits_for_the_end_of_a_sibling_that_holds_what_it_needs() -> None:
    async def steps() -> None:
        _, (one, other) = tree()
        waiting = asking(one, 600)
        await soon()
        assert not waiting.done(), "the sibling is at work"
        other.close()
        (await waiting).release()

    run(steps())


def test_what_no_end_of_another_node_would_mend_is_refused_at_once() -> None:
    async def steps() -> None:
        root, (one, _) = tree()
        with pytest.raises(BudgetExceeded, match="this call may need 701"):
            await one.reserve(Amount(701))
        root.hold(Amount(100))
        grandchild = below(one, "0.1.1")
        with pytest.raises(BudgetExceeded):
            await grandchild.reserve(Amount(601))  # its parent holds 300, its root 100
        with pytest.raises(BudgetExceeded):
            await asyncio.wait_for(root.admit(lambda: "0.3", lambda _: (Amount(), Amount(901))), 9)

    run(steps())


def test_calls_of_others_go_past_one_that_waits_for_their_end() -> None:
    async def steps() -> None:
        root, (one, other) = tree()
        waiting = asking(one, 600)
        await soon()
        (await other.reserve(Amount(400))).settle(Usage(50), 0.0)
        (await root.reserve(Amount(300))).settle(Usage(50), 0.0)
        assert not waiting.done()
        other.close()
        (await waiting).release()

    run(steps())


def test_a_node_waits_for_its_own_children_too() -> None:
    async def steps() -> None:
        root, (one, other) = tree()
        waiting = asking(root, 900)
        await soon()
        one.close()
        await soon()
        assert not waiting.done()
        other.close()
        (await waiting).release()

    run(steps())


def test_one_that_is_cancelled_while_it_is_held_up_leaves_nothing_behind() -> None:
    async def steps() -> None:
        root, (one, other) = tree()
        waiting, entry = asking(one, 600), entering(root, "0.3", 200, 300)
        await soon()
        waiting.cancel()
        entry.cancel()
        await soon()
        assert root._tree.queue.empty and not root._tree.queue.waiting
        one.close()
        other.close()
        assert root.snapshot()["tokens"]["left"] == 1000

    run(steps())


# -- when all wait for each other ----------------------------------------------------------------


def test_where_all_wait_for_each_other_the_one_that_began_last_gives_way() -> None:
    async def steps() -> None:
        _, (one, other) = tree()
        first = asking(one, 600)
        await soon()
        second = [asking(other, 500), asking(other, 600)]
        for task in second:
            with pytest.raises(BudgetExceeded, match="wait for each other; this one began last"):
                await task
        with pytest.raises(BudgetExceeded):
            await other.reserve(Amount(1))  # it makes its last call, and no other
        (await other.reserve(Amount(300), final=True)).settle(Usage(40), 0.0)
        assert not first.done()
        other.close()
        (await first).release()

    run(steps())


def test_nobody_gives_way_while_anything_is_in_flight_or_a_node_is_at_work() -> None:
    async def steps() -> None:
        root, (one, other, third) = tree(3, 200)
        flying = await third.reserve(Amount(100))
        waiting = [asking(one, 600), asking(other, 600), asking(third, 600)]
        await soon()
        flying.settle(Usage(10), 0.0)
        await soon()
        assert [task.done() for task in waiting] == [False, False, True]
        assert isinstance(waiting[2].exception(), BudgetExceeded)
        await soon()
        assert not waiting[1].done(), "the third is at work on its end"
        third.close()
        await soon()
        assert isinstance(waiting[1].exception(), BudgetExceeded) and not waiting[0].done()
        other.close()
        (await waiting[0]).release()
        assert root._level.gave_way is None

    run(steps())


def test_before_a_node_gives_way_the_first_in_line_makes_do_with_less() -> None:
    async def steps() -> None:
        _, (one, other) = tree()

        def size(least: bool) -> Amount:
            return Amount(400 if least else 600)

        first = asyncio.create_task(one.reserve(size))
        await soon()
        second = asking(other, 600)
        assert (await first).amount.tokens == 400
        await soon()
        assert not second.done()
        first.result().settle(Usage(100), 0.0)
        assert not second.done(), "the first is at work again"
        one.close()
        (await second).release()

    run(steps())


def test_a_limit_of_a_childs_own_is_no_concern_of_others() -> None:
    async def steps() -> None:
        root = Account(Limits(**{**UNLIMITED, "max_tokens": 100_000}))
        parent = below(root, "0.1", max_tokens=1000)
        busy = below(root, "0.2")
        one, other = below(parent, "0.1.1"), below(parent, "0.1.2")
        for node in (one, other):
            node.hold(Amount(300))
        first, second = asking(one, 600), asking(other, 600)
        with pytest.raises(BudgetExceeded, match=r"^max_tokens of node 0\.1: "):
            await second
        assert not first.done()
        other.close()
        (await first).release()
        busy.close()

    run(steps())


def test_nobody_gives_way_while_one_he_waits_for_waits_for_a_node_at_work_elsewhere() -> None:
    async def steps() -> None:
        root = Account(Limits(**{**UNLIMITED, "max_tokens": 2000}))
        parent, busy = below(root, "0.1", max_tokens=1000), below(root, "0.2")
        one, other = below(parent, "0.1.1"), below(parent, "0.1.2")
        busy.hold(Amount(1300))
        for node in (one, other):
            node.hold(Amount(300))
        first, second = asking(one, 600), asking(other, 110)
        await soon()
        assert not first.done() and not second.done()
        busy.close()
        (await second).release()
        await soon()
        assert not first.done()
        other.close()
        (await first).release()

    run(steps())


def test_a_last_call_for_which_too_little_was_held_is_given_up_in_the_end() -> None:
    async def steps() -> None:
        root, (one,) = tree(1, 900)
        other = below(root, "0.2")
        other.hold(Amount(300))
        assert held(other) == 100
        last = asking(other, 300, final=True)
        await soon()
        assert not last.done()
        first = asking(one, 100)
        with pytest.raises(BudgetExceeded):
            await last
        other.close()
        (await first).release()

    run(steps())


# -- beginning -------------------------------------------------------------------------------------


def test_a_child_begins_as_soon_as_its_hold_and_a_first_call_fit() -> None:
    async def steps() -> None:
        root, (one, other) = tree(2, 200)
        third = entering(root, "0.3", hold=200, first=100)
        await soon()
        assert not third.done(), "as much again as others hold is left to calls"
        assert root.snapshot()["tokens"]["left"] == 600, "it holds nothing meanwhile"
        one.close()
        assert held(await third) == 200 and third.result().node == "0.3"
        other.close()

    run(steps())


def test_children_begin_behind_calls_of_nodes_at_work() -> None:
    async def steps() -> None:
        root, (one,) = tree(1, 100)
        flying = await one.reserve(Amount(850))
        child = entering(root, "0.2", 100, 600)
        await soon()
        call, nested = asking(one, 850), entering(one, "0.1.1", 100, 600)
        await soon()
        flying.settle(Usage(10), 0.0)
        await soon()
        assert call.done() and not nested.done() and not child.done()
        call.result().settle(Usage(10), 0.0)
        await soon()
        assert nested.done() and not child.done(), "the deepest first"
        nested.result().close()
        (await child).close()

    run(steps())


def test_two_nodes_whose_children_cannot_begin_do_not_wait_for_each_other() -> None:
    async def steps() -> None:
        _, (one, other) = tree(2, 400)
        first, second = entering(one, "0.1.1", 100, 200), entering(other, "0.2.1", 100, 200)
        with pytest.raises(BudgetExceeded, match="this one began last"):
            await second
        other.close()
        assert held(await first) == 100

    run(steps())


def test_a_child_begins_with_less_where_all_would_wait() -> None:
    async def steps() -> None:
        _, (one, other) = tree(2, 400)
        first = entering(one, "0.1.1", 100, 200, least=160)
        second = entering(other, "0.2.1", 100, 200, least=160)
        child = await first
        assert held(child) == 80
        await soon()
        assert not second.done()
        child.close()
        one.close()
        await second

    run(steps())


def test_what_was_spent_too_much_is_taken_from_those_that_began_last() -> None:
    async def steps() -> None:
        root, nodes = tree(3, 200)
        root.hold(Amount(100))
        told = asyncio.create_task(root.overrun())
        await soon()
        (await nodes[0].reserve(Amount(100))).settle(Usage(450), 0.0)  # 450 + 700 of 1,000
        assert [held(node) for node in (root, *nodes)] == [100, 200, 200, 50]
        await soon()
        assert not told.done(), "nobody is ended for that"
        nodes[1].close()
        assert held(nodes[2]) == 200, "it holds more as soon as there is more"
        flying = await nodes[2].reserve(Amount(50))
        flying.settle(Usage(400), 0.0)  # 850: the root's 100 fit, and 50 of those below
        assert [held(node) for node in (root, nodes[0], nodes[2])] == [100, 50, 0]
        await soon()
        assert not told.done()
        (await nodes[0].reserve(Amount(50), final=True)).settle(Usage(120), 0.0)
        await soon()
        assert "max_tokens" in str(told.result()), "what the root itself keeps is touched"

    run(steps())


def test_so_many_of_a_depth_at_once() -> None:
    async def steps() -> None:
        root, nodes = tree(AT_ONCE, 0)
        more = entering(root, "0.65"), entering(root, "0.66")
        nested = entering(nodes[0], "0.1.1")
        assert not (await nested).closed, "places are those of a depth"
        await soon()
        assert not more[0].done()
        nodes[1].close()
        assert (await more[0]).node == "0.65" and not more[1].done()
        root.close()
        with pytest.raises(CallFailed):
            await more[1]

    run(steps())


def test_children_that_wait_for_a_place_cost_nothing_at_each_call() -> None:
    """Of 64 at work each has one that waits: they are not sized whenever a call has settled."""

    async def steps() -> None:
        root, nodes = tree(AT_ONCE, 0, max_tokens=10**9)
        grown = [below(node, f"{node.node}.1") for node in nodes]
        sized = 0

        def entry(pressed: bool) -> tuple[Amount, Amount]:
            nonlocal sized
            sized += 1
            return Amount(1), Amount(2)

        waiting = [asyncio.create_task(node.admit(lambda: "more", entry)) for node in nodes]
        await soon()
        before = sized
        assert before <= 3 * AT_ONCE
        for node in grown:
            for _ in range(10):
                (await node.reserve(Amount(1))).settle(Usage(1), 0.0)
        assert sized == before
        grown[0].close()
        await soon()
        assert sum(task.done() for task in waiting) == 1
        root.close()
        await asyncio.gather(*waiting, return_exceptions=True)

    run(steps())


def test_one_that_goes_on_begins_even_where_it_can_do_nothing_more() -> None:
    async def steps() -> None:
        root, _ = tree(0)
        (await root.reserve(Amount(1000))).settle(Usage(1000), 0.0)
        spent = Spent(Usage(10), turns=2)
        entry = (Amount(100), Amount(200))
        child = await root.admit(lambda: "0.1", lambda least: entry, spent=spent)
        assert (child.turns, held(child)) == (2, 0)
        with pytest.raises(BudgetExceeded):
            await root.admit(lambda: "0.2", lambda least: entry)

    run(steps())


def test_a_child_that_begins_and_is_not_wanted_in_the_same_step_is_closed() -> None:
    async def steps() -> None:
        root, (one,) = tree(1, 800)
        child = entering(root, "0.2")
        await soon()
        one.close()
        child.cancel()
        await soon()
        assert root.snapshot()["tokens"]["left"] == 1000 and not root._children

    run(steps())
