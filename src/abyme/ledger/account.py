"""The account of one node: reserving, holding, opening accounts below it, closing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from abyme.config import Limits
from abyme.errors import BudgetExceeded, CallFailed
from abyme.ledger.amounts import (
    COST,
    KINDS,
    NANO,
    NOTHING,
    Amount,
    Spent,
    Sums,
    add,
    each,
    shown,
    used,
)
from abyme.ledger.level import Level
from abyme.ledger.queue import Queue
from abyme.ledger.report import second_line, sum_lines, turn_line
from abyme.ledger.reservation import Reservation
from abyme.ledger.timing import Timer
from abyme.types import Usage

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
        self._levels: tuple[Level, ...] = (*(parent._levels if parent else ()), level)
        self._accounts: tuple[Account, ...] = (*(parent._accounts if parent else ()), self)
        self._tree: _Tree = parent._tree if parent else _Tree()
        self._hold: Sums = NOTHING
        self._wish: Sums = NOTHING  # what is to be held; less is where there is not so much
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
            account._children.clear()
        if self._parent is not None:
            self._parent._children.discard(self)

    def _below(self) -> list[Account]:
        """This one, and all below it."""
        return [self, *(account for child in self._children for account in child._below())]

    def _over(self) -> CallFailed:
        return CallFailed(f"node {self.node} has ended: no call is made any more")

    def _refuse_closed(self) -> None:
        if self._closed:
            raise self._over()

    # -- reserving -----------------------------------------------------------------------------

    async def reserve(self, amount: Amount, *, final: bool = False) -> Reservation:
        """Set ``amount`` aside, at once where it fits beside all that is settled, reserved, held.

        Where it would fit once calls in flight have settled it waits its turn
        (:mod:`abyme.ledger.queue`). ``final`` may use what this account holds, and goes before
        those that wait.

        Raises :class:`BudgetExceeded` as soon as it cannot fit even then, and :class:`CallFailed`
        where the account is closed. Cancelling it while it waits leaves nothing reserved.
        """
        self._refuse_closed()
        self._refuse_impossible(amount, final)
        queue = self._tree.queue
        if (final or queue.empty) and self._blocked_at(amount, final) is None:
            return self._take(amount, final)
        granted: asyncio.Future[Reservation] = asyncio.get_running_loop().create_future()

        def attempt() -> Level | None:
            try:
                self._refuse_impossible(amount, final)
            except BudgetExceeded as error:
                granted.set_exception(error)
                return None
            blocked = self._blocked_at(amount, final)
            if blocked is None:
                granted.set_result(self._take(amount, final))
            return blocked

        queue.join(self._levels, attempt, granted, first=final)
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().release()  # granted and cancelled within one step of the loop
            else:
                granted.cancel()
                self._tree.serve()
            raise

    def hold(self, amount: Amount) -> None:
        """Keep ``amount`` back for the last call, in place of what was held before.

        Ordinary reservations here, above and below leave it free from now on; those in flight are
        not touched. Where there is not so much to be had, here or above, it is as much as there
        is, and more as soon as calls in flight have settled.
        """
        self._wish = NOTHING if self._closed else amount.sums
        self._top_up()
        self._tree.serve()

    def room(self, *, final: bool = False) -> tuple[float, float]:
        """Tokens and US dollars that one call could get once all in flight is released.

        ``inf`` where there is no limit; never below 0.
        """
        return self.room_for("tokens", final=final), self.room_for("cost", final=final)

    def room_for(self, kind: str, *, final: bool = False) -> float:
        """The same of one kind: calls, tokens, input_tokens, output_tokens, or cost in dollars."""
        at = KINDS.index(kind)
        room = self._tightest(at, final)[1]
        return room / NANO if at == COST else room

    def too_little(self, kind: str, need: str, *, final: bool = False) -> BudgetExceeded:
        """The error that there is too little room of this kind: whose limit it is, and ``need``."""
        at = KINDS.index(kind)
        level, room = self._tightest(at, final)
        return level.too_little(at, room, need)

    def _tightest(self, kind: int, final: bool) -> tuple[Level, float]:
        """The level that has the least room of a kind once nothing is in flight, and the room."""
        usable = self._hold if final else NOTHING
        rooms = ((level, level.free(kind, usable, in_flight=False)) for level in self._levels)
        return min(rooms, key=lambda pair: pair[1])

    def _blocked_at(self, amount: Amount, final: bool) -> Level | None:
        """The nearest level whose limit ``amount`` would pass beside the calls in flight."""
        ask, usable = amount.sums, self._hold if final else NOTHING
        for level in reversed(self._levels):
            if level.binding(ask, usable, in_flight=True) is not None:
                return level
        return None

    def _refuse_impossible(self, amount: Amount, final: bool) -> None:
        ask, usable = amount.sums, self._hold if final else NOTHING
        for level in self._levels:
            kind = level.binding(ask, usable, in_flight=False)
            if kind is not None:
                need = f"this call may need {shown(kind, ask[kind])}" if ask[kind] > 1 else ""
                raise level.refusal(kind, final, need)

    def _take(self, amount: Amount, final: bool) -> Reservation:
        sums, of_hold = amount.sums, NOTHING
        if final:
            of_hold = each(min, sums, self._hold)
            self._wish = each(int.__sub__, self._wish, of_hold)
            self._keep(each(int.__sub__, self._hold, of_hold))
        for level in self._levels:
            add(level.reserved, sums)
        reservation = Reservation(amount, of_hold, self._settle)
        self._open.add(reservation)
        return reservation

    def _settle(self, reservation: Reservation, spent: Usage | None, cost: float | None) -> None:
        self._open.discard(reservation)
        sums = reservation.amount.sums
        charged = NOTHING if spent is None else used(spent, cost)
        for level in self._levels:
            add(level.reserved, sums, -1)
            if spent is not None:
                add(level.settled, charged)
                level.usage += spent
                level.unpriced += cost is None
        if spent is not None:
            self._tell_overrun()
        elif not self._closed:  # what was held is held again, before others can have it
            self._wish = each(int.__add__, self._wish, reservation.of_hold)
            self._top_up()
        self._tree.serve()

    def _top_up(self) -> None:
        """Hold what is to be held, as far as it is there now."""
        free = (
            min(level.free(kind, self._hold) for level in self._levels)
            for kind in range(len(KINDS))
        )
        had = each(max, self._hold, tuple(free))
        self._keep(each(min, self._wish, had))
        if self._hold == self._wish:
            self._tree.short.pop(self, None)
        else:
            self._tree.short[self] = None

    def _keep(self, hold: Sums) -> None:
        more = each(int.__sub__, hold, self._hold)
        for level in self._levels:
            add(level.held, more)
        self._hold = hold

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
        above it have left; ``node``, whose limit that is, and ``share``, which part of that is used
        or in flight. None stands for "no limit" and for "not known".
        """
        turns = turn_line(self._turns - self._turns_before, self.limits.max_turns, self.node)
        seconds = second_line(self._timer, self.limits.max_seconds)
        return {**sum_lines(self._levels), "turns": turns, "seconds": seconds}


class _Tree:
    """What all accounts of a tree share."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.short: dict[Account, None] = {}
        """Those that hold less than they should, in the order in which that came up."""

    def serve(self) -> None:
        """A sum has shrunk: what is held comes before whoever waits."""
        for account in tuple(self.short):
            account._top_up()
        if not self.queue.empty:
            self.queue.serve()
