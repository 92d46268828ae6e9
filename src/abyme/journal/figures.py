"""Figures of a run that its answer has, as a fold over its events."""

from __future__ import annotations

from abyme.events import ROOT, CellEnded, Event, TurnEnded, WorkerStarted


class Figures:
    """What the events so far come to."""

    def __init__(self) -> None:
        self.turns = 0
        """Of the root."""
        self.peak_bytes = 0
        """The most memory that one worker had."""
        self.cpu_seconds = 0.0
        """Of all cells together."""
        self.layers: tuple[str, ...] | None = None
        """What held in every worker; None as long as there was none."""

    def take(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case CellEnded():
                self.peak_bytes = max(self.peak_bytes, event.result.peak_bytes)
                self.cpu_seconds += event.result.cpu_seconds
            case TurnEnded(node=node) if node == ROOT:
                self.turns += 1
            case WorkerStarted():
                held = event.layers if self.layers is None else self.layers
                self.layers = tuple(layer for layer in held if layer in event.layers)
            case _:
                pass
