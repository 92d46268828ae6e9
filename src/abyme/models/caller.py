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
- An attempt gets half of the call's seconds; where its siblings were answered long before, it is
  cut sooner, once a call (:mod:`abyme.models.patience`).
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
from abyme.types import Message, Reply, Usage

MARGIN = 1.25
"""Reservations are this times the estimated input, plus the output asked for."""
LEAST_OUTPUT = 256
"""Tokens. A reply clamped to fewer by what is left of the budget is not worth asking for."""

MODEST = 1 / 16
"""The part of what a node may still spend that is kept for its last call, within the next two."""
LEAST_HELD, MOST_HELD = 512, 4_096
"""Output tokens that are kept for a last call at the least, and at the most."""

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

        Raises :class:`WindowExceeded` and :class:`BudgetExceeded` before anything is spent,
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

    def last_call(self, model: Model, request: Request) -> Amount:
        """What is to be held for a last call like ``request``."""
        wanted, input_tokens = self._wanted(model, request)
        price = self._price_of(model)
        output = min(wanted, self._modest(input_tokens, price))
        return _amount(input_tokens, output, 1, price)

    def entry(self, model: Model, characters: int, *, least: bool) -> tuple[Amount, Amount]:
        """What a child of ``model`` will hold, and that with its first call.

        ``characters``: how long its opening is about. ``least``: what it can do with.
        Raises :class:`BudgetExceeded` where there is not even that.
        """
        price = self._price_of(model)
        input_tokens = math.ceil(MARGIN * self._estimator.tokens(model.name, characters))
        output = LEAST_OUTPUT if least else self._modest(input_tokens, price)
        output = min(output, model.max_output)
        least_output = min(output, LEAST_OUTPUT)
        both = self._affordable(
            2 * output, 2 * input_tokens, price, 2 * least_output, who="a child"
        )
        hold = _amount(input_tokens, both // 2, 1, price)
        return hold, _amount(2 * input_tokens, both, 2, price)

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
            return self._sized(model, request, final, calls, least)

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

    def _sized(
        self, model: Model, request: Request, final: bool, calls: int, least: bool
    ) -> Amount:
        """What the request may cost, with the most output tokens that the budget bears.

        A neighbour's reservation makes a call wait, never makes its reply shorter. What other
        nodes hold does, but not below a modest reply: then the call waits for them to end.
        ``least`` and the last call take what there is beside them.
        """
        wanted, input_tokens = self._wanted(model, request)
        price = self._price_of(model)
        enough = min(wanted, LEAST_OUTPUT)
        most = self._affordable(wanted, input_tokens, price, enough, final=final)
        beside = self._outputs(input_tokens, price, final=final, alone=False)
        if not (least or final):
            enough = min(wanted, self._modest(input_tokens, price))
        output = max(min(most, *beside.values()), min(most, enough))
        return _amount(input_tokens, int(output), calls, price)

    def _wanted(self, model: Model, request: Request) -> tuple[int, int]:
        """Output tokens to ask for where nothing is scarce, and input tokens to reserve."""
        asked = request.max_tokens
        output = model.max_output if asked is None else min(asked, model.max_output)
        tokens = self._estimator.tokens(model.name, request.characters)
        return output, math.ceil(MARGIN * tokens)

    def _affordable(
        self,
        wanted: int,
        input_tokens: int,
        price: Price | None,
        least: int,
        *,
        final: bool = False,
        who: str = "this call",
    ) -> int:
        """Output tokens, ``wanted`` or fewer; raises where fewer than ``least`` are left.

        Goes by what could be left when all in flight is over, and all other nodes have ended.
        """
        rooms = self._outputs(input_tokens, price, final=final, alone=True)
        for kind, room in rooms.items():
            if room < least:
                need = f"{who} needs about {input_tokens:,} tokens in and {least:,} out"
                raise self._account.too_little(kind, need, final=final)
        return int(min(wanted, *rooms.values()))

    def _modest(self, input_tokens: int, price: Price | None) -> int:
        """Output tokens of a reply that takes a ``MODEST`` part of what the node has left."""
        rooms = self._outputs(input_tokens, price, final=True, alone=True, part=MODEST)
        return int(max(LEAST_HELD, min(MOST_HELD, *rooms.values())))

    def _outputs(
        self,
        input_tokens: int,
        price: Price | None,
        *,
        final: bool,
        alone: bool,
        part: float = 1.0,
    ) -> dict[str, float]:
        """The output tokens that there are by each kind of limit, beside those of the input."""
        rooms = self._account.rooms(final=final, alone=alone)
        cost = math.inf
        if price is not None:
            cost = price.output_for(part * rooms["cost"], input_tokens)
        return {
            "cost": cost,
            "tokens": part * rooms["tokens"] - input_tokens,
            "input_tokens": math.inf if input_tokens <= part * rooms["input_tokens"] else 0,
            "output_tokens": part * rooms["output_tokens"],
        }

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
            call.request, call.reservation = await self._reserve(
                model, call.request, of_turn, call.final, turn, calls=0
            )

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
                share = self._policy.share * self._limits.call_seconds
                timer.reschedule(loop.time() + min(left, share))
                with self._watched(call, timer):
                    reply = await model.complete(call.request, call.on_text)
                slot.answered(model.name, reply)
                return reply

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


def _amount(input_tokens: int, output: int, calls: int, price: Price | None) -> Amount:
    cost = None if price is None else price.cost(Usage(input_tokens, output))
    return Amount(input_tokens + output, cost, calls, output)
