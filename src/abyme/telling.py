"""Where a run's events go: into its journal, then to whoever listens; and what they come to."""

from __future__ import annotations

import logging
from collections.abc import Callable

from abyme.events import Event, RunEnded
from abyme.journal.figures import Figures
from abyme.journal.outcomes import Outcomes
from abyme.journal.writer import Journal

_log = logging.getLogger("abyme")

Listener = Callable[[Event], None]


class Teller:
    """Tells of one run. ``figures`` are those that it has so far.

    ``remember``: keep what calls were answered, for a journal that does not have it.
    """

    def __init__(
        self,
        journal: Journal,
        figures: Figures,
        listener: Listener | None,
        *,
        remember: bool = False,
    ) -> None:
        self._journal = journal
        self.figures = figures
        self.outcomes = Outcomes() if remember else None
        self.listener = listener

    def emit(self, event: Event) -> None:
        """Journal first; then whoever listens. A listener that raises is not heard again."""
        self._journal.append(event)
        self.figures.take(event)
        if self.outcomes is not None:
            self.outcomes.take(event)
        if isinstance(event, RunEnded):
            event = event.with_head(self._journal.head)
        if self.listener is not None:
            try:
                self.listener(event)
            except BaseException as error:  # SystemExit too: it would end the engine's thread
                self.listener = None
                run = self._journal.run
                _log.warning("run %s: a listener raised and is dropped: %r", run, error)
