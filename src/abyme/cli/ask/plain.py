"""What a run says on stderr while it goes on: plain lines, for pipes, files and quiet terminals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from abyme.cli.ask.notices import Notices
from abyme.cli.ask.turns import Turns
from abyme.cli.text import bytes_text, children_text, plural, seconds_text
from abyme.events import (
    ROOT,
    CallEnded,
    CellEnded,
    CellStarted,
    Event,
    NodeEnded,
    NodeStarted,
    TurnEnded,
    cell_of,
    node_of,
)
from abyme.progress import Tally

_SILENT = 15.0
"""Seconds without a line after which one says how far things are."""
_OUTPUT_LINES = 20
_EXCERPT = 100


class Plain:
    """A display of lines. ``say`` prints one; ``verbose`` adds code, output and each sub-call."""

    def __init__(self, say: Callable[[str], None], *, verbose: bool = False) -> None:
        self._print = say
        self._verbose = verbose
        self._tally = Tally()
        self._turns = Turns()
        self._notices = Notices()
        self._last = time.monotonic()

    def recall(self, events: Sequence[Event], seconds: float) -> None:
        """Take what happened before the run goes on, without a word."""
        self._tally.recall(events, seconds)
        self._turns.recall(events)
        turn = self._turns.current
        in_turn = turn is not None and turn.seconds is None
        self._notices.recall(self._tally.progress, in_turn=in_turn)

    def take(self, event: Event) -> None:
        """Take one event, and say what there is to say of it."""
        self._tally.take(event)
        self._turns.take(event)
        for line in self._notices.lines(event):
            self._say(line)
        if self._verbose:
            for line in self._details(event):
                self._say(line)
        turn = self._turns.current
        if isinstance(event, TurnEnded) and event.node == ROOT and turn is not None:
            self._say(turn.line())

    def tick(self) -> None:
        """Called several times a second: after a long silence, says how far things are."""
        if time.monotonic() - self._last >= _SILENT:
            self._say(self._so_far())

    def close(self) -> None:
        """Nothing is held open."""

    def _say(self, line: str) -> None:
        self._print(line)
        self._last = time.monotonic()

    def _so_far(self) -> str:
        now = self._tally.progress
        if not now.turn:
            loaded = f"{plural(now.documents, 'document')}, {bytes_text(now.bytes)}"
            return f"… loading: {loaded} · {seconds_text(now.seconds)}"
        parts = [f"… turn {now.turn}, {now.stage}"]
        if now.children_at_work or now.children_waiting:
            parts.append(
                f"{children_text(now.children_at_work)} at work"
                + (f", {now.children_waiting:,} waiting" if now.children_waiting else "")
                + f", {now.children_done:,} done"
                + (f", {now.children_failed:,} failed" if now.children_failed else "")
            )
        if now.sub_calls_in_flight or now.sub_calls_waiting:
            parts.append(
                f"{now.sub_calls_done:,} sub-calls done, {now.sub_calls_in_flight:,} in flight"
                + (f", {now.sub_calls_waiting:,} waiting" if now.sub_calls_waiting else "")
                + (f", {now.sub_calls_failed:,} failed" if now.sub_calls_failed else "")
            )
        if now.jobs:
            parts.append(f"{plural(now.jobs, 'job')} not fetched yet")
        parts += [f"{now.usage.tokens:,} tokens", seconds_text(now.seconds)]
        return " · ".join(parts)

    def _details(self, event: Event) -> Iterator[str]:
        """What the root writes and its code prints; of children their beginnings and ends."""
        node = node_of(event)
        match event:
            case CallEnded() if cell_of(event.key):
                said = f"failed: {event.error}" if event.error else _excerpt(event.text)
                figures = f"{event.usage.tokens:,} tokens, {event.seconds:.1f} s"
                whose = "sub-call" if node == ROOT else f"sub-call of {node}"
                yield f"    {whose}: {said} · {figures}"
            case NodeStarted() if node != ROOT:
                yield f"    child {node} begins: {_excerpt(event.question)}"
            case NodeEnded():
                said = _excerpt(event.error or event.text)
                yield f"    child {node} {event.status}: {said} · {_figures(event)}"
            case _ if node != ROOT:
                pass
            case CallEnded():
                turn = self._turns.current
                if turn is not None and turn.says:
                    yield f"  {turn.says}"
            case CellStarted():
                yield from (f"  | {line}" for line in event.code.split("\n"))
            case CellEnded():
                yield from _output(event)
            case _:
                pass


def _figures(event: NodeEnded) -> str:
    tokens = f"{event.usage.tokens:,} tokens"
    return f"{plural(event.turns, 'turn')}, {tokens}, {event.seconds:.1f} s"


def _output(event: CellEnded) -> Iterator[str]:
    result = event.result
    lines = result.output.rstrip("\n").split("\n") if result.output else []
    yield from (f"  > {line}" for line in lines[:_OUTPUT_LINES])
    if len(lines) > _OUTPUT_LINES:
        yield f"  > … {len(lines) - _OUTPUT_LINES:,} more lines"
    if result.error is not None:
        yield f"  ! {result.error.type}: {result.error.message}"


def _excerpt(text: str) -> str:
    line = " ".join(text[: 4 * _EXCERPT].split())
    return line if len(line) <= _EXCERPT else f"{line[: _EXCERPT - 1]}…"
