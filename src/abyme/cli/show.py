"""A run as text: a fold over its journal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from abyme.cli.progress import bytes_text, closing_line
from abyme.events import (
    AttemptFailed,
    CallEnded,
    CallStarted,
    CellEnded,
    CellStarted,
    DataLoaded,
    Event,
    FinishHeld,
    HostAnswered,
    HostCalled,
    LimitReached,
    RunEnded,
    RunStarted,
    WorkerEnded,
    WorkerRestored,
    WorkerStarted,
)
from abyme.journal.reader import Record
from abyme.types import Answer, CellResult

_PROMPT_CHARS = 100


def answer_json(answer: Answer) -> str:
    """The answer's fields under their own names, as one JSON object."""
    return json.dumps(_plain(answer), ensure_ascii=False, indent=2)


def event_lines(records: Iterable[Record]) -> Iterator[str]:
    """Every event as one line of JSON, with its number and time."""
    for record in records:
        line = {"seq": record.seq, "at": record.at, **_plain(record.event)}
        yield json.dumps(line, ensure_ascii=False)


def run_lines(records: Iterable[Record]) -> Iterator[str]:
    """The run in order: what was asked, each turn's code and output, calls, the answer."""
    ended = False
    last = 0.0
    for record in records:
        last = record.at
        ended = ended or isinstance(record.event, RunEnded)
        yield from _lines(record.event, record.at)
    if not ended:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last))
        yield f"\nThe journal ends here, at {when}: the run is still going, or was killed."


def _lines(event: Event, at: float) -> Iterator[str]:
    match event:
        case RunStarted():
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
            yield f"run {event.run} · {when} · abyme {event.version}"
            yield f"model {event.model} · sub-calls {event.sub_model}"
            yield f"question: {event.question}"
        case DataLoaded():
            yield f"data: {event.documents:,} documents, {bytes_text(event.bytes)}"
        case WorkerStarted():
            layers = ", ".join(event.layers) or "not confined"
            yield f"worker: {event.sandbox}, {layers}"
        case CallStarted() if event.kind in ("root", "final"):
            yield f"\n── {event.key.partition('/')[2]} ──"
        case CallEnded() if event.key.count("/") <= 1:
            yield from _root_call(event)
        case CallStarted():
            prompt = " ".join(event.prompt[: 2 * _PROMPT_CHARS].split())[:_PROMPT_CHARS]
            yield f"  {event.kind} → {prompt!r}"
        case CallEnded():
            outcome = f"failed: {event.error}" if event.error else f"{len(event.text):,} characters"
            yield f"  ← {outcome} · {event.usage.tokens:,} tokens · {event.seconds:.2f} s"
        case AttemptFailed():
            yield f"  attempt {event.attempt} failed: {event.error}"
        case HostCalled():
            yield f"  {event.name}({json.dumps(event.arguments, ensure_ascii=False)[:200]})"
        case HostAnswered():
            yield f"  ← {event.error or json.dumps(event.value, ensure_ascii=False)[:200]}"
        case CellStarted():
            yield f"cell {event.cell}:"
            yield from _indented(event.code, "  │ ")
        case CellEnded():
            yield from _cell(event.result)
        case FinishHeld():
            yield f"held for one turn: {event.text[:200]}"
        case WorkerEnded():
            yield f"the worker ended: {event.how}"
        case WorkerRestored():
            lost = f"; lost: {', '.join(event.lost)}" if event.lost else ""
            yield f"a fresh worker re-ran {len(event.cells)} cells{lost}"
        case LimitReached():
            yield f"limit reached: {event.detail}"
        case RunEnded():
            yield from _answer(event.answer)
        case _:
            pass


def _root_call(event: CallEnded) -> Iterator[str]:
    if event.error:
        yield f"failed: {event.error}"
        return
    usage = event.usage
    cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    yield (
        f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out · "
        f"{event.seconds:.2f} s"
    )
    yield from _indented(event.text, "  ")


def _cell(result: CellResult) -> Iterator[str]:
    if result.output:
        yield from _indented(result.output.rstrip("\n"), "  > ")
    if result.error is not None:
        yield from _indented(result.error.traceback or result.error.message, "  ! ")
    yield (
        f"  {result.ended} · {result.seconds:.2f} s · {result.cpu_seconds:.2f} s CPU · "
        f"{bytes_text(result.peak_bytes)} peak"
    )


def _answer(answer: Answer) -> Iterator[str]:
    yield "\n── answer ──"
    yield answer.text
    for quote in answer.quotes:
        checked = "" if quote.verified else " (not verified)"
        yield f"  {quote.document}:{quote.line}{checked}"
        yield from _indented(quote.text, "    ")
    yield closing_line(answer)


def _indented(text: str, margin: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield margin + line


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, str_keys=True)
