"""One call to a model as a run makes it: sized, reserved, sent, tried again, settled, told.

Read :meth:`Caller.call` first. A model makes one attempt; all that surrounds attempts is here, the
same for every model:

- A call that was *started* is always *ended*: one ``CallEnded`` for each ``CallStarted``.
- Each attempt is paid for by its own outcome. Answered: settled by the endpoint's count. Refused
  with an HTTP error, or no connection: costs nothing. Timed out, cancelled or dropped in flight,
  or no usable reply: its reservation is charged, marked as estimated, and the next attempt
  reserves anew. A call counts once, however many attempts it took.
- A call's seconds begin with its first attempt. Waiting for its turn before that (``max_width``,
  the endpoint's width, budget that others have in flight) is bounded by the run's time alone: a
  batch of thousands does not time out in its own queue.
- An attempt gets half of the call's seconds, or of the run's where fewer are left, though not less
  than a minute of these; where its siblings were answered long before, it is cut sooner, once a
  call (:mod:`abyme.models.patience`).
- Within a run, those who wait take turns by level: the turns of each depth of the tree are one, the
  calls that code makes at that depth another.

Not covered: a reply streamed through ``on_text`` by an attempt that then fails is not taken back;
``AttemptFailed`` says where the text begins again.
"""

from __future__ import annotations

import asyncio
import copy
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import msgspec

from abyme.config import Limits
from abyme.errors import (
    AbymeError,
    BadReply,
    BudgetExceeded,
    CallTimeout,
    ModelError,
    WindowExceeded,
)
from abyme.events import (
    AttemptFailed,
    CallKind,
    CallRefused,
    Emit,
    SurrogatesReplaced,
)
from abyme.ledger import Account, Amount, Reservation
from abyme.models.base import Model, OnText, Request
from abyme.models.call import Call, started
from abyme.models.estimator import TokenEstimator
from abyme.models.patience import LEAST_SECONDS, LOOK_SECONDS, Patience
from abyme.models.prices import Price, price_of_model
from abyme.models.retry import RetryPolicy, may_be_billed
from abyme.models.scheduler import Scheduler, Turn
from abyme.models.sizing import Sizing
from abyme.types import Message, Reply, Usage

_LEAST_SHARE = 60.0
"""Seconds that an attempt gets, however few the run has left: a long reply takes as long."""
_TURNS: frozenset[CallKind] = frozenset({"root", "final"})
_SURROGATE = re.compile("[\ud800-\udfff]")


