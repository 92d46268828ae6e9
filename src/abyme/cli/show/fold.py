"""A run's journal, folded: each part is given as soon as it is complete.

So no more than one turn is in memory, and of its texts no more than is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from abyme.cli.show.values import Call, Cell, End, Head, Note, RootReply, Section, Turn
from abyme.cli.text import plural, restored_text, resumed_text
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
    QuestionAsked,
    RunEnded,
    RunForked,
    RunResumed,
    RunStarted,
    SurrogatesReplaced,
    TurnEnded,
    WorkerEnded,
    WorkerRestored,
    WorkerStarted,
)
from abyme.journal.reader import Record
from abyme.types import Answer

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
        self.turn = 0
        self._key = ""
        """Of the call that makes the turn's reply; "" before it is made."""

    def turn_of(self, event: Event) -> int:
        """The turn of the next event."""
        match event:
            case NodeStarted():
                self.turn = max(1, self.turn)
                return 0
            case RunResumed() if "/final" in self._key:
                self._key = ""  # it goes on as if that call had not been made
                return 0
            case QuestionAsked():
                self.turn, self._key = event.turns + 1, ""
                return 0
            case LimitReached() if self._key:
                self._next()
            case CallStarted() if event.kind in _ROOT:
                if self._key not in ("", event.key):  # the same key: it is asked again
                    self._next()
                self._key = event.key
                self.asked = max(self.asked, self.turn)
            case TurnEnded():
                turn = self.turn
                self._next()
                return turn
            case _ if isinstance(event, _OF_TURNS):
                pass
            case _:
                return 0
        return self.turn

    def _next(self) -> None:
        self.turn += 1
        self._key = ""


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
    records: Iterable[Record], only: int | None = None, *, run: str = "", going: bool = False
) -> Iterator[Head | Turn | Section | End]:
    """The head, each turn, where it went on another way, the end.

    With ``only``, of the turns just that one, with its texts in full; the rest is passed over.
    ``run``: its id, where its journal begins as another's. ``going``: the run was seen to go on
    before its journal was read.
    """
    head: Head | None = Head(run)
    full = only is not None
    fold, counter = _Fold(1, full=full), Counter()
    at, answer, model = 0.0, None, ""
    for record in records:
        event, at = record.event, record.at
        number = counter.turn_of(event)
        if number == 0:
            if head is not None:
                _to_head(head, record)
            if isinstance(event, RunStarted):
                model = event.model
            if isinstance(event, RunEnded):
                answer = event.answer
            if not isinstance(event, RunResumed | RunForked | QuestionAsked):
                continue
            if head is not None:
                yield head
                head = None
            further = isinstance(event, QuestionAsked)
            if (fold.turn.over or further) and not fold.turn.empty:
                if only in (None, fold.turn.number):
                    yield fold.turn
                fold = _Fold(counter.turn, full=full)
            now = "" if event.terms.model == model else f"from here on it asks {event.terms.model}"
            model = event.terms.model
            if isinstance(event, RunResumed):
                fold.resumed(event, answer, now)
            else:
                yield _section(event, answer, now)
            answer = None
            continue
        if number != fold.turn.number:
            if head is not None:
                yield head
                head = None
            if only is None or fold.turn.number == only:
                yield fold.turn
            fold = _Fold(number, full=full)
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


def _section(event: RunForked | QuestionAsked, answer: Answer | None, now: str) -> Section:
    if isinstance(event, QuestionAsked):
        return Section(question=event.question, number=event.number, answer=answer)
    above = "what stands above is that run's" if event.turn else "before its first turn"
    forked = f"forked from {event.parent} after turn {event.turn}: {above}"
    return Section("; ".join(filter(None, (forked, now))), answer=answer)


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
            head.run = head.run or record.event.run
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
            case TurnEnded():
                turn.over = True
            case CellStarted() if any(cell.number == event.cell for cell in turn.cells):
                self._cell(event.cell).again = True
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
                turn.after.append(Note(restored_text(event)))
            case LimitReached():
                turn.before.append(Note(f"limit reached: {event.detail}", bad=True))
            case _:
                self._sub_call(event, at)

    def resumed(self, event: RunResumed, answer: Answer | None, now: str) -> None:
        """The run was left before this turn or within it, and goes on."""
        turn = self.turn
        note = Note("; ".join(filter(None, (_resumed(event, answer, turn), now))))
        (turn.before if turn.empty else turn.attempts).append(note)

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
        self.turn.over = self.turn.final
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
        before = self._calls.get(key)
        if before is not None and not before.ended:
            before.started, before.again = at, True
            return before
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


def _resumed(event: RunResumed, answer: Answer | None, turn: Turn) -> str:
    if answer is not None:
        left = f"it had ended {answer.status}" + (f" ({answer.reason})" if answer.reason else "")
    elif not turn.empty:
        left = "it was killed in this turn"
    else:
        left = f"it was killed after turn {turn.number - 1}" if turn.number > 1 else "it was killed"
    parts = [f"resumed here: {left}", resumed_text(event)]
    if event.changed:
        parts.append(f"{plural(len(event.changed), 'document')} had changed, and was accepted so")
    if event.torn_bytes:
        parts.append(f"{plural(event.torn_bytes, 'byte')} of a line that was not whole are cut off")
    return "; ".join(filter(None, parts))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
