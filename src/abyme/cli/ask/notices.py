"""What is worth a line whoever is looking: what was loaded, what may be spent, what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from abyme.cli.text import bytes_text, count_text, counts_text, limit_text, plural
from abyme.events import (
    AttemptFailed,
    DataLoaded,
    DocumentLoaded,
    Event,
    FinishHeld,
    LimitReached,
    RunStarted,
    WorkerEnded,
    WorkerStarted,
)
from abyme.models.estimator import TokenEstimator

UNCONFINED = (
    "warning: --unsafe-local: code is not confined: it can read your files, use the network, "
    "start programs"
)
_MOST_FAILURES = 20
"""Failed attempts that get a line of their own."""


class Notices:
    """Lines about the run as a whole, from its events."""

    def __init__(self) -> None:
        self._started: RunStarted | None = None
        self._encodings: Counter[str] = Counter()
        self._warned = False
        self._failures = 0

    def lines(self, event: Event) -> Iterator[str]:
        """What is to be said of ``event``; mostly nothing."""
        match event:
            case RunStarted():
                self._started = event
            case DocumentLoaded() if event.encoding not in ("utf-8", "ascii"):
                self._encodings[event.encoding] += 1
            case DataLoaded() if self._started is not None:
                # Not before: where the data cannot be loaded there is no run to speak of.
                yield _run(self._started)
                started = self._started
                unpriced = unpriced_text(started.priced, started.model, started.sub_model)
                yield f"may spend: {limits_text(started.limits, unpriced)}"
                yield f"data: {data_text(event.documents, event.bytes, self._encodings)}" + (
                    f"; skipped: {counts_text(event.skipped)}" if event.skipped else ""
                )
            case WorkerStarted() if not event.layers and not self._warned:
                self._warned = True
                yield UNCONFINED
            case AttemptFailed():
                yield from self._failed(event)
            case WorkerEnded():
                yield f"the worker ended ({event.how}); a fresh one is rebuilt"
            case FinishHeld():
                yield "an answer typed beside unseen output is held for one turn"
            case LimitReached():
                yield f"limit reached: {event.detail}"
            case _:
                pass

    def _failed(self, event: AttemptFailed) -> Iterator[str]:
        """An endpoint that fails a thousand calls is not worth a thousand lines."""
        self._failures += 1
        if self._failures <= _MOST_FAILURES:
            again = f"next in {event.wait:.1f} s" if event.wait else "next at once"
            yield f"attempt {event.attempt} failed: {event.error} ({again})"
        if self._failures == _MOST_FAILURES:
            yield "further failed attempts are counted, not shown (abyme show has them)"


def data_text(documents: int, size: int, encodings: Mapping[str, int]) -> str:
    """``2,254 documents, 37.2 MB, ≈ 9.3 M tokens; not UTF-8: 22 (latin-1, …)``."""
    tokens = TokenEstimator().tokens("", size)
    text = f"{plural(documents, 'document')}, {bytes_text(size)}, ≈ {count_text(tokens)} tokens"
    return f"{text}; not UTF-8: {_encodings_text(encodings)}" if encodings else text


def unpriced_text(priced: bool, model: str, sub_model: str) -> str:
    """Whose price is not known, so that no limit of cost binds; "" where all prices are."""
    return "" if priced else " or ".join(dict.fromkeys((model, sub_model)))


def limits_text(limits: Mapping[str, Any], unpriced: str) -> str:
    """``$5, 30 min, 1,000 calls, 30 turns``: what a run may spend.

    ``unpriced``: the models, one of which at least has no known price.
    """
    parts = []
    if limits.get("max_cost") is not None:
        advice = "--price IN,OUT" + (", --sub-price IN,OUT" if " or " in unpriced else "")
        unknown = f"no limit of cost (the price of {unpriced} is not known: {advice})"
        parts.append(unknown if unpriced else f"${limits['max_cost']:g}")
    if limits.get("max_seconds") is not None:
        parts.append(limit_text(limits["max_seconds"]))
    if limits.get("max_tokens") is not None:
        parts.append(f"{limits['max_tokens']:,} tokens")
    if limits.get("max_calls") is not None:
        parts.append(f"{limits['max_calls']:,} calls")
    parts.append(plural(limits["max_turns"], "turn"))
    return ", ".join(parts)


def _run(event: RunStarted) -> str:
    sub = f" · sub-calls {event.sub_model}" if event.sub_model != event.model else ""
    return f"run {event.run} · {event.model}{sub}"


def _encodings_text(counts: Mapping[str, int]) -> str:
    """How many documents, and the most frequent encodings by name."""
    names = sorted(counts, key=lambda name: (-counts[name], name))
    more = ", …" if len(names) > 3 else ""
    return f"{sum(counts.values()):,} ({', '.join(names[:3])}{more})"
