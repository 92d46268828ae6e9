"""Answers by call key: what a re-run cell is given instead of asking anybody again.

Restoring a dead worker is this; resuming, replaying and forking a run will be the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from abyme.events import CallEnded, CallRefused, Event, HostAnswered


class Outcome(msgspec.Struct, frozen=True):
    """How a recorded call ended: its value, or the type and message of its error."""

    value: Any = None
    error: str = ""
    error_type: str = ""


def outcomes(events: Iterable[Event]) -> dict[str, Outcome]:
    """The outcome of every call that ``events`` saw to its end, by its key."""
    found: dict[str, Outcome] = {}
    for event in events:
        if isinstance(event, CallEnded):
            found[event.key] = Outcome(event.text, event.error, event.error_type)
        elif isinstance(event, CallRefused):
            found[event.key] = Outcome(None, event.error, event.error_type)
        elif isinstance(event, HostAnswered):
            found[event.key] = Outcome(event.value, event.error, event.error_type)
    return found
