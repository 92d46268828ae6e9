"""Random trees of accounts under random use, held against a plain count of what was done."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from abyme.config import Limits
from abyme.errors import BudgetExceeded, CallFailed
from abyme.ledger import Account, Amount, Reservation
from abyme.types import Usage

pytestmark = pytest.mark.slow

NANO = 1_000_000_000
KINDS = ("calls", "tokens", "input_tokens", "output_tokens", "cost")
Task = asyncio.Task[Reservation] | asyncio.Task[Account]


def at_most(most: int) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(2, most)


LIMITS = st.builds(
    Limits,
    max_calls=at_most(12),
    max_tokens=at_most(1000),
    max_input_tokens=at_most(1000),
    max_output_tokens=at_most(500),
    max_cost=st.none() | st.integers(1, 1000).map(lambda thousandths: thousandths / 1000),
    max_seconds=st.none(),
)


@st.composite
def amounts(draw: st.DrawFn) -> Amount:
    tokens = draw(st.integers(0, 400))
    cost = draw(st.none() | st.integers(0, 400).map(lambda thousandths: thousandths / 1000))
    return Amount(tokens, cost, draw(st.integers(0, 2)), draw(st.integers(0, tokens)))


def plus(one: Amount, other: Amount) -> Amount:
    cost = None if one.cost is None or other.cost is None else one.cost + other.cost
    return Amount(
        one.tokens + other.tokens,
        cost,
        one.calls + other.calls,
        one.output_tokens + other.output_tokens,
    )


def half(amount: Amount) -> Amount:
    output = amount.output_tokens // 2
    cost = None if amount.cost is None else amount.cost / 2
    return Amount(amount.tokens - amount.output_tokens + output, cost, amount.calls, output)


class Node:
    """An account, and what was really settled of its own calls."""

    def __init__(self, account: Account, parent: Node | None) -> None:
        self.account = account
        self.parent = parent
        self.children: list[Node] = []
        self.settled = [0] * len(KINDS)
        self.open: list[Reservation] = []
        self.waiting: list[tuple[Task, bool]] = []
        """Those that may still wait, and whether it is for a last call."""
        self.over = False
        """More was spent here or below than was reserved."""

    @property
    def below(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.below

    def spent(self, usage: Usage, cost: float | None) -> None:
        sums = (usage.calls, usage.tokens, usage.input_tokens, usage.output_tokens)
        for kind, value in enumerate((*sums, round((cost or 0.0) * NANO))):
            self.settled[kind] += value


class Ledger(RuleBasedStateMachine):
    """Accounts are opened, used and closed in any order; any waiter may be cancelled."""

    def __init__(self) -> None:
        super().__init__()
        gc.freeze()  # so that the collection at the end looks at what this example made alone
        self.loop = asyncio.new_event_loop()
        self.root: Node | None = None
        self.nodes: list[Node] = []

    # -- what is done --------------------------------------------------------------------------

    @precondition(lambda self: self.root is None)
    @rule(limits=LIMITS, most=st.integers(300, 1000))
    def begin(self, limits: Limits, most: int) -> None:
        limits = msgspec.structs.replace(limits, max_tokens=most)  # so that there is much waiting
        self.root = Node(Account(limits), None)
        self.nodes.append(self.root)

    @precondition(lambda self: self.root is not None and len(self.nodes) < 12)
    @rule(limits=LIMITS, data=st.data())
    def open_child(self, limits: Limits, data: st.DataObject) -> None:
        parent = self.pick(data)
        if parent.account.closed:
            return
        self.opened(parent.account.child(f"n{len(self.nodes)}", limits), parent)

    @precondition(lambda self: self.root is not None and len(self.nodes) < 12)
    @rule(hold=amounts(), first=amounts(), data=st.data())
    def admit_child(self, hold: Amount, first: Amount, data: st.DataObject) -> None:
        """A child that waits for room; where need be it can do with nothing but its hold."""
        parent = self.pick(data)
        whole = plus(hold, first)

        def entry(least: bool) -> tuple[Amount, Amount]:
            return hold, hold if least else whole

        work = parent.account.admit(lambda: f"n{len(self.nodes)}", entry)
        parent.waiting.append((self.loop.create_task(work), False))
        self.let_run()

    @precondition(lambda self: self.root is not None)
    @rule(
        amount=amounts(),
        final=st.sampled_from([False, False, False, True]),
        turn=st.booleans(),
        less=st.booleans(),
        data=st.data(),
    )
    def ask(self, amount: Amount, final: bool, turn: bool, less: bool, data: st.DataObject) -> None:
        self.ask_for(self.pick(data), amount, less, final=final, turn=turn)

    @precondition(lambda self: self.root is not None)
    @rule(share=st.integers(2, 4), less=st.booleans(), data=st.data())
    def everybody_asks_for_much(self, share: int, less: bool, data: st.DataObject) -> None:
        """Each node that goes on holds a part and asks for much, until it waits for others.

        One that is refused ends, as nodes do; all that was in flight is over then.
        """
        most = self.nodes[0].account.limits.max_tokens or 0
        for node in [*self.at_work()]:
            node.account.hold(Amount(most // (2 * share)))
            tokens = data.draw(st.integers(most // 3, most * 3 // 4))
            self.ask_for(node, Amount(tokens, output_tokens=tokens), less)
        while open_ := [node for node in self.nodes if node.open]:
            self.end_one(open_[0], open_[0].open.pop(), "settle", 0.1)
            self.let_run()
        for node in [*self.at_work()]:
            if not node.account.closed:
                self.close_one(node)

    @precondition(lambda self: any(node.open for node in self.nodes))
    @rule(how=st.sampled_from(["settle", "charge", "release", "overrun"]), data=st.data())
    def end(self, how: str, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from([node for node in self.nodes if node.open]))
        reservation = node.open.pop(data.draw(st.integers(0, len(node.open) - 1)))
        self.end_one(node, reservation, how, data.draw(st.floats(0, 1)))
        self.let_run()

    @precondition(lambda self: self.root is not None)
    @rule(amount=amounts(), data=st.data())
    def hold(self, amount: Amount, data: st.DataObject) -> None:
        self.pick(data).account.hold(amount)
        self.let_run()

    @precondition(lambda self: any(self.still_waiting()))
    @rule(data=st.data(), granted_first=st.booleans())
    def cancel(self, data: st.DataObject, granted_first: bool) -> None:
        task, _ = data.draw(st.sampled_from(list(self.still_waiting())))
        if granted_first:  # in the very step in which something comes free
            for node in self.nodes:
                while node.open:
                    self.end_one(node, node.open.pop(), "release", 0)
        task.cancel()
        self.let_run()

    @precondition(lambda self: len(self.nodes) > 1)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        self.close_one(data.draw(st.sampled_from(self.nodes[1:])))

    # -- what must hold ------------------------------------------------------------------------

    @invariant()
    def the_sums_are_those_of_a_plain_count(self) -> None:
        for node in self.nodes:
            below, level = list(node.below), node.account._level
            for kind in range(len(KINDS)):
                settled = sum(each.settled[kind] for each in below)
                reserved = sum(each.sums[kind] for node in below for each in amounts_of(node))
                assert level.settled[kind] == settled
                assert level.reserved[kind] == reserved
                assert level.held[kind] == sum(each.account._level.hold[kind] for each in below)
                assert min(settled, reserved, level.held[kind]) >= 0
            assert level.usage.tokens == level.settled[1]

    @invariant()
    def no_limit_is_passed_but_by_an_actual_above_its_reservation(self) -> None:
        for node in self.nodes:
            level = node.account._level
            for kind, most in enumerate(level.most):
                if most is not None and not node.over:
                    total = level.settled[kind] + level.reserved[kind] + level.held[kind]
                    assert total <= most, (KINDS[kind], node.account.node)

    @invariant()
    def what_is_shown_as_left_is_no_more_than_any_above_has(self) -> None:
        for node in self.nodes:
            lines = node.account.snapshot()
            if node.parent is not None:
                above = node.parent.account.snapshot()
                for kind in KINDS[:-1]:
                    if (most := above[kind]["left"]) is not None:
                        assert 0 <= lines[kind]["left"] <= most

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Who waits really has to: looking at all of them once more changes nothing."""
        if self.root is not None:
            waiting = list(self.still_waiting())
            self.root.account._tree.serve()
            self.let_run()
            assert list(self.still_waiting()) == waiting

    @invariant()
    def somebody_can_go_on_where_anybody_waits(self) -> None:
        """A call is in flight, or there is a node of which nobody waits, neither it nor below."""
        if any(self.still_waiting()) and not any(node.open for node in self.nodes):
            assert any(self.at_work())

    @invariant()
    def the_root_never_gives_way(self) -> None:
        assert self.root is None or self.root.account._level.gave_way is None

    @invariant()
    def who_waits_is_counted(self) -> None:
        if self.root is not None:
            counted = self.root.account._tree.queue.waiting
            for node in self.nodes:
                waiting = sum(len(list(self.waiting_at(each))) for each in node.below)
                assert counted[node.account._level] == waiting

    def teardown(self) -> None:
        """Calls end, and nodes that do not wait: then everybody has been granted or refused."""
        try:
            while any(self.still_waiting()):
                if open_ := [node for node in self.nodes if node.open]:
                    self.end_one(open_[0], open_[0].open.pop(), "charge", 0)
                else:
                    next(self.at_work()).account.close()
                self.let_run()
            if self.root is not None:
                self.root.account.close()
                for node in self.nodes:
                    assert set(node.account._level.reserved + node.account._level.held) == {0}
                    assert node.account._level.flying == 0
                tree = self.root.account._tree
                assert tree.queue.empty and not tree.queue.waiting and not tree.short
                assert not +tree.at_work
        finally:
            self.loop.close()
            gc.collect()  # a future whose error nobody took would be told of now
            gc.unfreeze()

    # -- help ----------------------------------------------------------------------------------

    def pick(self, data: st.DataObject) -> Node:
        return data.draw(st.sampled_from(self.nodes))

    def opened(self, account: Account, parent: Node) -> None:
        child = Node(account, parent)
        parent.children.append(child)
        self.nodes.append(child)

    def ask_for(
        self, node: Node, amount: Amount, less: bool, *, final: bool = False, turn: bool = False
    ) -> None:
        """``less``: where need be it can do with half of the output."""

        def size(least: bool) -> Amount:
            return half(amount) if least and less else amount

        task = self.loop.create_task(node.account.reserve(size, final=final, turn=turn))
        node.waiting.append((task, final))
        self.let_run()

    def close_one(self, node: Node) -> None:
        for each in node.below:
            while each.open:  # it is charged by closing
                reservation = each.open.pop()
                amount = reservation.amount
                charged = amount.tokens - amount.output_tokens
                each.spent(Usage(charged, amount.output_tokens, calls=amount.calls), amount.cost)
        node.account.close()
        self.let_run()
        for each in node.below:
            assert each.account.closed and not list(self.waiting_at(each))

    def at_work(self) -> Iterator[Node]:
        """Nodes of which nobody waits, neither they nor below; not the root."""
        for node in self.nodes[1:]:
            waiting = any(any(self.waiting_at(each)) for each in node.below)
            if not node.account.closed and not waiting:
                yield node

    def still_waiting(self) -> Iterator[tuple[Task, bool]]:
        for node in self.nodes:
            yield from self.waiting_at(node)

    def waiting_at(self, node: Node) -> Iterator[tuple[Task, bool]]:
        yield from (pair for pair in node.waiting if not pair[0].done())

    def end_one(self, node: Node, reservation: Reservation, how: str, part: float) -> None:
        amount = reservation.amount
        cost = amount.cost
        if how == "release":
            reservation.release()
            return
        if how == "charge":
            usage = reservation.charge()
        else:
            times = 3 if how == "overrun" else part
            prompt = int(times * (amount.tokens - amount.output_tokens))
            usage = Usage(prompt, int(times * amount.output_tokens), calls=amount.calls)
            cost = None if cost is None else times * cost
            if how == "overrun":
                at: Node | None = node
                while at is not None:
                    at.over, at = True, at.parent
            reservation.settle(usage, cost)
        node.spent(usage, cost)

    def let_run(self) -> None:
        """Let all that can go on go on, and take note of who was granted what."""

        async def steps() -> None:
            for _ in range(4):
                await asyncio.sleep(0)

        self.loop.run_until_complete(steps())
        for node in list(self.nodes):
            for task, _ in [pair for pair in node.waiting if pair[0].done()]:
                if task.cancelled():
                    continue
                error = task.exception()
                if error is None:
                    got = task.result()
                    if isinstance(got, Account):
                        self.opened(got, node)
                    else:
                        node.open.append(got)
                else:
                    assert isinstance(error, BudgetExceeded | CallFailed), error
            node.waiting = [pair for pair in node.waiting if not pair[0].done()]


def amounts_of(node: Node) -> Iterator[Amount]:
    yield from (reservation.amount for reservation in node.open)


TestLedger = Ledger.TestCase
TestLedger.settings = settings(
    max_examples=120,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
