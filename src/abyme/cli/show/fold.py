"""A run's journal, folded: each part is given as soon as it is complete.

So no more than one turn is in memory, and of its texts no more than is shown; but turns that
follow one in which code began a job wait for what comes of it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from abyme.cli.show.given import Shelf
from abyme.cli.show.values import Call, Cell, End, Head, Note, RootReply, Section, Turn
from abyme.cli.text import children_text, plural, restored_text, resumed_text
from abyme.events import (
    ROOT,
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
    NodeEnded,
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
    cell_of,
    node_of,
    parent_of,
)
from abyme.journal.reader import Record
from abyme.pending import JOB_BEGINS, JOB_LOOKS, job_size
from abyme.types import Answer

_KEPT = 1_000
"""Characters of a prompt and of a reply that are kept where they are not shown in full."""
_ROOT = ("root", "final")


class Counter:
    """Says to which turn of ``node`` each event belongs: 0 for those of the run and other nodes.

    A turn begins with what the model is told before its reply. The call that answers after a
    limit is a turn of its own. What a call of code comes to belongs to the turn of its cell,
    whenever that is; of its children a node sees that they begin and end.
    """

    def __init__(self, node: str = ROOT) -> None:
        self.asked = 0
        """The last turn whose model was asked: how many turns there are so far."""
        self.turn = 0
        self._node = node
        self._cells: dict[int, int] = {}
        self._key = ""
        """Of the call that makes the turn's reply; "" before it is made."""

    def turn_of(self, event: Event) -> int:
        """The turn of the next event."""
        node = node_of(event)
        if isinstance(event, NodeStarted | NodeEnded) and parent_of(node) == self._node:
            return self._of_cell(event.key)
        if node not in ("", self._node):
            return 0
        match event:
            case NodeStarted():
                self.turn = max(1, self.turn)
                return 0
            case RunResumed() if "/final" in self._key:
                self._key = ""  # it goes on as if that call had not been made
                return 0
            case QuestionAsked() if self._node == ROOT:
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
            case CellStarted():
                self._cells[event.cell] = self.turn
            case _ if isinstance(event, _OF_CALLS) and cell_of(event.key):
                return self._of_cell(event.key)
            case _ if isinstance(event, _OF_TURNS):
                pass
            case _:
                return 0
        return self.turn

    def _of_cell(self, key: str) -> int:
        return self._cells.get(cell_of(key), self.turn)

    def _next(self) -> None:
        self.turn += 1
        self._key = ""


_OF_CALLS = (
    CallStarted,
    CallRefused,
    AttemptFailed,
    SurrogatesReplaced,
    CallEnded,
    HostCalled,
    HostAnswered,
)
_OF_TURNS = (
    *_OF_CALLS,
    MessageAdded,
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
    records: Iterable[Record],
    only: int | None = None,
    *,
    run: str = "",
    going: bool = False,
    node: str = ROOT,
) -> Iterator[Head | Turn | Section | End]:
    """The head, each turn of ``node``, where the run went on another way, the end.

    With ``only``, of the turns just that one, with its texts in full; the rest is passed over.
    ``run``: its id, where its journal begins as another's. ``going``: the run was seen to go on
    before its journal was read.
    """
    telling = _Telling(only, run, node)
    at = 0.0
    for record in records:
        at = record.at
        telling.take(record)
        yield from telling.ready()
    yield from telling.end(at, going)


