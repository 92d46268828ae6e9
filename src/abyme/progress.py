"""How far a run has come: a fold over its events, for whoever shows it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from abyme.events import (
    ROOT,
    CallEnded,
    CallRefused,
    CallsAsked,
    CallStarted,
    CellEnded,
    CellStarted,
    DataLoaded,
    DataLoading,
    Event,
    HostAnswered,
    HostCalled,
    LimitReached,
    NodeEnded,
    NodeStarted,
    QuestionAsked,
    RunEnded,
    RunForked,
    RunResumed,
    RunStarted,
    Terms,
    TurnEnded,
    node_of,
)
from abyme.pending import Jobs, Waiting
from abyme.types import Usage

_EVERY = 0.1
"""Seconds between two calls of a caller's progress function."""

Stage = Literal["loading", "thinking", "running", "ended"]


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run has come, at one moment.

    ``stage``: the data is being ``loading``; the model is ``thinking`` of its next reply; its code
    is ``running``; the run has ``ended``. Stage and turns are the root's. Calls, tokens and cost
    are those of the whole tree, and so are sub-calls, those that code made, and children, the nodes
    of their own that code set to work.
    """

    run: str = ""
    stage: Stage = "loading"
    documents: int = 0
    bytes: int = 0
    turn: int = 0
    """The turn that is under way, or the last one; 0 before the first."""
    earlier_turns: int = 0
    """Those of them that were another question's, of the same session."""
    calls: int = 0
    """Model calls that are over, those of the nodes' own turns included."""
    sub_calls_done: int = 0
    """Those that gave a reply."""
    sub_calls_failed: int = 0
    sub_calls_in_flight: int = 0
    sub_calls_waiting: int = 0
    """Asked for by code and not sent yet: ``max_width`` or the endpoint's width is taken."""
    children_done: int = 0
    """Those that gave a whole answer."""
    children_failed: int = 0
    children_at_work: int = 0
    children_waiting: int = 0
    """Asked for by code and not begun yet."""
    jobs: int = 0
    """Those that code began and has not all results of."""
    usage: Usage = Usage()
    cost: float | None = 0.0
    """US dollars; None where the price of a model is not known."""
    seconds: float = 0.0
    limits: dict[str, Any] = {}
    """The fields of :class:`abyme.config.Limits` by name."""
    limit_reached: str = ""
    """The limit that ended the ordinary work; empty as long as none has."""

    @property
    def used(self) -> float:
        """The part of the scarcest limit that is used, from 0 to 1."""
        spent = {
            # the turn under way is not used up yet
            "max_turns": self.turn - self.earlier_turns - 1,
            "max_calls": self.calls,
            "max_tokens": self.usage.tokens,
            "max_input_tokens": self.usage.input_tokens,
            "max_output_tokens": self.usage.output_tokens,
            "max_cost": self.cost,
            "max_seconds": self.seconds,
        }
        parts = [
            float(value / limit)
            for name, value in spent.items()
            if value is not None and (limit := self.limits.get(name)) is not None
        ]
        return min(1.0, max(0.0, *parts)) if parts else 0.0


