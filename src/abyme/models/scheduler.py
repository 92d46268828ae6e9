"""What may be in flight: one scheduler a process, an account an endpoint, a share for each run.

An endpoint's width adapts by :class:`~abyme.models.pacing.Pace`. Where the endpoint says that
nothing is left until a time, nothing goes out before that; nor where it refuses most and says how
long to wait. (Who is refused while others are let in waits alone, between its attempts.) Who waits
is served round robin between runs, and within a run between levels
(:class:`~abyme.models.queues.FairQueue`): ten thousand queued prompts of one run delay another's
single call by a round trip, and calls from the depth do not starve the turns above them.

A call passes two gates. Its *turn* bounds the calls that its run has begun, from before it reserves
its budget until its end; so what is reserved is what goes out soon. (While it sleeps between
attempts it lets another begin, up to once the width, where no ``max_width`` binds. While it waits
for its budget it has no turn.) Its *slot* bounds the attempts at the endpoint and is held while one
is in flight. Whoever holds either waits for nothing that needs another, so nothing can lock.

Not here: whether a failed call is tried again is :mod:`abyme.models.retry`'s. A scheduler belongs
to one event loop.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from types import TracebackType

from abyme.errors import ModelError, RateLimited
from abyme.models.pacing import MOST, START, Pace, Timed
from abyme.models.places import Places
from abyme.models.queues import Line
from abyme.types import Reply


class Scheduler:
    """One per process. :meth:`share` is what a run gets of it."""

    def __init__(self, *, start: int = START, most: int | None = None) -> None:
        self._start = start
        self._most = most or _most_open()
        self._endpoints: dict[str, _Endpoint] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def share(self, max_width: int | None = None) -> Share:
        """What a run has of it: once a run, whatever its depth.

        ``max_width``: the most calls of the run in flight at once. Endpoints are taken to bear
        that from the start, until one refuses. None: what its endpoints bear is the only bound.
        """
        return Share(self, max_width)

    def limit(self, endpoint: str) -> int:
        """Attempts that may be in flight at ``endpoint`` now."""
        account = self._endpoints.get(endpoint)
        return account.pace.places if account else self._start

    def in_flight(self, endpoint: str) -> int:
        """Attempts that are in flight at ``endpoint`` now."""
        account = self._endpoints.get(endpoint)
        return account.places.taken if account else 0

    def waiting(self, endpoint: str) -> int:
        """Attempts that wait for a place at ``endpoint`` now."""
        account = self._endpoints.get(endpoint)
        return account.places.waiting if account else 0

    def _endpoint(self, name: str) -> _Endpoint:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise RuntimeError("a scheduler belongs to one event loop")
            self._loop = loop
        account = self._endpoints.get(name)
        if account is None:
            account = self._endpoints[name] = _Endpoint(loop, Pace(self._start, self._most))
        return account


class Share:
    """What one run has of the scheduler. ``level`` is any key: levels of a run take turns."""

    def __init__(self, scheduler: Scheduler, max_width: int | None) -> None:
        self._scheduler = scheduler
        self._max_width = max_width
        self._gates: dict[str, Places] = {}
        self._asleep: Counter[str] = Counter()

    @property
    def begun(self) -> int:
        """Calls of the run that have their turn now."""
        return sum(gate.taken for gate in self._gates.values())

    def turn(self, endpoint: str, level: Hashable = 0, *, first: bool = False) -> Turn:
        """One of the calls that the run may have begun; ``first`` goes before its level's others.

        With ``max_width`` so many over all endpoints, else at each as many as it bears. Entering
        waits its turn; cancelling it then leaves nothing behind.
        """
        return Turn(self._gate(endpoint), Line(0, level), first)

    @contextmanager
    def asleep(self, endpoint: str) -> Iterator[None]:
        """Around a wait between two attempts of a call that has its turn."""
        self._asleep[endpoint] += 1
        self._gate(endpoint).serve()
        try:
            yield
        finally:
            self._asleep[endpoint] -= 1

    def slot(self, endpoint: str, level: Hashable = 0, *, first: bool = False) -> Slot:
        """A place in flight at ``endpoint``, to be entered once; "" needs none.

        Entering waits for a place; cancelling it then loses none. Raises :class:`RuntimeError` on
        a second event loop.
        """
        if not endpoint:
            return _NO_SLOT
        account = self._scheduler._endpoint(endpoint)
        if self._max_width is not None and self._max_width > account.pace.width:
            account.pace.begin_at(self._max_width)
            account.places.serve()
        return Slot(account, Line(self, level), first)

    def _gate(self, endpoint: str) -> Places:
        """The bound of the run's calls: one over all endpoints, or each endpoint's own."""
        name = endpoint if self._max_width is None else ""
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = Places(lambda: self._width(name))
        return gate

    def _width(self, endpoint: str) -> int:
        if self._max_width is not None:
            return self._max_width
        width = self._scheduler.limit(endpoint) if endpoint else MOST
        return width + min(width, self._asleep[endpoint])


class Turn:
    """One of the calls that a run may have begun: see :meth:`Share.turn`."""

    __slots__ = ("_first", "_gate", "_held", "_line")

    def __init__(self, gate: Places, line: Line, first: bool) -> None:
        self._gate = gate
        self._line = line
        self._first = first
        self._held = False

    async def __aenter__(self) -> Turn:
        await self.take()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.give_back()

    async def take(self) -> None:
        """Have it, unless it is had; cancelling it while it waits leaves nothing behind."""
        if not self._held:
            await self._gate.take(self._line, first=self._first)
            self._held = True

    def give_back(self) -> None:
        """Let another have it, before a wait for something that others need a turn for."""
        if self._held:
            self._held = False
            self._gate.give_back()


class Slot:
    """A place in flight: see :meth:`Share.slot`.

    How the block is left is what the endpoint's width goes by: an error that asks for fewer
    requests narrows it, :meth:`answered` widens it, all else does neither.
    """

    __slots__ = ("_account", "_began", "_first", "_line", "_number")

    def __init__(self, account: _Endpoint | None, line: Line, first: bool) -> None:
        self._account = account
        self._line = line
        self._first = first
        self._number = 0
        self._began = 0.0

    async def __aenter__(self) -> Slot:
        if self._account is not None:
            await self._account.places.take(self._line, first=self._first)
            self._number, self._began = self._account.sent()
        return self

    def answered(self, model: str, reply: Reply) -> None:
        """The attempt was answered. Where ``reply`` says so, nothing goes out for a while."""
        if self._account is not None:
            self._account.answered(self._number, self._began, model, reply)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._account is None:
            return
        if isinstance(error, ModelError):
            self._account.failed(self._number, error)
        self._account.pace.ended(self._number)
        self._account.places.give_back()


class _Endpoint:
    """The account of one endpoint: its width, who is in flight, until when it takes nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pace: Pace) -> None:
        self.pace = pace
        self.places = Places(self._limit)
        self._loop = loop
        self._paused_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._probing = False

    def sent(self) -> tuple[int, float]:
        """An attempt goes out: its number, and when."""
        now = self._loop.time()
        if not self._probing:
            self._probing = True
            self._loop.call_soon(self._came_round, now)
        return self.pace.sent(self.places.taken), now

    def answered(self, number: int, began: float, model: str, reply: Reply) -> None:
        """An attempt that went out at ``began`` was answered."""
        usage, now = reply.usage, self._loop.time()
        timed = Timed(now - began, model, usage.input_tokens, usage.output_tokens)
        self.pace.succeeded(number, timed)
        if reply.pause > 0:
            self._pause(now + reply.pause)

    def failed(self, number: int, error: ModelError) -> None:
        """An attempt failed: told to the pace where the endpoint asks for fewer, or for time."""
        if not isinstance(error, RateLimited) and error.retry_after is None:
            return
        if self.pace.refused(number) and error.retry_after:
            self._pause(self._loop.time() + error.retry_after)

    def _limit(self) -> int:
        return 0 if self._timer is not None else self.pace.places

    def _came_round(self, then: float) -> None:
        self._probing = False
        self.pace.lagged(self._loop.time() - then)

    def _pause(self, until: float) -> None:
        if until > self._paused_until:
            self._paused_until = until
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(until, self._resume)

    def _resume(self) -> None:
        self._timer = None
        self.places.serve()


def _most_open() -> int:
    """Attempts in flight at an endpoint at the most: each holds a descriptor of this process."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if descriptors < 0 else min(MOST, max(START, descriptors // 2))


_NO_SLOT = Slot(None, Line(0, 0), False)
