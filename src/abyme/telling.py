"""Where a run's events go: into its journal, then to whoever listens; and what they come to."""

from __future__ import annotations

import logging
from collections.abc import Callable

from abyme.events import CellEnded, Event, RunEnded, TurnEnded, WorkerStarted
from abyme.journal.outcomes import Outcomes
from abyme.journal.tape import Tape
from abyme.journal.writer import Journal

_log = logging.getLogger("abyme")

Listener = Callable[[Event], None]


class Teller:
    """Tells of one run. Its figures begin with those of ``tape``.

    ``remember``: keep what calls were answered, for a journal that does not have it.
    """

    def __init__(
        self, journal: Journal, tape: Tape, listener: Listener | None, *, remember: bool = False
    ) -> None:
        self._journal = journal
        self.outcomes = Outcomes() if remember else None
        self.listener = listener
        self.turns = tape.turns_ended
        self.peak_bytes = tape.peak_bytes
        self.cpu_seconds = tape.cpu_seconds
        self.layers = tape.layers
        """Those that held in every worker; None as long as there was none."""

    def emit(self, event: Event) -> None:
        """Journal first; then whoever listens. A listener that raises is not heard again."""
        self._journal.append(event)
        if self.outcomes is not None:
            self.outcomes.take(event)
        if isinstance(event, RunEnded):
            event = event.with_head(self._journal.head)
        elif isinstance(event, CellEnded):
            self.peak_bytes = max(self.peak_bytes, event.result.peak_bytes)
            self.cpu_seconds += event.result.cpu_seconds
        elif isinstance(event, TurnEnded):
            self.turns += 1
        elif isinstance(event, WorkerStarted):
            held = event.layers if self.layers is None else self.layers
            self.layers = tuple(layer for layer in held if layer in event.layers)
        if self.listener is not None:
            try:
                self.listener(event)
            except BaseException as error:  # SystemExit too: it would end the engine's thread
                self.listener = None
                run = self._journal.run
                _log.warning("run %s: a listener raised and is dropped: %r", run, error)
