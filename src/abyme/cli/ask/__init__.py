"""``abyme ask``: from sorted arguments to an answer on stdout, everything else on stderr."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NamedTuple, Protocol

from abyme.cli.ask.arguments import Asked
from abyme.cli.ask.notices import UNCONFINED
from abyme.cli.ask.preface import preface
from abyme.cli.console import is_lively, is_terminal, put, put_data, say
from abyme.cli.model_choice import Choice
from abyme.cli.text import answer_run, closing_line, quote_lines
from abyme.engine import Handle
from abyme.events import PASSING, CallStarted, Event
from abyme.rlm import RLM
from abyme.sandbox.base import Sandbox
from abyme.settings import Loaded
from abyme.spec import GoesOn
from abyme.types import Answer

EXIT = {"complete": 0, "failed": 1, "partial": 3}
INTERRUPTED = 130

_TICK = 0.1
_UNSHOWN = 10_000
"""Events that wait to be shown, from which on those that only show movement are left out."""
_TOGETHER = 0.3
"""Seconds within which two signals are one."""
_SETTLE = 0.5
"""Seconds after which the terminal's display is made, if the first request is not out before."""


class Display(Protocol):
    """Shows a run's events on stderr; all of it is called in the command's own thread."""

    def recall(self, events: Sequence[Event], seconds: float) -> None:
        """Take, first of all and without a word, what happened before a run goes on."""

    def take(self, event: Event) -> None:
        """Take one event."""

    def tick(self) -> None:
        """Called about ten times a second."""

    def close(self) -> None:
        """The run is over."""