class Tally:
    """Takes a run's events one by one; ``progress`` is what they come to so far."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before = 0.0
        self._fields: dict[str, Any] = {}
        self._root_key = ""
        self._sub_calls: set[str] = set()
        self._children: set[str] = set()
        self._waiting = Waiting()
        self._jobs = Jobs()
        self._usage = Usage()
        self._cost: float | None = 0.0
        self._calls = self._done = self._failed = 0
        self._children_done = self._children_failed = 0

    @property
    def progress(self) -> Progress:
        """How far the run has come now."""
        return Progress(
            calls=self._calls,
            sub_calls_done=self._done,
            sub_calls_failed=self._failed,
            sub_calls_in_flight=len(self._sub_calls),
            sub_calls_waiting=self._waiting.count(children=False),
            children_done=self._children_done,
            children_failed=self._children_failed,
            children_at_work=len(self._children),
            children_waiting=self._waiting.count(children=True),
            jobs=self._jobs.open,
            usage=self._usage,
            cost=self._cost,
            seconds=self._before + time.monotonic() - self._began,
            **self._fields,
        )

    def recall(self, events: Iterable[Event], seconds: float) -> None:
        """Take what happened before the run went on, and how long that took."""
        for event in events:
            self.take(event)
        self._began, self._before = time.monotonic(), seconds

    def take(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case RunStarted():
                self._fields["run"] = event.run
                self._go_on(event.terms)
            case RunResumed():
                self._resumed(event)
            case RunForked():
                self._fields["run"] = event.run
                self._usage, self._cost, self._calls = Usage(), 0.0, 0
                self._began, self._before = time.monotonic(), 0.0
                self._done = self._failed = 0
                self._children_done = self._children_failed = 0
                self._go_on(event.terms)
            case QuestionAsked():
                self._fields |= {"turn": event.turns, "earlier_turns": event.turns}
                self._go_on(event.terms)
            case DataLoading() | DataLoaded():
                self._fields |= {"documents": event.documents, "bytes": event.bytes}
            case CallsAsked() | CallRefused() | HostCalled() | HostAnswered():
                self._waiting.take(event)
                self._jobs.take(event)
            case CallStarted():
                self._started(event)
            case CallEnded():
                self._ended(event)
            case NodeStarted() | NodeEnded():
                self._child(event)
            case CellEnded():
                self._waiting.take(event)
            case RunEnded():
                self._fields["stage"] = "ended"
                self._leave()
                self._usage, self._cost = event.answer.usage, event.answer.cost
            case _:
                pass
        if node_of(event) == ROOT:
            self._of_root(event)

    def _of_root(self, event: Event) -> None:
        match event:
            case CellStarted():
                self._fields["stage"] = "running"
            case CellEnded() | TurnEnded():
                self._fields["stage"] = "thinking"
            case LimitReached():
                self._fields["limit_reached"] = event.limit
            case _:
                pass

    def _go_on(self, terms: Terms) -> None:
        self._fields |= {"limits": terms.limits, "limit_reached": ""}
        if self._fields.get("stage") == "ended":
            self._fields["stage"] = "thinking"
        self._leave()
        if not terms.priced:
            self._cost = None

    def _leave(self) -> None:
        """Nothing is under way: the run was left, or goes another way."""
        self._sub_calls.clear()
        self._children.clear()
        self._waiting, self._jobs = Waiting(), Jobs()

    def _resumed(self, event: RunResumed) -> None:
        """What was in flight is counted as spent, and is asked again."""
        calls = len(event.in_flight)
        self._calls += calls
        if calls:
            self._usage += Usage(event.charged_tokens, calls=calls, estimated=True)
        if self._cost is not None:
            self._cost = None if event.charged_cost is None else self._cost + event.charged_cost
        self._go_on(event.terms)

    def _started(self, event: CallStarted) -> None:
        if event.kind not in ("root", "final"):
            self._sub_calls.add(event.key)
            self._waiting.take(event)
        elif event.node == ROOT:
            self._fields["stage"] = "thinking"
            if event.kind == "root" and event.key != self._root_key:
                self._root_key = event.key  # under the same key it is asked again
                self._fields["turn"] = self._fields.get("turn", 0) + 1
        else:
            self._children.add(event.node)  # it may go on, from before its run was left

    def _ended(self, event: CallEnded) -> None:
        self._calls += 1
        self._usage += event.usage
        if self._cost is not None:
            self._cost += event.cost or 0.0
        if event.key in self._sub_calls:
            self._sub_calls.discard(event.key)
            self._done += not event.error
            self._failed += bool(event.error)

    def _child(self, event: NodeStarted | NodeEnded) -> None:
        if event.node == ROOT:
            return
        if isinstance(event, NodeStarted):
            self._children.add(event.node)
            self._waiting.take(event)
            return
        self._children.discard(event.node)
        self._jobs.left_by(event.node)
        self._children_done += event.status == "complete"
        self._children_failed += event.status != "complete"


class Following:
    """Hands the progress of a run to a function, in the thread or loop of whoever waits for it.

    Events arrive in the engine's thread, which a slow function must not hold up: it gets the
    latest state, at most ten times a second, and what lies between is passed over.
    """

    def __init__(self) -> None:
        self._tally = Tally()
        self._latest = Progress()

    def recall(self, events: Iterable[Event], seconds: float) -> None:
        """Begin with what happened before the run went on: see :meth:`Tally.recall`."""
        self._tally.recall(events, seconds)
        self._latest = self._tally.progress

    def take(self, event: Event) -> None:
        """A run's listener: called in the engine's thread."""
        self._tally.take(event)
        self._latest = self._tally.progress

    def call(
        self, function: Callable[[Progress], None], run: concurrent.futures.Future[Any]
    ) -> None:
        """Call ``function`` while ``run`` goes on, and once when it is over."""
        over = threading.Event()
        run.add_done_callback(lambda _: over.set())
        while not over.wait(_EVERY):
            function(self._latest)
        function(self._latest)

    async def call_while(
        self, function: Callable[[Progress], None], run: asyncio.Future[Any]
    ) -> None:
        """:meth:`call` for a running event loop."""
        while not run.done():
            await asyncio.wait([run], timeout=_EVERY)
            function(self._latest)
