"""Journals for tests, written event by event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from abyme.events import Event, MessageAdded, RunStarted
from abyme.journal.format import VERSION
from abyme.journal.reader import read
from abyme.journal.writer import Journal

LONG = "a line of a long text\n" * 500


def started(redacted: bool = False) -> RunStarted:
    """The first event of a run."""
    return RunStarted("r", "0", "q?", "m", "m", "", {}, VERSION, redacted=redacted)


def message(index: int, text: str = "text") -> MessageAdded:
    """A message of the root."""
    return MessageAdded("0", index, "user", text)


def write(make: Callable[[], Journal], *events: Event) -> Path:
    """Append to what ``make`` makes, and close it; the run's folder."""

    async def main() -> Path:
        journal = make()
        for event in events:
            journal.append(event)
        await journal.close()
        return journal.folder

    return asyncio.run(main())


def events_in(folder: Path) -> list[Event]:
    """All events of a journal."""
    return [record.event for record in read(folder)]