class _Telling:
    """All of it under construction: what is complete, what waits, and the turn that goes on."""

    def __init__(self, only: int | None, run: str, node: str) -> None:
        self._only = only
        self._node = node
        self._full = only is not None
        self._shelf = Shelf()
        self._counter = Counter(node)
        self._fold = self._new(1)
        self._head: Head | None = Head(run)
        self._done: deque[Head | Section | _Fold] = deque()
        self._answer: Answer | None = None
        self._ended: NodeEnded | None = None
        self._model = ""
        self._run_is_over = False

    def _new(self, number: int) -> _Fold:
        return _Fold(number, self._shelf, full=self._full)

    def ready(self) -> Iterator[Head | Section | Turn]:
        """What is complete, and has nothing before it that is not."""
        while self._done and not (isinstance(self._done[0], _Fold) and self._done[0].has_jobs):
            part = self._done.popleft()
            yield part.turn if isinstance(part, _Fold) else part

    def take(self, record: Record) -> None:
        """Take the next record."""
        event = record.event
        self._shelf.take(event)
        number = self._counter.turn_of(event)
        if number == 0:
            self._of_the_run(record)
            return
        current = self._fold.turn.number
        if number > current:
            self._head_is_over()
            self._fold_is_over()
            self._fold = self._new(number)
        if self._only in (None, number):
            self._fold_of(number).take(event, record.at)

    def end(self, at: float, going: bool) -> Iterator[Head | Turn | Section | End]:
        """What is left when the journal is over."""
        self._head_is_over()
        last = self._fold.turn
        notes = last.before if last.empty else []
        going = going and self._answer is None and self._ended is None
        if not last.empty:
            self._fold_is_over()
        for part in self._done:
            if going and isinstance(part, _Fold):
                _set_in_flight(part.turn)
            yield part.turn if isinstance(part, _Fold) else part
        left = self._node != ROOT and self._run_is_over and self._ended is None
        yield End(at, self._counter.asked, notes, self._answer, going, self._ended, left)

    def _fold_of(self, number: int) -> _Fold:
        """A job's calls end in turns that follow; those of a thread are told where they end."""
        waiting = (part for part in self._done if isinstance(part, _Fold))
        earlier = (fold for fold in waiting if fold.turn.number == number)
        return self._fold if number == self._fold.turn.number else next(earlier, self._fold)

    def _head_is_over(self) -> None:
        if self._head is not None:
            self._done.append(self._head)
            self._head = None

    def _fold_is_over(self) -> None:
        if self._only in (None, self._fold.turn.number):
            self._done.append(self._fold)

    def _of_the_run(self, record: Record) -> None:
        event = record.event
        if isinstance(event, RunEnded | RunResumed | QuestionAsked):
            self._run_is_over = isinstance(event, RunEnded)
        if self._head is not None:
            _to_head(self._head, record, self._node, self._shelf)
        match event:
            case RunStarted():
                self._model = event.model
            case RunEnded() if self._node == ROOT:
                self._answer = event.answer
            case NodeEnded() if event.node == self._node:
                self._ended = event
            case RunResumed() if self._node != ROOT:
                if self._head is None or self._head.node is not None:
                    self._goes_on(event)
            case RunResumed() | RunForked() | QuestionAsked() if self._node == ROOT:
                self._goes_on(event)
            case _:
                pass

    def _goes_on(self, event: RunResumed | RunForked | QuestionAsked) -> None:
        if self._ended is not None and self._ended.status == "complete":
            return
        self._head_is_over()
        further = isinstance(event, QuestionAsked)
        if (self._fold.turn.over or further) and not self._fold.turn.empty:
            self._fold_is_over()
            self._fold = self._new(self._counter.turn)
        is_same = self._node != ROOT or event.terms.model == self._model
        now = "" if is_same else f"from here on it asks {event.terms.model}"
        self._model = event.terms.model
        if isinstance(event, RunResumed):
            self._fold.resumed(event, self._answer, now)
        else:
            self._done.append(_section(event, self._answer, now))
        self._answer = self._ended = None


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


def _to_head(head: Head, record: Record, node: str, shelf: Shelf) -> None:
    match record.event:
        case RunStarted():
            head.at, head.started = record.at, record.event
            head.run = head.run or record.event.run
        case DataLoaded():
            head.data = record.event
        case NodeStarted() if record.event.node == node:
            head.node, head.given = record.event, shelf.text(record.event.given)
            head.at = record.at if node != ROOT else head.at
        case WorkerStarted() if head.worker is None and record.event.node == node:
            head.worker = record.event
        case _:
            pass


class _Fold:
    """One turn under construction."""

    def __init__(self, number: int, shelf: Shelf, *, full: bool) -> None:
        self.turn = Turn(number)
        self.has_jobs = False
        """Whether a cell of it began a job, whose calls may go on in later turns."""
        self._shelf = shelf
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
            case CallEnded() if not cell_of(event.key):
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
                self.has_jobs = self.has_jobs or event.name in JOB_BEGINS
                self._add(event.key, event.cell, event.name, "", _arguments(event), at)
            case HostAnswered():
                if call := self._calls.get(event.key):
                    said = "" if event.error else _value(call.name, event.value)
                    self._end(call, said, event.error, event.seconds)
            case NodeStarted():
                cell = cell_of(event.key)
                call = self._add(event.key, cell, "rlm_query", event.model, event.question, at)
                call.child, call.given = event.node, self._shelf.text(event.given)
            case NodeEnded():
                if call := self._calls.get(event.key):
                    said = event.text if event.value is None else _said(event.value)
                    self._end(call, said, event.error, event.seconds)
                    call.usage, call.cost, call.turns = event.usage, event.cost, event.turns
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


def _arguments(event: HostCalled) -> str:
    """Those of a call of the host; of jobs in words."""
    given = dict(event.arguments)
    if event.name in JOB_BEGINS:
        what = next((name for name in ("prompts", "children") if name in given), "")
        given.pop(what, None)
        size = job_size(event)
        words = children_text(size) if what == "children" else plural(size, "prompt")
        first = [words] if what else []
        given = {name: value for name, value in given.items() if value is not None}
    elif event.name in JOB_LOOKS:
        first = [f"job {given.pop('job', '?')}"]
        given.pop("after", None)
        first += [str(given.pop("wait"))] if given.get("wait") in ("any", "all") else []
        given = {name: value for name, value in given.items() if value not in (None, "no")}
    else:
        first = []
    return ", ".join([*first, *(f"{name}={_json(item)}" for name, item in given.items())])


def _value(name: str, value: Any) -> str:
    """What a call of the host gave; of jobs in words."""
    if name in JOB_BEGINS:
        return f"job {value}"
    if name in JOB_LOOKS and isinstance(value, dict):
        over = value.get("over") or "nothing new"
        return f"over: {over}" + (f"; {value['ended']}" if value.get("ended") else "")
    return _json(value)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
