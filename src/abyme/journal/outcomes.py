"""What calls came to, by their keys: what a call is given instead of asking anybody again.

Restoring a dead worker, resuming a run, replaying and forking it all rest on this.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from abyme.events import (
    ROOT,
    CallCached,
    CallEnded,
    CallGivenUp,
    CallRefused,
    CellStarted,
    Event,
    HostAnswered,
    NodeEnded,
    QuestionAsked,
)


class Outcome(msgspec.Struct, frozen=True):
    """How a recorded call ended: its value, or the type and message of its error.

    ``answered``: it was; no model call that failed was, and it may be made again. ``given_up``: the
    code that had made it did not wait for it, and has never seen how it ended.
    """

    value: Any = None
    error: str = ""
    error_type: str = ""
    answered: bool = True
    given_up: bool = False
    details: dict[str, Any] = {}
    """What the error has beside its message."""


GIVEN_UP = Outcome(
    error="the code that had made this call gave it up",
    error_type="CallError",
    answered=False,
    given_up=True,
)


class Outcomes:
    """The outcome of every call that was seen to its end, by its key: a fold over events."""

    def __init__(self) -> None:
        self._found: dict[str, Outcome] = {}
        self._cell = 0
        self._cells_before = 0

    def take(self, event: Event) -> None:
        """Take the next event."""
        if isinstance(event, CallEnded):
            done = not event.error
            self._found[event.key] = Outcome(event.text, event.error, event.error_type, done)
        elif isinstance(event, CallRefused):
            self._found[event.key] = Outcome(None, event.error, event.error_type, False)
        elif isinstance(event, HostAnswered):
            self._found[event.key] = Outcome(event.value, event.error, event.error_type)
        elif isinstance(event, NodeEnded):
            self._found[event.key] = Outcome(
                event.value,
                event.error,
                event.error_type,
                answered=event.status != "cancelled",
                details=event.details,
            )
        elif isinstance(event, CallCached):
            if event.source in self._found:
                self._found[event.key] = self._found[event.source]
        elif isinstance(event, CallGivenUp):
            self._found[event.key] = GIVEN_UP
        elif isinstance(event, CellStarted) and event.node == ROOT:
            self._cell = event.cell
        elif isinstance(event, QuestionAsked):
            self._cells_before = self._cell

    def cells_before(self, node: str) -> int:
        """The last cell of a node that was for a question that has been dealt with, or 0."""
        return self._cells_before if node == ROOT else 0

    def of(self, key: str) -> Outcome | None:
        """That of one call."""
        return self._found.get(key)

    def __iter__(self) -> Iterator[str]:
        """The keys of all calls, in the order in which they were first seen to end."""
        return iter(self._found)
