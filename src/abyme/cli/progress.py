"""What a run says on stderr while it goes on: plain lines, a fold over its events."""

from __future__ import annotations

from collections.abc import Callable

from abyme.cli.text import bytes_text, counts_text, plural
from abyme.events import (
    AttemptFailed,
    CallEnded,
    CellEnded,
    DataLoaded,
    DocumentLoaded,
    Event,
    FinishHeld,
    LimitReached,
    RunStarted,
    TurnEnded,
    WorkerEnded,
    WorkerStarted,
)

_WARNING = "warning: model-written code is not confined: it can read files, use the network"


class Progress:
    """A listener that says in a few lines what happens; ``say`` prints one line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._other_encodings: dict[str, int] = {}
        self._sub_calls = 0
        self._failed_calls = 0
        self._started: RunStarted | None = None
        self._cells = 0
        self._ended: list[str] = []
        self._warned = False

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RunStarted():
                self._started = event
            case DocumentLoaded() if event.encoding not in ("utf-8", "ascii"):
                count = self._other_encodings.get(event.encoding, 0)
                self._other_encodings[event.encoding] = count + 1
            case DataLoaded() if self._started is not None:
                # Not before: where the data cannot be loaded there is no run to speak of.
                self._say(f"run {self._started.run} · {self._started.model}")
                self._say(f"may spend: {_limits(self._started)}")
                self._say(self._loaded(event))
            case WorkerStarted() if not event.layers and not self._warned:
                self._warned = True
                self._say(_WARNING)
            case AttemptFailed():
                self._say(f"attempt {event.attempt} failed: {event.error} {_again(event.wait)}")
            case CallEnded() if event.key.count("/") > 1:
                self._sub_calls += 1
                self._failed_calls += bool(event.error)
            case CellEnded():
                self._cells += 1
                if not event.result.ok:
                    self._ended.append(event.result.ended)
            case WorkerEnded():
                self._say(f"the worker ended ({event.how}); a fresh one is rebuilt")
            case FinishHeld():
                self._say("an answer typed beside unseen output is held for one turn")
            case LimitReached():
                self._say(f"limit reached: {event.detail}")
            case TurnEnded():
                self._say(self._turn(event))
            case _:
                pass

    def _loaded(self, event: DataLoaded) -> str:
        noun = "document" if event.documents == 1 else "documents"
        line = f"data: {event.documents:,} {noun}, {bytes_text(event.bytes)}"
        if self._other_encodings:
            line += f"; not UTF-8: {_encodings(self._other_encodings)}"
        if event.skipped:
            line += f"; skipped: {counts_text(event.skipped)}"
        return line

    def _turn(self, event: TurnEnded) -> str:
        ended = f" ({', '.join(self._ended)})" if self._ended else ""
        parts = [f"turn {event.turn}", plural(self._cells, "cell") + ended]
        if self._sub_calls:
            failed = f" ({self._failed_calls} failed)" if self._failed_calls else ""
            parts.append(plural(self._sub_calls, "sub-call") + failed)
        self._cells = self._sub_calls = self._failed_calls = 0
        self._ended.clear()
        return " · ".join(parts)


def _limits(event: RunStarted) -> str:
    limits = event.limits
    parts = []
    if limits.get("max_cost") is not None:
        parts.append(f"${limits['max_cost']:g}" + ("" if event.priced else " (price unknown)"))
    if limits.get("max_seconds") is not None:
        parts.append(f"{limits['max_seconds'] / 60:g} min")
    if limits.get("max_tokens") is not None:
        parts.append(f"{limits['max_tokens']:,} tokens")
    if limits.get("max_calls") is not None:
        parts.append(f"{limits['max_calls']:,} calls")
    parts.append(f"{limits['max_turns']} turns")
    return ", ".join(parts)


def _again(wait: float) -> str:
    return f"(next in {wait:.1f} s)" if wait else "(next at once)"


def _encodings(counts: dict[str, int]) -> str:
    """How many documents, and the most frequent encodings by name."""
    names = sorted(counts, key=lambda name: (-counts[name], name))
    more = ", …" if len(names) > 3 else ""
    return f"{sum(counts.values()):,} ({', '.join(names[:3])}{more})"