class Shown(NamedTuple):
    """How much is shown, and in which form."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False


class Earlier(NamedTuple):
    """What a run goes on from."""

    goes_on: GoesOn
    events: Sequence[Event] = ()
    """All that it has in common with that run."""
    seconds: float = 0.0
    """That this took."""
    notes: Sequence[str] = ()
    """What is to be said of whom is asked now, and with which limits."""


class Order(NamedTuple):
    """Everything that the command line came to."""

    settings: Loaded
    choice: Choice
    asked: Asked
    shown: Shown
    sandbox: Sandbox
    unsafe_local: bool
    """Whether that confines nothing."""
    options: dict[str, Any]
    """What of folders is read: arguments of :meth:`abyme.rlm.RLM.start`."""
    earlier: Earlier | None = None
    """None where it does not go on from another run."""


def run(order: Order) -> int:
    """Ask, show, print the answer; the exit code.

    Raises :class:`~abyme.errors.AbymeError` for what is wrong before anything is asked.
    """
    asked, shown = order.asked, order.shown
    rlm = _begin(order)
    if _is_typed_in(asked.context):
        say("reading what you type: Ctrl-D on a line of its own ends it")
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()

    def listen(event: Event) -> None:
        if not (isinstance(event, PASSING) and events.qsize() > _UNSHOWN):
            events.put(event)

    lively = is_lively(sys.stderr) and not (shown.quiet or shown.verbose)
    handle = _start(rlm, order, None if shown.quiet else listen, stream_text=lively)
    handle.future.add_done_callback(lambda _: events.put(None))
    interruption = _Interruption(handle.interrupt)
    if shown.quiet:
        answer = handle.future.result()
    else:
        display = _Late(lively, shown.verbose, order.earlier)
        try:
            _follow(display, events)
        finally:
            display.close()
        answer = handle.future.result()
    _print(answer, order)
    return INTERRUPTED if interruption.happened else EXIT[answer.status]


def _start(
    rlm: RLM, order: Order, listener: Callable[[Event], None] | None, *, stream_text: bool
) -> Handle:
    question, context = order.asked
    if order.earlier is not None:
        goes_on = order.earlier.goes_on
        return rlm.start_from(goes_on, question, listener, stream_text=stream_text)
    return rlm.start(question, context, listener, stream_text=stream_text, **order.options)


def dry_run(order: Order) -> int:
    """Show what :func:`run` would send first, and send nothing."""
    from abyme.cli.ask.dry_run import preview_json, preview_lines

    rlm = _begin(order)
    preview = rlm.preview(order.asked.question, order.asked.context, **order.options)
    if order.shown.as_json:
        put(preview_json(preview))
    else:
        for line in preview_lines(preview):
            put_data(line)
    return EXIT["complete"]


def _is_typed_in(context: Any) -> bool:
    """Whether standard input is part of the data, and a person sits at it."""
    pieces = context if isinstance(context, list) else [context]
    return is_terminal(sys.stdin) and any(piece is sys.stdin.buffer for piece in pieces)


def _begin(order: Order) -> RLM:
    """What is asked, once all that was not asked for has been said."""
    values, choice = order.settings.settings, order.choice
    rlm = RLM(
        choice.model,
        choice.sub_model or None,
        child_models=choice.child_models,
        base_url=choice.base_url,
        api_key=choice.api_key,
        limits=values.limits,
        price=values.price,
        sub_price=values.sub_price,
        child_price=values.child_price,
        runs=values.runs or None,
        sandbox=order.sandbox,
        cache=values.cache,
        redact=values.redact,
        durable=values.durable,
    )
    if order.settings.origin("max_cost"):
        rlm.need_prices()
    for line in preface(order.settings, choice, quiet=order.shown.quiet):
        say(line)
    if order.earlier is not None and not order.shown.quiet:
        for line in order.earlier.notes:
            say(line)
    if order.shown.quiet and order.unsafe_local:  # else it is said when the worker starts
        say(UNCONFINED)
    return rlm


def _follow(display: Display, events: queue.SimpleQueue[Event | None]) -> None:
    """Show what comes until None does."""
    while True:
        try:
            event = events.get(timeout=_TICK)
        except queue.Empty:
            display.tick()
            continue
        if event is None:
            return
        display.take(event)
        display.tick()


def _print(answer: Answer, order: Order) -> None:
    """The answer alone on stdout; where its quotes stand, and how it ended, on stderr."""
    from abyme.cli.ask.hint import command_to_go_on
    from abyme.cli.show import answer_json

    shown = order.shown
    if shown.as_json:
        put(answer_json(answer))
    elif answer.text:
        put_data(answer.text)
    if not shown.quiet:
        for line in quote_lines(answer):
            say(line)
    if shown.quiet:
        if answer.status != "complete":
            say(f"{closing_line(answer)} · run {answer.run}")
        return
    for line in _wrapped(closing_line(answer)):
        say(line)
    say(answer_run(answer))
    if answer.status == "partial" and not order.settings.settings.redact:
        command = command_to_go_on(
            answer, order.settings, order.choice, unsafe_local=order.unsafe_local
        )
        say(f"to go on: {command}")


def _wrapped(line: str) -> list[str]:
    """``line`` broken at its last dot where it is too long for the terminal that stderr is."""
    wide = not is_terminal(sys.stderr) or len(line) <= shutil.get_terminal_size().columns
    head, dot, tail = line.rpartition(" · ")
    return [line] if wide or not dot else [head, tail]


class _Interruption:
    """Ctrl-C and SIGTERM: once for the draft, twice to leave at once.

    A terminal and a wrapper (``timeout``, ``make``) may both pass on the same Ctrl-C: signals
    that come together count once.
    """

    def __init__(self, interrupt: Any) -> None:
        self.happened = False
        self._at = 0.0
        self._interrupt = interrupt
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.happened:
            self.happened, self._at = True, time.monotonic()
            self._interrupt()
        elif time.monotonic() - self._at > _TOGETHER:
            os._exit(INTERRUPTED)


class _Late:
    """A display that is made when the first request is out: until then, it would delay it.

    ``rich`` takes a tenth of a second to import, and what is shown is only shown to people.
    """

    def __init__(self, lively: bool, verbose: bool, earlier: Earlier | None) -> None:
        self._lively, self._verbose = lively, verbose
        self._earlier = earlier
        self._made: Display | None = None
        self._waiting: list[Event] = []
        self._since = time.monotonic()

    def recall(self, events: Sequence[Event], seconds: float) -> None:
        """It was told when it was made."""

    def take(self, event: Event) -> None:
        if self._made is not None:
            self._made.take(event)
            return
        self._waiting.append(event)
        if isinstance(event, CallStarted) or not self._lively:
            self._make()

    def tick(self) -> None:
        if self._made is None and time.monotonic() - self._since > _SETTLE:
            self._make()
        if self._made is not None:
            self._made.tick()

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def _make(self) -> None:
        if self._lively:
            from abyme.cli.ask.live import LiveTree

            self._made = LiveTree()
        else:
            from abyme.cli.ask.plain import Plain

            self._made = Plain(say, verbose=self._verbose)
        if self._earlier is not None:
            self._made.recall(self._earlier.events, self._earlier.seconds)
            self._earlier = None
        for event in self._waiting:
            self._made.take(event)
        self._waiting.clear()
