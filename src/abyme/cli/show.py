"""A run as text: a fold over its journal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from abyme.cli.text import bytes_text, closing_line, plural, quote_lines
from abyme.events import (
    AttemptFailed,
    CallEnded,
    CallRefused,
    CallStarted,
    CellEnded,
    CellStarted,
    DataLoaded,
    Event,
    FinishHeld,
    HostAnswered,
    HostCalled,
    LimitReached,
    MessageAdded,
    RunEnded,
    RunStarted,
    WorkerEnded,
    WorkerRestored,
    WorkerStarted,
)
from abyme.journal.reader import Record
from abyme.types import Answer, CellResult

_SHOWN = 60
"""Characters that are shown of each end of a prompt or reply."""


def answer_json(answer: Answer) -> str:
    """The answer's fields under their own names, as one JSON object."""
    return json.dumps(_plain(answer), ensure_ascii=False, indent=2)


def event_lines(records: Iterable[Record]) -> Iterator[str]:
    """Every event as one line of JSON, with its number and time."""
    for record in records:
        line = {"seq": record.seq, "at": record.at, **_plain(record.event)}
        yield json.dumps(line, ensure_ascii=False)


def run_lines(records: Iterable[Record]) -> Iterator[str]:
    """The run in order: what was asked, each turn's reply and output, calls, the answer."""
    ended = False
    last = 0.0
    calls = _Calls()
    for record in records:
        last = record.at
        ended = ended or isinstance(record.event, RunEnded)
        yield from calls.lines(record.event)
        yield from _lines(record.event, record.at)
    if not ended:
        when = time.strftime(", at %Y-%m-%d %H:%M:%S", time.localtime(last)) if last else ""
        yield f"\nThe journal ends here{when}: the run is still going, or was killed."


def _lines(event: Event, at: float) -> Iterator[str]:
    match event:
        case RunStarted():
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
            yield f"run {event.run} · {when} · abyme {event.version}"
            yield f"model {event.model} · sub-calls {event.sub_model}"
            yield f"question: {event.question}"
        case DataLoaded():
            yield f"data: {plural(event.documents, 'document')}, {bytes_text(event.bytes)}"
        case WorkerStarted():
            layers = ", ".join(event.layers) or "not confined"
            yield f"worker: {event.sandbox}, {layers}"
        case CallStarted() if event.kind in ("root", "final"):
            yield f"\n── {event.key.partition('/')[2].replace('turn', 'turn ')} ──"
        case CallEnded() if event.key.count("/") <= 1:
            yield from _root_call(event)
        case HostCalled():
            yield f"  {event.name}({json.dumps(event.arguments, ensure_ascii=False)[:200]})"
        case HostAnswered():
            yield f"  ← {event.error or json.dumps(event.value, ensure_ascii=False)[:200]}"
        case CellStarted():
            yield f"cell {event.cell}:"  # its code stands in the reply above
        case CellEnded():
            yield from _cell(event.result)
        case MessageAdded() if event.role == "user" and event.index > 1:
            yield "told: " + event.text.rpartition("\n")[2]
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


class _Calls:
    """Numbers the calls from code, so that an answer can be matched to its prompt."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def lines(self, event: Event) -> Iterator[str]:
        """What is shown of a call's beginning, attempts and end."""
        match event:
            case CallStarted() if event.kind not in ("root", "final"):
                number = self._numbers[event.key] = len(self._numbers) + 1
                yield f"  [{number}] {event.kind} → {_excerpt(event.prompt)}"
            case CallEnded() if event.key in self._numbers:
                said = f"failed: {event.error}" if event.error else _excerpt(event.text)
                cost = f"{event.usage.tokens:,} tokens · {event.seconds:.2f} s"
                yield f"  [{self._numbers[event.key]}] ← {said} · {cost}"
            case AttemptFailed():
                which = f"[{self._numbers[event.key]}] " if event.key in self._numbers else ""
                yield f"  {which}attempt {event.attempt} failed: {event.error}"
            case CallRefused():
                yield f"  {event.kind} refused: {event.error}"
            case _:
                pass


def _excerpt(text: str) -> str:
    """A text on one line: its beginning and, of a long one, its end and length."""
    line = " ".join(text.split())
    if len(line) <= 2 * _SHOWN:
        return repr(line)
    return f"{line[:_SHOWN]!r} … {line[-_SHOWN:]!r} ({len(text):,} characters)"


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
        yield from _indented((result.error.traceback or result.error.message).strip(), "  ! ")
    yield (
        f"  {result.ended} · {result.seconds:.2f} s · {result.cpu_seconds:.2f} s CPU · "
        f"{bytes_text(result.peak_bytes)} peak"
    )


def _answer(answer: Answer) -> Iterator[str]:
    yield "\n── answer ──"
    yield answer.text
    yield from quote_lines(answer)
    yield closing_line(answer)


def _indented(text: str, margin: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield margin + line


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, str_keys=True)
