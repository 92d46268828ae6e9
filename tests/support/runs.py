"""Runs for tests: a scripted model, a folder for journals, and what the journal then says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from abyme import RLM, Answer, Limits
from abyme.engine import engine
from abyme.events import Event
from abyme.journal.reader import read
from abyme.models.scripted import Scripted
from abyme.sandbox.process import ProcessSandbox

E = TypeVar("E", bound=Event)


def cell(code: str) -> str:
    """A reply that holds one cell."""
    return f"```repl\n{code}\n```"


def scripted_rlm(
    runs: Path, replies: Sequence[Any] | Callable[..., Any], sub: Any = None, **options: Any
) -> RLM:
    """An RLM whose root says ``replies`` in order and whose sub-model answers from ``sub``."""
    limits = options.pop("limits", Limits(max_seconds=60))
    options.setdefault("sandbox", ProcessSandbox(grace_seconds=0.5))
    if not callable(replies):
        replies = list(replies)
    return RLM(Scripted(replies, sub), runs=runs, limits=limits, **options)


def ask(
    runs: Path, replies: Sequence[Any], sub: Any = None, context: Any = "some text", **options: Any
) -> Answer:
    """Run once and give the answer."""
    return scripted_rlm(runs, replies, sub, **options).completion("what is it?", context)


def settled() -> None:
    """Wait until the journals of all runs that have ended are on the disk, and their texts small.

    For tests that look at files: a run's answer does not wait for that.
    """

    engine().settle()


def events_of(runs: Path, answer: Answer) -> list[Event]:
    """All events of a run's journal."""
    return [record.event for record in read(runs / answer.run)]


def of_kind(events: Sequence[Event], kind: type[E]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def told(events: Sequence[Event]) -> list[str]:
    """What the root was told, message by message."""
    from abyme.events import MessageAdded

    return [event.text for event in of_kind(events, MessageAdded) if event.role == "user"]
