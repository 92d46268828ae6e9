"""How many attempts may be in flight at an endpoint, shared by all runs of the process.

Each endpoint has its own account. It starts at 64, or at the width that a run asks for where that
is more. A 429 halves it, at most once a round trip: those that were in flight already when it was
halved say nothing new. Each window of successes adds one, up to 1,024, as long as the width is in
use. Where the endpoint says how long to wait, nothing goes out before that time.

Not here: how many calls *one run* has in flight (``max_width``) is its caller's; whether a failed
call is tried again is :mod:`abyme.models.retry`'s. A scheduler belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from abyme.errors import RateLimited

START = 64
MOST = 1024


class Scheduler:
    """One per process: ``async with scheduler.slot(endpoint, width): await model.complete(…)``."""

    def __init__(self, *, start: int = START, most: int = MOST) -> None:
        self._start = start
        self._most = most
        self._accounts: dict[str, _Endpoint] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def slot(self, endpoint: str, width: int = START) -> Slot:
        """A place in flight at ``endpoint``, to be entered once; "" needs none.

        ``width`` is what the asking run may have in flight: until the endpoint first refuses it
        is taken at its word. What leaves the block is the feedback: a
        :class:`~abyme.errors.RateLimited` narrows, no exception widens, others do neither.

        Entering waits for a place, first come first served; cancelling it then loses no place.
        Raises :class:`RuntimeError` on a second event loop.
        """
        if not endpoint:
            return _NO_SLOT
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise RuntimeError("a scheduler belongs to one event loop")
            self._loop = loop
        account = self._accounts.get(endpoint)
        if account is None:
            account = self._accounts[endpoint] = _Endpoint(loop, self._start, self._most)
        if width > account.limit and not account.refused:
            account.widen(min(width, self._most))
        return Slot(account)

    def limit(self, endpoint: str) -> int:
        """Attempts that may be in flight at ``endpoint`` now."""
        account = self._accounts.get(endpoint)
        return account.limit if account else self._start

    def in_flight(self, endpoint: str) -> int:
        """Attempts that are in flight at ``endpoint`` now."""
        account = self._accounts.get(endpoint)
        return account.in_flight if account else 0


class Slot:
    """A place in flight: see :meth:`Scheduler.slot`."""

    __slots__ = ("_account", "_round")

    def __init__(self, account: _Endpoint | None) -> None:
        self._account = account
        self._round = 0

    async def __aenter__(self) -> None:
        account = self._account
        if account is not None:
            if not account.take_now():
                await account.wait()
            self._round = account.round

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        account = self._account
        if account is None:
            return
        if error is None:
            account.succeeded()
        elif isinstance(error, RateLimited):
            account.rate_limited(self._round, error.retry_after)
        account.give_back()


_NO_SLOT = Slot(None)


class _Endpoint:
    """The account of one endpoint."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, most: int) -> None:
        self._loop = loop
        self._most = most
        self.limit = limit
        self.in_flight = 0
        self.refused = False  # a 429 was seen: from now on only successes widen
        self.round = 0  # counts the halvings: which one an attempt went out after
        self._successes = 0
        self._paused_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take_now(self) -> bool:
        if self._timer is not None or self.in_flight >= self.limit:
            return False
        self.in_flight += 1
        return True

    async def wait(self) -> None:
        turn = self._loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # given a place and cancelled within one step of the loop
            raise

    def give_back(self) -> None:
        self.in_flight -= 1
        self._serve()

    def widen(self, limit: int) -> None:
        self.limit = limit
        self._serve()

    def succeeded(self) -> None:
        if self.in_flight * 2 < self.limit:
            return  # a width that nobody uses has not been tried
        self._successes += 1
        if self._successes >= self.limit:
            self._successes = 0
            self.limit = min(self._most, self.limit + 1)

    def rate_limited(self, round_: int, retry_after: float | None) -> None:
        self.refused = True
        if round_ == self.round:
            self.round += 1
            self._successes = 0
            self.limit = max(1, self.limit // 2)
        if retry_after is not None and retry_after > 0:
            self._pause(self._loop.time() + retry_after)

    def _pause(self, until: float) -> None:
        if until > self._paused_until:
            self._paused_until = until
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(until, self._resume)

    def _resume(self) -> None:
        self._timer = None
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._timer is None and self.in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled while it waited
                self.in_flight += 1
                turn.set_result(None)
