"""What is worth a line whoever is looking: what was loaded, what may be spent, what went wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from abyme.cli.text import (
    bytes_text,
    cost_text,
    count_text,
    counts_text,
    limit_text,
    models_text,
    plural,
    restored_text,
    resumed_text,
    seconds_text,
)
from abyme.errors import BudgetExceeded
from abyme.events import (
    AttemptFailed,
    CallRefused,
    DataLoaded,
    DocumentLoaded,
    Event,
    FinishHeld,
    LimitReached,
    NodeEnded,
    QuestionAsked,
    RunEnded,
    RunForked,
    RunResumed,
    RunStarted,
    Terms,
    WorkerEnded,
    WorkerRestored,
    WorkerStarted,
    node_of,
    parent_of,
)
from abyme.models.estimator import TokenEstimator
from abyme.progress import Progress

UNCONFINED = (
    "warning: --unsafe-local: code is not confined: it can read your files, use the network, "
    "start programs"
)
_QUESTION = 200
_MOST_FAILURES = 20
"""Failed attempts that get a line of their own."""
_MOST_OF_CHILDREN = 20
"""Lines about children."""
_WHY = 300
_LIMIT = re.compile(r"max_\w+")


class Notices:
    """Lines about the run as a whole, from its events."""

    def __init__(self) -> None:
        self._started: RunStarted | None = None
        self._before = Progress()
        self._in_turn = False
        self._changed: frozenset[int] = frozenset()
        self._encodings: Counter[str] = Counter()
        self._said = False
        self._warned = False
        self._failures = 0
        self._of_children = 0
        self._refused: Counter[str] = Counter()  # by limit

    def recall(self, before: Progress, *, in_turn: bool) -> None:
        """How far the run had come before it goes on; ``in_turn``: its last turn was not over."""
        self._before, self._in_turn = before, in_turn

    def lines(self, event: Event) -> Iterator[str]:
        """What is to be said of ``event``; mostly nothing."""
        if isinstance(event, CallRefused) and event.error_type == BudgetExceeded.__name__:
            limit = _LIMIT.match(event.error)  # a batch is refused whole for want of calls
            self._refused[limit[0] if limit else "max_calls"] += 1
        if parent_of(node := node_of(event)) and not isinstance(event, AttemptFailed):
            yield from self._of_child(node, event)
            return
        match event:
            case RunStarted():
                self._started = event
            case DocumentLoaded() if event.index in self._changed:
                yield f"changed since, and accepted: {event.name}"
            case DocumentLoaded() if event.encoding not in ("utf-8", "ascii"):
                self._encodings[event.encoding] += 1
            case DataLoaded() if self._started is not None:
                # Not before: where the data cannot be loaded there is no run to speak of.
                started = self._started
                yield _run(started.run, started.terms)
                yield f"may spend: {limits_text(started.limits, _unpriced(started.terms))}"
                yield f"data: {data_text(event.documents, event.bytes, self._encodings)}" + (
                    f"; skipped: {counts_text(event.skipped)}" if event.skipped else ""
                )
            case RunResumed():
                self._changed = frozenset(event.changed)
                yield from self._goes_on(event.terms, self._before.run)
                yield f"goes on {self._where()}: {_so_far(self._before)}"
                yield from _resumed(event)
            case RunForked():
                yield from self._goes_on(event.terms, event.run)
                yield f"goes on from run {event.parent} after turn {event.turn}, at no cost so far"
            case QuestionAsked():
                if self._before.run and not self._said:
                    yield from self._goes_on(event.terms, self._before.run)
                    yield f"so far: {_so_far(self._before)}"
                yield f"question {event.number}: {_beginning(event.question)}"
            case WorkerRestored():
                yield restored_text(event)
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
            case RunEnded() if event.answer.status == "complete" and self._refused:
                yield _refused(self._refused)
            case _:
                pass

    def _of_child(self, node: str, event: Event) -> Iterator[str]:
        """What goes wrong in a child. Hundreds that fail alike are not worth hundreds of lines."""
        match event:
            case WorkerStarted() if not event.layers and not self._warned:
                self._warned = True
                yield UNCONFINED
                return
            case WorkerEnded():
                line = f"child {node}: its worker ended ({event.how}); a fresh one is rebuilt"
            case WorkerRestored():
                line = f"child {node}: {restored_text(event)}"
            case NodeEnded(status="partial" | "failed"):
                line = event.error or f"child {node} ended {event.status}"
            case _:
                return
        self._of_children += 1
        if self._of_children <= _MOST_OF_CHILDREN:
            yield _beginning(line, _WHY)
        if self._of_children == _MOST_OF_CHILDREN:
            yield "what befalls further children is counted, not shown (abyme show has it)"

    def _where(self) -> str:
        turn = self._before.turn
        if not turn:
            return "from its start"
        return f"in turn {turn}" if self._in_turn else f"after turn {turn}"

    def _goes_on(self, terms: Terms, run: str) -> Iterator[str]:
        """Of whom is asked from now on, and what it may spend in all."""
        self._said = True
        yield _run(run, terms)
        yield f"may spend: {limits_text(terms.limits, _unpriced(terms))}"
        yield f"data: {data_text(self._before.documents, self._before.bytes, {})}"

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


def unpriced_text(priced: bool, *models: str) -> str:
    """Whose price is not known, so that no limit of cost binds; "" where all prices are."""
    return "" if priced else " or ".join(dict.fromkeys(models))


def limits_text(limits: Mapping[str, Any], unpriced: str) -> str:
    """``$5, 30 min, 1,000 calls, 30 turns``: what a run may spend.

    ``unpriced``: the models, one of which at least has no known price.
    """
    parts = []
    if limits.get("max_cost") is not None:
        flags = ("--price IN,OUT", "--sub-price IN,OUT", "--child-price IN,OUT")
        advice = ", ".join(flags[: 1 + unpriced.count(" or ")])
        unknown = f"no limit of cost (the price of {unpriced} is not known: {advice})"
        parts.append(unknown if unpriced else f"${limits['max_cost']:g}")
    if limits.get("max_seconds") is not None:
        parts.append(limit_text(limits["max_seconds"]))
    if limits.get("max_tokens") is not None:
        parts.append(f"{limits['max_tokens']:,} tokens")
    if limits.get("max_input_tokens") is not None:
        parts.append(f"{limits['max_input_tokens']:,} input tokens")
    if limits.get("max_output_tokens") is not None:
        parts.append(f"{limits['max_output_tokens']:,} output tokens")
    if limits.get("max_calls") is not None:
        parts.append(f"{limits['max_calls']:,} calls")
    parts.append(plural(limits["max_turns"], "turn"))
    if limits.get("max_depth", 1) > 1:
        parts.append(f"depth {limits['max_depth']}")
    return ", ".join(parts)


def _resumed(event: RunResumed) -> Iterator[str]:
    if again := resumed_text(event):
        yield again
    if event.torn_bytes:
        yield f"the journal's last line was not whole: {plural(event.torn_bytes, 'byte')} cut off"


def _so_far(before: Progress) -> str:
    parts = [
        plural(before.turn, "turn"),
        plural(before.calls, "call"),
        f"{before.usage.tokens:,} tokens",
        cost_text(before.cost),
        seconds_text(before.seconds),
    ]
    return " · ".join(parts)


def _beginning(text: str, most: int = _QUESTION) -> str:
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _run(run: str, terms: Terms) -> str:
    children = terms.child_models if terms.limits.get("max_depth", 1) > 1 else ()
    return f"run {run} · {models_text(terms.model, terms.sub_model, children)}"


def _unpriced(terms: Terms) -> str:
    return unpriced_text(terms.priced, terms.model, terms.sub_model, *terms.child_models)


def _encodings_text(counts: Mapping[str, int]) -> str:
    """How many documents, and the most frequent encodings by name."""
    names = sorted(counts, key=lambda name: (-counts[name], name))
    more = ", …" if len(names) > 3 else ""
    return f"{sum(counts.values()):,} ({', '.join(names[:3])}{more})"


def _refused(by_limit: Counter[str]) -> str:
    """Of a run whose code went on without the answers that the budget did not pay for."""
    count = by_limit.total()
    were = "call was" if count == 1 else "calls were"
    limits = ", ".join(limit for limit, _ in by_limit.most_common())
    return f"{count:,} {were} refused ({limits}): the answer was found without them"