class Caller:
    """Makes the model calls of one node, and by :meth:`child` those of the tree below it.

    One for the root of each run. Belongs to one event loop, as its scheduler does.
    """

    def __init__(
        self,
        account: Account,
        scheduler: Scheduler,
        emit: Emit,
        limits: Limits,
        *,
        estimator: TokenEstimator | None = None,
        price_of: Callable[[Model], Price | None] = price_of_model,
        policy: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._account = account
        self._emit = emit
        self._limits = limits
        self._estimator = estimator or TokenEstimator()
        self._price_of = price_of
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self.sizing = Sizing(account, self._estimator, price_of)
        self._share = scheduler.share(limits.max_width)
        self._depth = 0
        self._known: set[str] = set()  # endpoints that have answered
        self._patience = Patience()

    def child(self, account: Account) -> Caller:
        """The caller of a node one level deeper: its own account and limits, the same run.

        The whole tree has one share of the scheduler, and so one ``max_width``: the root's.
        """
        child = copy.copy(self)
        child._account, child._limits = account, account.limits
        child.sizing = self.sizing.of(account)
        child._depth = self._depth + 1
        return child

    async def call(
        self,
        model: Model,
        request: Request,
        *,
        key: str,
        node: str,
        cell: int,
        kind: CallKind,
        prompt: str = "",
        final: bool = False,
        on_text: OnText | None = None,
    ) -> Reply:
        """Ask ``model`` and return its reply, which is never empty.

        ``key``, ``node``, ``cell``, ``kind`` and ``prompt`` are what the events say of the call.
        ``final`` may use what the account holds and the seconds kept back. ``max_tokens`` is the
        request's, else the model's ``max_output``, and less where less is left.

        Raises :class:`WindowExceeded` before anything is spent, :class:`BudgetExceeded` where an
        attempt would cost too much (those before it may have been charged),
        :class:`CallTimeout` where the call's or the run's seconds end first, the last attempt's
        :class:`ModelError` where it is not worth trying again, :class:`JournalError` where an
        event could not be written. Nothing stays reserved then, nor when it is cancelled.
        """
        request, replaced = _sendable(request)
        level = (self._depth, kind in _TURNS)
        async with self._share.turn(model.endpoint, level, first=final) as turn:
            try:
                self._check_window(model, request)
                sized, reservation = await self._reserve(model, request, level[1], final, turn)
            except (WindowExceeded, BudgetExceeded) as error:
                kind_of_error = type(error).__name__
                self._emit(CallRefused(key, node, cell, kind, error.for_code, kind_of_error))
                raise
            call = Call(model, sized, key, reservation, final, on_text, level, turn)
            if kind not in _TURNS:  # turns of a node are not alike
                call.siblings = self._patience.of((node, cell, kind, model.name))
            try:
                if replaced:
                    self._emit(SurrogatesReplaced(key, replaced))
                self._emit(started(call, node, cell, kind, prompt))
                return await self._conduct(call)
            finally:
                call.reservation.release()  # nothing, once it was settled or charged

    # -- before it is sent ---------------------------------------------------------------------

    def _check_window(self, model: Model, request: Request) -> None:
        characters = request.characters
        fits = self._estimator.fits(model.name, model.window, model.max_output)
        if characters > fits:
            raise WindowExceeded(
                f"the prompt has {characters:,} characters; {model.name} takes about {fits:,}: "
                "cut it"
            )

    async def _reserve(
        self,
        model: Model,
        request: Request,
        of_turn: bool,
        final: bool,
        turn: Turn,
        *,
        calls: int = 1,
    ) -> tuple[Request, Reservation]:
        """Set aside what the request may cost, sized to what is left.

        Whoever waits for it has no turn meanwhile: those whom he waits for may need it.
        """
        self._account.check_time(final=final)

        def size(least: bool) -> Amount:
            return self.sizing.call(model, request, final=final, calls=calls, least=least)

        reservation = await self._account.reserve(
            size, final=final, turn=of_turn, waits=turn.give_back
        )
        try:
            await turn.take()
        except BaseException:
            reservation.release()
            raise
        output = reservation.amount.output_tokens
        return msgspec.structs.replace(request, max_tokens=output), reservation

    # -- while it is out -----------------------------------------------------------------------

    async def _conduct(self, call: Call) -> Reply:
        """Attempts until one gives a reply or none is worth making; then tell how it ended."""
        try:
            reply = await self._attempts(call)
        except BaseException as error:
            call.reservation.release()
            self._emit(call.failed(error))
            raise
        self._emit(call.ended(reply))
        return reply

    async def _attempts(self, call: Call) -> Reply:
        while True:
            call.attempts += 1
            try:
                return await self._attempt(call)
            except ModelError as error:
                call.failures.append(error)
                wait = self._wait(call)
            failure = call.failures[-1]
            self._emit(AttemptFailed(call.key, call.attempts, str(failure), failure.status, wait))
            with self._share.asleep(call.model.endpoint):
                await self._sleep(wait)
            await self._reserve_again(call)

    def _wait(self, call: Call) -> float:
        """Seconds until the next attempt; raises where there is to be none."""
        last = call.failures[-1]
        wait = self._policy.wait(call.failures, known=call.model.endpoint in self._known)
        if wait is None:
            raise last
        if wait >= self._seconds_left(call):
            raise self._too_late(call) from last
        return wait

    async def _reserve_again(self, call: Call) -> None:
        if not call.reservation.open:  # charged; that the call is one is counted already
            model, of_turn, turn = call.model, call.level[1], call.turn
            try:
                call.request, call.reservation = await self._reserve(
                    model, call.request, of_turn, call.final, turn, calls=0
                )
            except BudgetExceeded as error:
                why = f"{error.for_code}, after an attempt that failed: {call.failures[-1]}"
                raise BudgetExceeded(error.limit, why, error.node) from error

    async def _attempt(self, call: Call) -> Reply:
        """One attempt, and what becomes of its reservation. Raises ModelError or what ends all."""
        try:
            reply = await self._ask(call)
        except TimeoutError:
            error = self._too_late(call) if self._is_late(call) else _hung(call)
            call.charge(sent=call.sent)
            raise error from None
        except ModelError as error:
            call.charge(sent=may_be_billed(error))
            raise
        except BaseException as error:  # cancelled, or a fault of the model's own code
            call.charge(sent=call.sent)
            if isinstance(error, asyncio.CancelledError | AbymeError):
                raise
            name, kind = call.model.name, type(error).__name__
            raise ModelError(f"{name} broke with {kind}: {error}") from error
        self._known.add(call.model.endpoint)
        self._settle(call, reply)
        if not reply.text.strip():
            raise BadReply(f"{call.model.name} gave an empty reply")
        return reply

    async def _ask(self, call: Call) -> Reply:
        """The attempt itself: in flight only while a slot is held. Raises TimeoutError too."""
        call.sent = False
        loop = asyncio.get_running_loop()
        model = call.model
        async with asyncio.timeout(_finite(self._seconds_left(call))) as timer:
            async with self._share.slot(model.endpoint, call.level, first=call.final) as slot:
                call.sent = True
                call.begin()
                left = self._seconds_left(call)
                timer.reschedule(loop.time() + min(left, self._share_of(call)))
                with self._watched(call, timer):
                    reply = await model.complete(call.request, call.on_text)
                slot.answered(model.name, reply)
                return reply

    def _share_of(self, call: Call) -> float:
        """Seconds for one attempt, so that one that hangs leaves time for another."""
        share = self._policy.share
        of_run = math.inf if call.final else share * self._account.seconds_left()
        return min(share * self._limits.call_seconds, max(_LEAST_SHARE, of_run))

    @contextmanager
    def _watched(self, call: Call, timer: asyncio.Timeout) -> Iterator[None]:
        """Around an attempt: ends ``timer`` where its siblings' show that it has hung."""
        siblings = call.siblings
        if siblings is None:
            yield
            return
        loop = asyncio.get_running_loop()
        began, characters = loop.time(), call.request.characters
        number = siblings.sent(began)
        handle: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal handle
            now = loop.time()
            if siblings.has_hung(number, characters, now) and not timer.expired():
                call.cut_early = True
                timer.reschedule(now)
            else:
                handle = loop.call_later(LOOK_SECONDS, look)

        handle = None if call.cut_early else loop.call_later(LEAST_SECONDS, look)
        try:
            yield
            siblings.answered(loop.time() - began, characters)
        finally:
            siblings.ended(number)
            if handle is not None:
                handle.cancel()

    def _seconds_left(self, call: Call) -> float:
        """Seconds until the call's deadline, or until the run's time is up where that is first."""
        left = self._account.seconds_left(final=call.final)
        if call.began is None:
            return left
        return min(left, call.began + self._limits.call_seconds - time.monotonic())

    def _is_late(self, call: Call) -> bool:
        return not call.sent or self._seconds_left(call) <= 0.001

    def _too_late(self, call: Call) -> CallTimeout:
        """The end of the call's time, with what the last attempt said."""
        left = self._account.seconds_left(final=call.final)
        began = math.inf if call.began is None else call.began
        ran_out = left <= began + self._limits.call_seconds - time.monotonic() + 0.001
        within = "the run's time (max_seconds)" if ran_out else f"{self._limits.call_seconds:g} s"
        last = f"; the last error was: {call.failures[-1]}" if call.failures else ""
        error = CallTimeout(f"no reply from {call.model.name} within {within}{last}")
        error.retryable = False
        if call.failures and not isinstance(call.failures[-1], CallTimeout):
            error.advice = call.failures[-1].advice  # that is what kept the reply from coming
        elif ran_out:
            error.advice = "check the server, or raise --max-seconds"
        return error

    # -- when it is over -----------------------------------------------------------------------

    def _settle(self, call: Call, reply: Reply) -> None:
        usage, characters = reply.usage, call.request.characters
        name = call.model.name
        if usage.tokens == 0 and not usage.estimated:
            usage = Usage(
                self._estimator.tokens(name, characters),
                self._estimator.tokens(name, len(reply.text)),
                estimated=True,
            )
        elif not usage.estimated:
            self._estimator.observe(name, characters, usage.input_tokens)
        price = self._price_of(call.model)
        call.settle(usage, None if price is None else price.cost(usage))


def _is_clean(text: str) -> bool:
    """No lone surrogate in it; by encoding, which is much faster than looking for one."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _sendable(request: Request) -> tuple[Request, int]:
    """The request with lone surrogates, which JSON cannot carry, as U+FFFD; and how many."""
    if all(map(_is_clean, (message.text for message in request.messages))):
        return request, 0
    messages, total = [], 0
    for message in request.messages:
        text, count = _SURROGATE.subn("\ufffd", message.text)
        total += count
        messages.append(Message(message.role, text) if count else message)
    if not total:
        return request, 0
    return msgspec.structs.replace(request, messages=tuple(messages)), total


def _hung(call: Call) -> CallTimeout:
    return CallTimeout(f"no reply from {call.model.name} in its time")


def _finite(seconds: float) -> float | None:
    return None if math.isinf(seconds) else seconds
