"""The account of one node: what it reserves, holds and opens below it, its time and its turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from abyme.config import Limits
from abyme.errors import BudgetExceeded, CallFailed
from abyme.ledger.amounts import COST, KINDS, NANO, NOTHING, Amount, Spent, shown
from abyme.ledger.level import Level
from abyme.ledger.line import Blocked, Line
from abyme.ledger.queue import CALL, LAST_CALL, TURN, child_rank
from abyme.ledger.report import second_line, sum_lines, turn_line
from abyme.ledger.reservation import Reservation
from abyme.ledger.timing import Timer
from abyme.ledger.tree import AT_ONCE, Tree
from abyme.types import Usage

Size = Callable[[bool], Amount]
"""What a call asks for as things are now; True: the least that it can do with. It may raise
:class:`BudgetExceeded`."""
Entry = Callable[[bool], tuple[Amount, Amount]]
"""The same of a child that is to begin: what it will hold, and that with its first call."""
ROOT = "0"


class Account:
    """What one node of the tree has spent, has in flight, and may still spend.

    ``limits`` binds over this account and all below it, beside the limits of those above. The
    clock starts now, at ``spent``'s. ``node``: whose it is.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        parent: Account | None = None,
        spent: Spent | None = None,
        *,
        node: str = ROOT,
    ) -> None:
        spent = spent or Spent()
        self.limits = limits
        self.node = node
        self._clock = clock
        self._parent = parent
        above = None if parent is None else parent._timer
        self._timer: Timer = Timer(limits.max_seconds, node, clock, spent.seconds, above)
        self._turns = spent.turns
        self._turns_before = spent.turns  # of earlier questions
        self._level = level = Level(node, limits, of_child=parent is not None)
        level.settled = list(spent.sums)
        level.usage, level.unpriced = spent.usage, spent.unpriced
        self._line: Line = Line((*(parent._line.levels if parent else ()), level))
        self._accounts: tuple[Account, ...] = (*(parent._accounts if parent else ()), self)
        self._tree: Tree = parent._tree if parent else Tree()
        self._tree.opened(self._line)
        self._children: set[Account] = set()
        self._open: set[Reservation] = set()
        self._told: set[asyncio.Future[BudgetExceeded]] = set()
        self._closed = False

    # -- the tree ------------------------------------------------------------------------------

    def child(
        self, node: str, limits: Limits | None = None, *, spent: Spent | None = None
    ) -> Account:
        """An account below this one, for the child ``node``: it begins now.

        It spends no more than this one and those above it have left, and has its own clock, turns
        and hold. ``limits``: else those that the root's have for its depth
        (:meth:`abyme.config.Limits.at_depth`). ``spent``: what it spent before, where the run goes
        on; that is in the sums of those above already.

        Raises :class:`CallFailed` where this account is closed.
        """
        self._refuse_closed()
        if limits is None:
            limits = self._accounts[0].limits.at_depth(len(self._accounts))
        account = Account(limits, self._clock, self, spent, node=node)
        self._children.add(account)
        return account

    async def admit(
        self,
        name: Callable[[], str],
        entry: Entry,
        *,
        spent: Spent | None = None,
    ) -> Account:
        """:meth:`child`, as soon as what it holds and its first call fit beside all others.

        As much again as other nodes hold is left free for their calls, where that can be, and no
        more than ``AT_ONCE`` nodes of one depth are at work. It waits behind all calls of nodes
        that are, and holds nothing meanwhile. ``name`` is asked for when it begins.

        Raises as :meth:`reserve`; one that goes on, of which something was ``spent``, begins
        even where it can do nothing more.
        """
        depth = len(self._accounts)
        if spent is None:
            self._refuse_hopeless(entry(True)[1], depth)

        def sized(least: bool) -> tuple[Amount, Amount] | None:
            self._refuse_ended()
            try:
                hold, whole = entry(least)
                self._line.refuse_impossible(whole.sums)
            except BudgetExceeded:
                if spent is None:
                    raise
                return None
            return hold, whole

        def begin(hold: Amount) -> Account:
            account = self.child(name(), spent=spent)
            account._line.hold(hold.sums)
            self._tree.keep(account._line)
            return account

        def attempt(least: bool) -> Account | Blocked:
            if self._tree.at_work[depth] >= AT_ONCE:  # looked at first: hundreds may wait for that
                return Blocked(self._line.levels[0], held_up=True, crowded=False, full=True)
            asked = sized(least)
            if asked is None:
                return begin(Amount())
            hold, whole = asked
            return self._line.blocked(whole.sums, spare=not least) or begin(hold)

        if not self._tree.queue.empty:
            sized(False)
        return await self._tree.granted(self._line, attempt, child_rank(depth), Account.close)

    def _refuse_hopeless(self, whole: Amount, depth: int) -> None:
        """Raise where a child's own limits do not pay for the least that one can do with."""
        limits = self._accounts[0].limits.at_depth(depth)
        own = Level("", limits, of_child=False)
        kind = own.binding(whole.sums, NOTHING, in_flight=False)
        if kind is not None:
            most, needs = own.most[kind] or 0, whole.sums[kind]
            raise BudgetExceeded(
                f"max_{KINDS[kind]}",
                f"max_{KINDS[kind]} of a child is {shown(kind, most)}: with its first call and its "
                f"last it needs about {shown(kind, needs)}",
            )

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._closed

    def close(self) -> None:
        """The node is over, and all below it: nothing stays held or reserved, nobody waits.

        Cancel what is in flight first: a reservation that is still open here is charged, since its
        call may have been made. Whoever waits, and whoever reserves later, gets
        :class:`CallFailed`. What was spent stays spent. May be called twice.
        """
        closing = [account for account in self._below() if not account._closed]
        for account in closing:
            account._closed = True
            self._tree.queue.dismiss(account._level, account._over())
        for account in closing:
            for reservation in list(account._open):
                reservation.charge()
            account.hold(Amount())
        for account in closing:
            account._children.clear()
            self._tree.ended(account._line)
        if self._parent is not None:
            self._parent._children.discard(self)
        self._tree.serve()

    def _below(self) -> list[Account]:
        """This one, and all below it."""
        return [self, *(account for child in self._children for account in child._below())]

    def _over(self) -> CallFailed:
        return CallFailed(f"node {self.node} has ended: no call is made any more")

    def _refuse_closed(self) -> None:
        if self._closed:
            raise self._over()

    # -- reserving -----------------------------------------------------------------------------

    async def reserve(
        self,
        amount: Amount | Size,
        *,
        final: bool = False,
        turn: bool = False,
        waits: Callable[[], None] | None = None,
    ) -> Reservation:
        """Set ``amount`` aside, at once where it fits beside all that is settled, reserved, held.

        Where it would fit once calls in flight have settled, or other nodes have ended, it waits
        its turn (:mod:`abyme.ledger.queue`); ``waits`` is called then. ``final`` may use what this
        account holds, and goes before all that wait, a ``turn`` of the node before other calls.

        Raises :class:`BudgetExceeded` as soon as it cannot fit even then, where the node's time is
        up while it waits, or where all wait for each other and this node gives way, and
        :class:`CallFailed` where the account is closed. Cancelling it while it waits leaves nothing
        reserved.
        """

        def sized(least: bool) -> Amount:
            self._refuse_ended(final)
            asked = amount(least) if callable(amount) else amount
            self._line.refuse_impossible(asked.sums, final=final)
            return asked

        def attempt(least: bool) -> Reservation | Blocked:
            asked = sized(least)
            return self._line.blocked(asked.sums, final=final) or self._take(asked, final)

        if not self._tree.queue.empty:
            sized(False)  # what is impossible waits behind nobody
        rank = LAST_CALL if final else TURN if turn else CALL
        left, undo = self.seconds_left(final=final), Reservation.release
        try:
            return await self._tree.granted(self._line, attempt, rank, undo, waits, left)
        except TimeoutError:
            self.check_time(final=final)
            raise BudgetExceeded("max_seconds", "max_seconds: the run's time is up") from None

    def _refuse_ended(self, final: bool = False) -> None:
        """Raise where no such call is made any more, whatever is left."""
        self._refuse_closed()
        if self._level.gave_way is not None and not final:
            raise self._level.gave_way

    def hold(self, amount: Amount) -> None:
        """Keep ``amount`` back for the last call, in place of what was held before.

        Ordinary reservations here, above and below leave it free from now on; those in flight are
        not touched. Where there is not so much to be had, here or above, it is as much as there
        is, and more as soon as calls in flight have settled.
        """
        self._line.hold(NOTHING if self._closed else amount.sums)
        self._tree.keep(self._line)
        self._tree.serve()

    def rooms(
        self, *, final: bool = False, alone: bool = True, in_flight: bool = False
    ) -> dict[str, float]:
        """What one call could get of each kind once all in flight is released.

        Kinds: calls, tokens, input_tokens, output_tokens, and cost in dollars. ``alone``: once
        all other nodes have ended, too. ``in_flight``: now, beside what is in flight. ``inf`` where
        there is no limit; never below 0.
        """
        rooms = self._line.rooms(final=final, alone=alone, in_flight=in_flight)
        rooms[COST] /= NANO
        return dict(zip(KINDS, rooms, strict=True))

    def too_little(self, kind: str, need: str, *, final: bool = False) -> BudgetExceeded:
        """The error that there is too little room of this kind: whose limit it is, and ``need``."""
        return self._line.too_little(KINDS.index(kind), need, final=final)

    def _take(self, amount: Amount, final: bool) -> Reservation:
        of_hold = self._line.take(amount.sums, final=final)
        reservation = Reservation(amount, of_hold, self._settle)
        self._open.add(reservation)
        return reservation

    def _settle(self, reservation: Reservation, spent: Usage | None, cost: float | None) -> None:
        self._open.discard(reservation)
        self._line.give_back(reservation.amount.sums)
        if spent is not None:
            for level in self._line.levels:
                level.spend(spent, cost)
            self._tree.make_good(self._line)
            self._tell_overrun()
        elif not self._closed:  # what was held is held again, before others can have it
            self._line.hold_again(reservation.of_hold)
        self._tree.keep(self._line)
        self._tree.serve()

    # -- when more was spent than reserved -----------------------------------------------------

    async def overrun(self) -> BudgetExceeded:
        """Wait until more was spent than this account or one above it allows; what to end it with.

        That is so as soon as a reply has cost more than was reserved for it, and so much that what
        is spent and held together passes a limit: no ordinary call is possible any more, and each
        one in flight makes the last call smaller. It tells of what is settled from now on: who
        begins over a limit, as a run that is resumed may, is refused when he asks.
        """
        told: asyncio.Future[BudgetExceeded] = asyncio.get_running_loop().create_future()
        for account in self._accounts:
            account._told.add(told)
        try:
            return await told
        finally:
            for account in self._accounts:
                account._told.discard(told)

    def _tell_overrun(self) -> None:
        for account in self._accounts:
            if account._told and (kind := account._level.passed()) is not None:
                error = account._level.refusal(kind, final=False)
                for told in account._told:
                    if not told.done():
                        told.set_result(error)

    # -- time and turns ------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Seconds since the account was opened."""
        return self._timer.seconds

    @property
    def turns(self) -> int:
        """Turns begun, those of earlier questions included."""
        return self._turns

    def seconds_left(self, *, final: bool = False) -> float:
        """Seconds until the time is up, ``inf`` without a limit; below 0 once it has passed.

        Min(60 s, 10 % of its time) are kept back for the last call: see
        :class:`abyme.ledger.timing.Timer`.
        """
        return self._timer.left(final=final)

    def check_time(self, *, final: bool = False) -> None:
        """Raise :class:`BudgetExceeded` once the time is used up."""
        self._timer.check(final=final)

    def check(self) -> None:
        """Raise :class:`BudgetExceeded` where no further turn may begin: time or turns are up."""
        self.check_time()
        most, begun = self.limits.max_turns, self._turns - self._turns_before
        if begun >= most:
            node = "" if self._parent is None else self.node
            whose = f"max_turns of node {node}" if node else "max_turns"
            raise BudgetExceeded("max_turns", f"{whose}: {begun} of {most} turns are used", node)

    def start_turn(self, *, recorded: bool = False) -> int:
        """Begin a turn and return its number, from 1. Raises as :meth:`check`.

        A ``recorded`` turn was made before the run was resumed: no limit refuses it.
        """
        if not recorded:
            self.check()
        self._turns += 1
        return self._turns

    def start_question(self) -> None:
        """A further question: its turns are counted from here on, all else goes on."""
        self._turns_before = self._turns
        self.hold(Amount())

    def pause(self) -> Callable[[], None]:
        """Stop the clock; what is returned starts it again."""
        return self._timer.pause()

    # -- what is reported ----------------------------------------------------------------------

    @property
    def usage(self) -> Usage:
        """All that was settled or charged, here and below."""
        return self._level.usage

    @property
    def cost(self) -> float | None:
        """US dollars settled or charged; None as soon as the price of one call is not known."""
        level = self._level
        return None if level.unpriced else level.settled[COST] / NANO

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """What ``budget()`` shows, a line for each kind.

        Kinds: ``calls``, ``tokens``, ``input_tokens``, ``output_tokens``, ``cost`` (US dollars),
        ``turns``, ``seconds``. A line has ``used`` and ``reserved``, here and below; ``limit``,
        its own; ``left``, what ordinary calls may still get: the least that this node and those
        above it have left; ``node``, whose limit that is, and ``share``, which part of that is
        used. None stands for "no limit" and for "not known".
        """
        turns = turn_line(self._turns - self._turns_before, self.limits.max_turns, self.node)
        seconds = second_line(self._timer, self.limits.max_seconds)
        return {**sum_lines(self._line.levels), "turns": turns, "seconds": seconds}
