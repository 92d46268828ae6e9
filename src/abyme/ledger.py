"""What a run may still spend: reserved before a call goes out, settled when its reply is in.

An :class:`Account` keeps three sums (calls, tokens, US dollars) against its
:class:`~abyme.config.Limits`, and reads the clock and the turns. It may stand below a parent:
every charge walks up to the root, so no account spends more than any of its ancestors has left.

- What is *settled* was spent. What is *reserved* may yet be spent by calls in flight. What is
  *held* is kept back for the one final call.
- ``settled + reserved + held`` never passes a limit by a reservation. It can by an actual that
  turned out larger than its reservation: what was spent is spent, and is counted in full.
- An unknown price is unknown. It is reported as ``None``, never as 0, and the dollar limit cannot
  bind for such a call.
- Dollars are kept as whole nano-dollars, so that a million small sums come back to exactly zero.

Not safe across threads: it belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from abyme.config import Limits
from abyme.errors import BudgetExceeded
from abyme.types import Usage

_NANO = 1_000_000_000
_KINDS = ("calls", "tokens", "cost")
_COST = _KINDS.index("cost")

FINAL_SECONDS = 60.0
"""Seconds kept back for the final call, but never more than FINAL_SHARE of ``max_seconds``."""
FINAL_SHARE = 0.1

_Sums = tuple[int, int, int]
"""Calls, tokens and nano-dollars, in the order of ``_KINDS``."""


class Amount(msgspec.Struct, frozen=True):
    """What a call may cost at most. ``output_tokens`` is the part of ``tokens`` that the reply
    may use; ``cost`` is in US dollars, None where the price is not known."""

    tokens: int = 0
    cost: float | None = 0.0
    calls: int = 0
    output_tokens: int = 0

    def __post_init__(self) -> None:
        if min(self.tokens, self.calls, self.output_tokens) < 0 or (self.cost or 0) < 0:
            raise ValueError(f"an amount cannot be negative: {self}")

    @property
    def _sums(self) -> _Sums:
        return (self.calls, self.tokens, _nano(self.cost))


class Reservation:
    """A sum set aside for one call. The first of ``settle``, ``charge`` and ``release`` counts;
    what follows does nothing, so that ``finally: reservation.release()`` is always safe."""

    __slots__ = ("_account", "_sums", "amount", "open")

    def __init__(self, account: Account, amount: Amount, sums: _Sums) -> None:
        self._account = account
        self._sums = sums
        self.amount = amount
        self.open = True

    def settle(self, usage: Usage, cost: float | None) -> None:
        """The call was answered: charge what it used, which may be more than was reserved.

        ``cost`` is in US dollars, None where unknown. The calls counted are those reserved,
        whatever ``usage.calls`` says, so that an attempt more is not a call more.
        """
        spent = msgspec.structs.replace(usage, calls=self.amount.calls)
        self._close(spent, cost)

    def charge(self) -> Usage:
        """Nobody knows what the call used (cancelled or timed out in flight): charge all of it.

        Returns what was charged, marked as estimated.
        """
        amount = self.amount
        spent = Usage(
            input_tokens=amount.tokens - amount.output_tokens,
            output_tokens=amount.output_tokens,
            calls=amount.calls,
            estimated=True,
        )
        self._close(spent, amount.cost)
        return spent

    def release(self) -> None:
        """Nothing was spent: the call was rejected or never sent."""
        self._close(None, 0.0)

    def _close(self, spent: Usage | None, cost: float | None) -> None:
        if self.open:
            self.open = False
            self._account._settle(self._sums, spent, cost)


class _Waiter(msgspec.Struct, frozen=True):
    account: Account
    amount: Amount
    final: bool
    granted: asyncio.Future[Reservation]


class Spent(msgspec.Struct, frozen=True):
    """What a run had spent when it was left: an account that goes on begins with it.

    ``cost`` is in US dollars, of the calls whose price was known; ``unpriced`` are the others.
    """

    usage: Usage = Usage()
    cost: float = 0.0
    unpriced: int = 0
    seconds: float = 0.0
    turns: int = 0


class Account:
    """What one node of the tree has spent, has in flight, and may still spend.

    ``limits`` binds over this account and all below it. The clock starts now, at ``spent``'s.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        parent: Account | None = None,
        spent: Spent | None = None,
    ) -> None:
        spent = spent or Spent()
        self.limits = limits
        self._clock = clock
        self._began = clock() - spent.seconds
        self._turns = spent.turns
        self._turns_before = spent.turns  # of earlier questions
        self._path: tuple[Account, ...] = (*(parent._path if parent else ()), self)
        self._most = (limits.max_calls, limits.max_tokens, _nano_limit(limits.max_cost))
        self._settled = [spent.usage.calls, spent.usage.tokens, _nano(spent.cost)]
        self._reserved = [0, 0, 0]
        self._held: _Sums = (0, 0, 0)
        self._usage = spent.usage
        self._unpriced = spent.unpriced  # settled calls whose price is not known
        # One queue for the tree, so that whoever asked first is served first.
        self._waiting: deque[_Waiter] = parent._waiting if parent else deque()

    # -- reserving -----------------------------------------------------------------------------

    async def reserve(self, amount: Amount, *, final: bool = False) -> Reservation:
        """Set ``amount`` aside, at once where it fits beside all that is settled, reserved, held.

        Where it would fit once calls in flight have settled it waits its turn, first come first
        served (a waiter behind another learns that it cannot fit any more when it comes first).
        ``final`` may use what is held, and goes before those that wait.

        Raises :class:`BudgetExceeded` as soon as it cannot fit even then. Cancelling it while it
        waits leaves nothing reserved.
        """
        self._refuse_impossible(amount, final)
        if (final or not self._waiting) and self._fits(amount, final):
            return self._take(amount)
        waiter = _Waiter(self, amount, final, asyncio.get_running_loop().create_future())
        if final:
            self._waiting.appendleft(waiter)
        else:
            self._waiting.append(waiter)
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().release()  # granted and cancelled within one step of the loop
            else:
                granted.cancel()
                self._serve()
            raise

    def hold(self, amount: Amount) -> None:
        """Keep ``amount`` back for the final call, in place of what was held before.

        Ordinary reservations leave it free from now on; those in flight are not touched.
        """
        self._held = amount._sums
        self._serve()

    def room(self, *, final: bool = False) -> tuple[float, float]:
        """Tokens and US dollars that one call could get once all in flight is released.

        ``inf`` where there is no limit; never below 0.
        """
        room = [math.inf, math.inf, math.inf]
        for account in self._path:
            for kind, most in enumerate(account._most):
                if most is not None:
                    held = 0 if final else account._held[kind]
                    room[kind] = min(room[kind], max(0, most - account._settled[kind] - held))
        return room[1], room[_COST] / _NANO

    def _fits(self, amount: Amount, final: bool, *, in_flight: bool = True) -> bool:
        ask = amount._sums
        return all(
            account._binding(ask, final, in_flight=in_flight) is None for account in self._path
        )

    def _binding(self, ask: _Sums, final: bool, *, in_flight: bool) -> int | None:
        """The kind whose limit ``ask`` would pass here. What asks nothing passes no limit."""
        for kind in range(3):
            most = self._most[kind]
            if most is None or ask[kind] == 0:
                continue
            total = self._settled[kind] + ask[kind]
            if in_flight:
                total += self._reserved[kind]
            if not final:
                total += self._held[kind]
            if total > most:
                return kind
        return None

    def _refuse_impossible(self, amount: Amount, final: bool) -> None:
        ask = amount._sums
        for account in self._path:
            kind = account._binding(ask, final, in_flight=False)
            if kind is not None:
                raise account._refusal(kind, ask[kind], final)

    def _take(self, amount: Amount) -> Reservation:
        sums = amount._sums
        for account in self._path:
            for kind in range(3):
                account._reserved[kind] += sums[kind]
        return Reservation(self, amount, sums)

    def _settle(self, reserved: _Sums, spent: Usage | None, cost: float | None) -> None:
        for account in self._path:
            for kind in range(3):
                account._reserved[kind] -= reserved[kind]
            if spent is not None:
                account._settled[0] += spent.calls
                account._settled[1] += spent.tokens
                account._settled[_COST] += _nano(cost)
                account._unpriced += cost is None
                account._usage += spent
        self._serve()

    def _serve(self) -> None:
        """Grant or refuse those that wait, from the first on, until one has to wait on."""
        while self._waiting:
            waiter = self._waiting[0]
            if not waiter.granted.done():
                account, amount = waiter.account, waiter.amount
                try:
                    account._refuse_impossible(amount, waiter.final)
                except BudgetExceeded as error:
                    waiter.granted.set_exception(error)
                else:
                    if not account._fits(amount, waiter.final):
                        return
                    waiter.granted.set_result(account._take(amount))
            self._waiting.popleft()

    # -- time and turns ------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Seconds since the account was opened."""
        return self._clock() - self._began

    @property
    def turns(self) -> int:
        """Turns begun, those of earlier questions included."""
        return self._turns

    def seconds_left(self, *, final: bool = False) -> float:
        """Seconds until the time is up, ``inf`` without a limit; below 0 once it has passed.

        Min(60 s, 10 % of ``max_seconds``) are kept back for the final call.
        """
        return min(account._own_seconds_left(final) for account in self._path)

    def check_time(self, *, final: bool = False) -> None:
        """Raise :class:`BudgetExceeded` once the time is used up."""
        for account in self._path:
            if account._own_seconds_left(final) <= 0:
                most = account.limits.max_seconds or 0.0
                kept = "" if final else f", {_kept(most):g} s are kept for the final answer"
                raise BudgetExceeded(
                    "max_seconds",
                    f"max_seconds: {account.seconds:.0f} of {most:g} s are used{kept}",
                )

    def check(self) -> None:
        """Raise :class:`BudgetExceeded` where no further turn may begin: time or turns are up."""
        self.check_time()
        most, used = self.limits.max_turns, self._turns - self._turns_before
        if used >= most:
            raise BudgetExceeded(
                "max_turns",
                f"max_turns: {used} of {most} turns are used",
            )

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
        self._held = (0, 0, 0)

    def pause(self) -> Callable[[], None]:
        """Stop the clock; what is returned starts it again."""
        since = self._clock()

        def resume() -> None:
            self._began += self._clock() - since

        return resume

    def _own_seconds_left(self, final: bool) -> float:
        most = self.limits.max_seconds
        if most is None:
            return math.inf
        return most - self.seconds - (0.0 if final else _kept(most))

    # -- what is reported ----------------------------------------------------------------------

    @property
    def usage(self) -> Usage:
        """All that was settled or charged, here and below."""
        return self._usage

    @property
    def cost(self) -> float | None:
        """US dollars settled or charged; None as soon as the price of one call is not known."""
        return None if self._unpriced else self._settled[_COST] / _NANO

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """What ``budget()`` shows: for each kind ``used``, ``reserved``, ``limit`` and ``left``.

        Kinds: ``calls``, ``tokens``, ``cost`` (US dollars), ``turns``, ``seconds``. None stands
        for "no limit" and for "not known". ``left`` is what ordinary calls may still get.
        """
        state = {
            name: _line(self._settled[kind], self._reserved[kind], most, self._held[kind])
            for kind, (name, most) in enumerate(zip(_KINDS, self._most, strict=True))
        }
        state["cost"] = {
            key: None if value is None else value / _NANO for key, value in state["cost"].items()
        }
        if self._unpriced:
            state["cost"]["used"] = state["cost"]["left"] = None
        turns = self._turns - self._turns_before
        state["turns"] = _line(turns, 0, self.limits.max_turns, 0)
        most, seconds = self.limits.max_seconds, round(self.seconds, 3)
        state["seconds"] = _line(seconds, 0, most, 0 if most is None else _kept(most))
        return state

    def _refusal(self, kind: int, ask: int, final: bool) -> BudgetExceeded:
        """One line: the limit, what is used, kept and asked for, and what raises it."""
        name, most = _KINDS[kind], self._most[kind] or 0
        show = _dollars if kind == _COST else lambda count: f"{count:,}"
        unit = "" if kind == _COST else f" {name}"
        parts = [f"{show(self._settled[kind])} of {show(most)}{unit} are used"]
        if self._held[kind] and not final:
            parts.append(f"{show(self._held[kind])} kept for the final answer")
        if ask > 1:
            parts.append(f"this call may need {show(ask)}")
        line = f"max_{name}: {', '.join(parts)}"
        return BudgetExceeded(f"max_{name}", line)


def _kept(max_seconds: float) -> float:
    return min(FINAL_SECONDS, FINAL_SHARE * max_seconds)


def _nano(cost: float | None) -> int:
    return round((cost or 0.0) * _NANO)


def _nano_limit(cost: float | None) -> int | None:
    return None if cost is None or math.isinf(cost) else _nano(cost)


def _dollars(nano: int) -> str:
    return f"${nano / _NANO:,.4f}".rstrip("0").rstrip(".")


def _line(used: float, reserved: float, most: float | None, kept: float) -> dict[str, Any]:
    left = None if most is None else max(0, most - used - reserved - kept)
    return {"used": used, "reserved": reserved, "limit": most, "left": left}
