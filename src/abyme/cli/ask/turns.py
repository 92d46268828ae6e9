"""The turns of a run as a person follows them: a fold over its events, for what is shown.

They are the root's. Of its children and theirs there is how many there are, and what those that
work are asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator

from abyme.cli.text import children_text, plural
from abyme.events import (
    ROOT,
    CallEnded,
    CallStarted,
    CellEnded,
    CellStarted,
    Event,
    NodeEnded,
    NodeStarted,
    OutputAdded,
    TextAdded,
    TurnEnded,
    cell_of,
    node_of,
    parent_of,
)

_OUTPUT_KEPT = 2_000
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")


class Turn:
    """One turn: what the model said it does, the code, what became of it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.began = time.monotonic()
        self.seconds: float | None = None
        self.heard = 0
        """Characters of the reply so far, where it is streamed."""
        self.key = ""
        """Of the call that made its reply."""
        self.says = ""
        """The first sentence of the reply, which says what the code is to do."""
        self.cells = 0
        self.last_cell = 0
        self.bad: list[str] = []
        """How those cells ended that did not run to their end."""
        self.code = ""
        self.output = ""
        """The end of what the running cell has printed."""
        self.sub_calls = 0
        self.failed = 0
        self.children = 0
        self.children_failed = 0

    def line(self) -> str:
        """``turn 2 · 1 cell · 20 children · 33 sub-calls (1 failed)``."""
        bad = f" ({', '.join(self.bad)})" if self.bad else ""
        parts = [f"turn {self.number}", plural(self.cells, "cell") + bad]
        if self.children:
            failed = f" ({self.children_failed:,} failed)" if self.children_failed else ""
            parts.append(children_text(self.children) + failed)
        if self.sub_calls:
            failed = f" ({self.failed:,} failed)" if self.failed else ""
            parts.append(plural(self.sub_calls, "sub-call") + failed)
        return " · ".join(parts)


class Child:
    """A child that is at work."""

    def __init__(self, node: str, question: str) -> None:
        self.node = node
        self.question = question
        self.began = time.monotonic()
        self.turn = 0
        """The turn of its own that is under way, or the last one."""


class Turns:
    """All turns so far. ``current`` is the one under way, None before the first."""

    def __init__(self) -> None:
        self.all: list[Turn] = []
        self.at_work: dict[str, Child] = {}
        """Children that are, by their ids, the one that has worked longest first."""
        self.asked: dict[str, str] = {}
        """The questions of all children."""

    @property
    def current(self) -> Turn | None:
        """The turn that is under way, or the last one."""
        return self.all[-1] if self.all else None

    def take(self, event: Event) -> None:
        """Take the next event."""
        node = node_of(event)
        if isinstance(event, CallStarted) and event.kind == "root" and node == ROOT:
            self._ask(event.key)
        if (turn := self.current) is None:
            return
        if isinstance(event, CallEnded) and cell_of(event.key):
            turn.sub_calls += 1
            turn.failed += bool(event.error)
        elif node == ROOT:
            self._of_root(turn, event)
        elif parent_of(node):
            self._of_child(turn, node, event)

    def _of_root(self, turn: Turn, event: Event) -> None:
        match event:
            case TextAdded():
                turn.heard += len(event.text)
            case CallEnded():
                turn.says = next(_sentences(event.text), "")
            case CellStarted():
                turn.cells += event.cell != turn.last_cell  # one cut off is run again
                turn.last_cell = event.cell
                turn.code, turn.output = event.code, ""
            case OutputAdded():
                turn.output = (turn.output + event.text)[-_OUTPUT_KEPT:]
            case CellEnded() if not event.result.ok:
                turn.bad.append(event.result.ended)
            case TurnEnded():
                turn.seconds = time.monotonic() - turn.began
            case _:
                pass

    def _of_child(self, turn: Turn, node: str, event: Event) -> None:
        match event:
            case NodeStarted():
                self.asked[node] = event.question
                self.at_work[node] = Child(node, event.question)
            case CallStarted() if event.kind == "root":
                # One that was left with its run goes on without being started again.
                child = self.at_work.setdefault(node, Child(node, self.asked.get(node, "")))
                turn_of_child = event.key.rpartition("/turn")[2]
                child.turn = int(turn_of_child) if turn_of_child.isdecimal() else child.turn
            case NodeEnded():
                self.at_work.pop(node, None)
                turn.children += 1
                turn.children_failed += event.status != "complete"
            case _:
                pass

    def recall(self, events: Iterable[Event]) -> None:
        """Take what happened before the run went on."""
        for event in events:
            self.take(event)
        self.at_work.clear()
        if (turn := self.current) is not None:
            turn.began = time.monotonic()

    def _ask(self, key: str) -> None:
        if self.current is None or self.current.key != key:  # else it is asked again
            self.all.append(Turn(len(self.all) + 1))
            self.all[-1].key = key


def _sentences(reply: str) -> Iterator[str]:
    """The lines of a reply that are prose, up to its first code."""
    for line in reply.split("\n"):
        if _FENCE.match(line):
            return
        if said := " ".join(line.split()):
            yield said
