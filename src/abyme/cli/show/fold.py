"""A run's journal, folded: each part is given as soon as it is complete.

So no more than one turn is in memory, and of its texts no more than is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from abyme.cli.show.values import Call, Cell, End, Head, Note, RootReply, Turn
from abyme.events import (
    AttemptFailed,
    CallEnded,
    CallRefused,
    CallStarted,
    CellEnded,
    CellStarted,
    Checkpointed,
    CheckpointRefused,
    DataLoaded,
    Event,
    FinishHeld,
    HostAnswered,
    HostCalled,
    LimitReached,
    MessageAdded,
    NodeStarted,
    RunEnded,
    RunStarted,
    SurrogatesReplaced,
    TurnEnded,
    WorkerEnded,
    WorkerRestored,
    WorkerStarted,
)
from abyme.journal.reader import Record

_KEPT = 1_000
"""Characters of a prompt and of a reply that are kept where they are not shown in full."""
_ROOT = ("root", "final")


class Counter:
    """Says to which turn each event belongs: 0 for those of the whole run.

    A turn begins with what the model is told before its reply. The call that answers after a
    limit is a turn of its own.
    """

    def __init__(self) -> None:
        self.asked = 0
        """The last turn whose model was asked: how many turns there are so far."""
        self._turn = 0
        self._asked = False

    def turn_of(self, event: Event) -> int:
        """The turn of the next event."""
        match event:
            case NodeStarted():
                self._turn = max(1, self._turn)
                return 0
            case LimitReached() if self._asked:
                self._next()
            case CallStarted() if event.kind in _ROOT:
                if self._asked:
                    self._next()
                self._asked = True
                self.asked = self._turn
            case TurnEnded():
                turn = self._turn
                self._next()
                return turn
            case _ if isinstance(event, _OF_TURNS):
                pass
            case _:
                return 0
        return self._turn

    def _next(self) -> None:
        self._turn += 1
        self._asked = False


_OF_TURNS = (
    MessageAdded,
    CallStarted,
    CallRefused,
    AttemptFailed,
    SurrogatesReplaced,
    CallEnded,
    HostCalled,
    HostAnswered,
    Checkpointed,
    CheckpointRefused,
    WorkerEnded,
    WorkerRestored,
    CellStarted,
    CellEnded,
    FinishHeld,
    LimitReached,
)


def parts(
    records: Iterable[Record], only: int | None = None, *, going: bool = False
) -> Iterator[Head | Turn | End]:
    """The head, each turn, the end.

    With ``only``, of the turns just that one, with its texts in full; the rest is passed over.
    ``going``: the run was seen to go on before its journal was read.
    """
    head: Head | None = Head()
    fold, counter = _Fold(1, full=only is not None), Counter()
    at, answer = 0.0, None
    for record in records:
        event, at = record.event, record.at
        number = counter.turn_of(event)
        if number == 0:
            if head is not None:
                _to_head(head, record)
            if isinstance(event, RunEnded):
                answer = event.answer
            continue
        if number != fold.turn.number:
            if head is not None:
                yield head
                head = None
            if only is None or fold.turn.number == only:
                yield fold.turn
            fold = _Fold(number, full=only is not None)
        if only is None or number == only:
            fold.take(event, at)
    if head is not None:
        yield head
    last = fold.turn
    notes = last.before if last.empty else []
    going = going and answer is None
    if going:
        _set_in_flight(last)
    if not last.empty and (only is None or last.number == only):
        yield last
    yield End(at, counter.asked, notes, answer, going)


def _set_in_flight(turn: Turn) -> None:
    """Say of what has not ended that it is still to come."""
    if turn.reply is not None:
        turn.reply.in_flight = not turn.reply.ended
    for cell in turn.cells:
        cell.in_flight = cell.result is None
        for call in cell.calls:
            call.in_flight = not call.ended


def _to_head(head: Head, record: Record) -> None:
    match record.event:
        case RunStarted():
            head.at, head.started = record.at, record.event
        case DataLoaded():
            head.data = record.event
        case WorkerStarted() if head.worker is None:
            head.worker = record.event
        case _:
            pass


class _Fold:
    """One turn under construction."""

    def __init__(self, number: int, *, full: bool) -> None:
        self.turn = Turn(number)
        self._full = full
        self._calls: dict[str, Call] = {}

    def take(self, event: Event, at: float) -> None:
        """Take the next event of the turn."""
        turn = self.turn
        match event:
            case MessageAdded() if event.role != "assistant" and turn.empty:
                turn.told += [event.text] if self._full else []
            case CallStarted() if event.kind in _ROOT:
                turn.reply = RootReply()
                turn.final = event.kind == "final"
            case CallEnded() if event.key.count("/") <= 1:
                self._replied(event)
            case CellStarted():
                turn.cells.append(Cell(event.cell, event.code))
            case CellEnded():
                self._cell(event.cell).result = event.result
            case FinishHeld():
                said = self._kept(event.text)
                turn.after.append(Note(f"answer held for one turn, output was unseen: {said}"))
            case WorkerEnded():
                turn.after.append(Note(f"the worker ended: {event.how}", bad=True))
            case Checkpointed():
                turn.after.append(Note(_checkpointed(event)))
            case CheckpointRefused():
                turn.after.append(Note(f"no checkpoint after cell {event.cell}: {event.reason}"))
            case WorkerRestored():
                turn.after.append(_restored(event))
            case LimitReached():
                turn.before.append(Note(f"limit reached: {event.detail}", bad=True))
            case _:
                self._sub_call(event, at)

    def _sub_call(self, event: Event, at: float) -> None:
        match event:
            case CallStarted():
                self._add(event.key, event.cell, event.kind, event.model, event.prompt, at)
            case CallRefused():
                refused = self._add(event.key, event.cell, event.kind, "", "", at)
                refused.error, refused.ended = f"refused: {event.error}", True
            case HostCalled():
                asked = ", ".join(f"{name}={_json(item)}" for name, item in event.arguments.items())
                self._add(event.key, event.cell, event.name, "", asked, at)
            case HostAnswered():
                if call := self._calls.get(event.key):
                    said = "" if event.error else _json(event.value)
                    self._end(call, said, event.error, event.seconds)
            case CallEnded():
                if call := self._calls.get(event.key):
                    self._end(call, event.text, event.error, event.seconds)
                    call.usage, call.cost, call.attempts = event.usage, event.cost, event.attempts
                    if event.cut:
                        call.notes.append("cut at its token limit")
                    if event.charged:
                        call.notes.append("charged as spent")
            case SurrogatesReplaced() if event.key in self._calls:
                what = f"{event.count:,} lone surrogates replaced"
                self._calls[event.key].notes.append(what)
            case AttemptFailed():
                self._attempt(event)
            case _:
                pass

    def _replied(self, event: CallEnded) -> None:
        self.turn.reply = RootReply(
            event.text, event.usage, event.cost, event.seconds, event.error, event.cut, ended=True
        )

    def _attempt(self, event: AttemptFailed) -> None:
        line = f"attempt {event.attempt} failed: {event.error}"
        if call := self._calls.get(event.key):
            if self._full:
                call.notes.append(line)
        else:
            self.turn.attempts.append(Note(line, bad=True))

    def _add(self, key: str, cell: int, name: str, model: str, asked: str, at: float) -> Call:
        calls = self._cell(cell).calls
        call = Call(len(calls) + 1, name, model, self._kept(asked), at)
        calls.append(call)
        self._calls[key] = call
        return call

    def _end(self, call: Call, said: str, error: str, seconds: float) -> None:
        call.said, call.error, call.seconds = self._kept(said), self._kept(error), seconds
        call.ended = True

    def _cell(self, number: int) -> Cell:
        """The cell with this number; a thread of an earlier one may still make calls."""
        cells = self.turn.cells
        for cell in reversed(cells):
            if cell.number == number:
                return cell
        cells.append(Cell(number, ""))
        return cells[-1]

    def _kept(self, text: str) -> str:
        if self._full or len(text) <= _KEPT:
            return text
        return text[:_KEPT] + "…"


def _checkpointed(event: Checkpointed) -> str:
    size = f"{event.bytes / 1e6:,.1f} MB in {event.seconds:.1f} s"
    return f"checkpoint of all up to cell {event.cell}: {size}"


def _restored(event: WorkerRestored) -> Note:
    text = f"a fresh worker re-ran {len(event.cells):,} earlier cells"
    if event.saved:
        text += f"; {len(event.saved):,} came from a checkpoint"
    if event.lost:
        text += f"; lost: {', '.join(event.lost)}"
    if event.differing:
        text += f"; not the same the second time: {', '.join(map(str, event.differing))}"
    return Note(text)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
