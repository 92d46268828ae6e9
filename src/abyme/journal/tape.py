"""What a run's journal says has happened, folded into what it takes to go on from there.

A :class:`Tape` is a fold over the records of one journal. A run that is resumed, forked or asked
on runs its loop again from the start of the conversation; as long as its :class:`Conversation` has
what the loop asks for, that is taken from there, and nothing is asked, run or written a second
time. Where the tape ends the run goes on by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from abyme.errors import JournalError
from abyme.events import (
    CallEnded,
    CallStarted,
    CellEnded,
    CellStarted,
    Checkpointed,
    DataLoaded,
    DataMeasured,
    DocumentHashed,
    DocumentLoaded,
    Event,
    FinishHeld,
    LimitReached,
    MessageAdded,
    NodeStarted,
    QuestionAsked,
    RunEnded,
    RunForked,
    RunResumed,
    RunStarted,
    Terms,
    TurnEnded,
    WorkerRestored,
    WorkerStarted,
)
from abyme.journal.outcomes import Outcomes
from abyme.journal.reader import Record
from abyme.ledger import Spent
from abyme.types import Answer, CellResult, Message, Reply, Usage

_GONE = CellResult(ended="died")


class Cell(msgspec.Struct, frozen=True):
    """A cell that was started: what it takes to run it again. ``result``: None where it is open.

    ``question``: the number of the question that it was written for.
    """

    cell: int
    turn: int
    code: str
    clock: float
    question: int = 1
    result: CellResult | None = None


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint: what all cells up to ``cell`` made, in the blob ``blob``."""

    cell: int
    blob: str


class Exchange(msgspec.Struct, frozen=True):
    """A question that was dealt with; ``answer`` is None where its run was left without one."""

    question: str
    answer: Answer | None
    messages: tuple[Message, ...]


class Conversation:
    """One question's messages, replies and cells, for a loop that goes through them again.

    With nothing in it, it is that of a new question.
    """

    def __init__(self, question: str, number: int, turns_before: int, cells_before: int) -> None:
        self.question = question
        self.number = number
        self.turns_before = turns_before
        self.cells_before = cells_before
        self.messages: list[Message] = []
        self.replies: dict[str, Reply] = {}
        self.cells: dict[int, Cell] = {}
        self.facts: set[Event] = set()
        self.resumed_at = -1
        """The length of its history when it was resumed although it had come to an end."""
        self.over = False

    def stop(self) -> None:
        """Something new has happened: what else is recorded belongs to a course not taken."""
        self.over = True

    def message(self, index: int, role: str) -> Message | None:
        """The recorded message of that place in the history."""
        if self.over or index >= len(self.messages):
            return None
        if self.messages[index].role != role:
            self.stop()
            return None
        return self.messages[index]

    def has_reply(self, key: str) -> bool:
        """Whether the model's reply to this call is recorded."""
        return not self.over and key in self.replies

    def reply(self, key: str) -> Reply | None:
        """The recorded reply; without one the tape is over, as by :meth:`stop`."""
        if self.has_reply(key):
            return self.replies[key]
        self.stop()
        return None

    def has(self, event: Event) -> bool:
        """Whether this fact of the loop's is recorded."""
        return not self.over and event in self.facts

    def went_on(self, index: int) -> bool:
        """Whether a turn that left a history of ``index`` messages was not the last one."""
        return not self.over and (index < len(self.messages) or index == self.resumed_at)

    def cut_off(self, cell: int) -> Cell | None:
        """The cell that its run was killed in, where it is this one."""
        found = None if self.over else self.cells.get(cell)
        return found if found is not None and found.result is None else None

    def result(self, cell: int, code: str) -> CellResult | None:
        """The recorded result of a cell.

        Raises :class:`JournalError` where another code ran under its number: the replies are
        read otherwise now than they were then.
        """
        found = None if self.over else self.cells.get(cell)
        if found is None:
            return None
        if found.code != code:
            raise JournalError(
                f"this version of abyme finds other code in the reply of turn {found.turn} than "
                "the one that ran it: go on with that version, or fork the run before that turn"
            )
        return found.result


class Tape:
    """The whole of a journal. Its fields are what the last record left."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.run = ""
        self.started: RunStarted | None = None
        self.terms: Terms | None = None
        self.conversation = Conversation("", 1, 0, 0)
        self.earlier: list[Exchange] = []
        self.ended: Answer | None = None
        """The answer of the current question, where there is one."""
        self.seed = 0
        self.node_started = False
        self.data: DataLoaded | None = None
        self.documents: dict[int, DocumentLoaded] = {}
        self.hashes: dict[int, str] = {}
        self.measured: DataMeasured | None = None
        self.cells: dict[int, Cell] = {}
        self.saved: Saved | None = None
        self.outcomes = Outcomes()
        self.in_flight: dict[str, CallStarted] = {}
        self.turns_ended = 0
        self.peak_bytes = 0
        self.cpu_seconds = 0.0
        self.layers: tuple[str, ...] | None = None
        self._usage = Usage()
        self._cost = 0.0
        self._unpriced = 0
        self._seconds = 0.0
        self._since = 0.0
        self._last_at = 0.0
        for record in records:
            self.take(record)

    @property
    def spent(self) -> Spent:
        """All that was spent, with the turns of earlier questions alone.

        What was in flight when the run was left is counted where a ``RunResumed`` counts it.
        """
        seconds = self._seconds
        if self.ended is None:
            seconds += self._last_at - self._since
        turns = self.conversation.turns_before
        return Spent(self._usage, self._cost, self._unpriced, seconds, turns)

    @property
    def turns_begun(self) -> int:
        """Turns of all questions so far; one whose reply never came is begun again."""
        conversation = self.conversation
        replies = [key for key in conversation.replies if "/turn" in key]
        return conversation.turns_before + len(replies)

    @property
    def past(self) -> tuple[Cell, ...]:
        """All cells so far, in order, but for one that is to be run again."""
        last = max(self.conversation.cells, default=0)
        return tuple(
            cell if cell.result is not None else replace(cell, result=_GONE)
            for number, cell in sorted(self.cells.items())
            if cell.result is not None or number != last
        )

    def take(self, record: Record) -> None:
        """Take the next record."""
        event, before = record.event, self._last_at
        self._last_at = record.at
        self.outcomes.take(event)
        match event:
            case RunStarted():
                self.run, self.started, self.terms = event.run, event, event.terms
                self.conversation.question = event.question
                self._since = record.at
            case RunResumed():
                self._leave(before)
                self._resumed(event)
                self._go_on(event.terms, record.at)
            case RunForked():
                self.run = event.run
                self.in_flight.clear()
                self.saved = None  # checkpoints stay with the run that took them
                self._usage, self._cost, self._unpriced, self._seconds = Usage(), 0.0, 0, 0.0
                self._go_on(event.terms, record.at)
            case QuestionAsked():
                self._leave(before)
                self._asked(event)
                self._go_on(event.terms, record.at)
            case RunEnded():
                self.ended, self._seconds = event.answer, event.answer.seconds
            case NodeStarted():
                self.seed, self.node_started = event.seed, True
            case DataLoaded():
                self.data = event
            case DocumentLoaded():
                self.documents[event.index] = event
                self.hashes.pop(event.index, None)
            case DocumentHashed():
                self.hashes[event.index] = event.sha256
            case DataMeasured():
                self.measured = event
            case WorkerStarted():
                held = event.layers if self.layers is None else self.layers
                self.layers = tuple(layer for layer in held if layer in event.layers)
            case Checkpointed():
                self.saved = Saved(event.cell, event.blob)
            case CallStarted():
                self.in_flight[event.key] = event
            case CallEnded():
                self._call_ended(event)
            case MessageAdded():
                del self.conversation.messages[event.index :]
                self.conversation.messages.append(Message(event.role, event.text))
            case CellStarted():
                self._cell_started(event)
            case CellEnded():
                self._cell_ended(event)
            case WorkerRestored():
                self._restored(event)
            case TurnEnded() | FinishHeld() | LimitReached():
                self.conversation.facts.add(event)
                self.turns_ended += isinstance(event, TurnEnded)
            case _:
                pass

    # -- the run is left and goes on -------------------------------------------------------------

    def _leave(self, last_at: float) -> None:
        """It was left without an answer: its time is that of its last event."""
        if self.ended is None:
            self._seconds += max(0.0, last_at - self._since)

    def _go_on(self, terms: Terms, at: float) -> None:
        self.terms, self.ended, self._since = terms, None, at

    def _resumed(self, event: RunResumed) -> None:
        self.in_flight.clear()
        charged = Usage(event.charged_tokens, calls=len(event.in_flight), estimated=True)
        if event.in_flight:
            self._usage += charged
        self._cost += event.charged_cost or 0.0
        self._unpriced += event.charged_cost is None
        conversation = self.conversation
        limited = any(isinstance(fact, LimitReached) for fact in conversation.facts)
        turns = sum(isinstance(fact, TurnEnded) for fact in conversation.facts)
        between = turns == len(conversation.replies)
        if self.ended is not None and between and not limited:
            conversation.resumed_at = len(conversation.messages)

    def _asked(self, event: QuestionAsked) -> None:
        before = self.conversation
        self.earlier.append(Exchange(before.question, self.ended, tuple(before.messages)))
        cells = max(self.cells, default=0)
        self.conversation = Conversation(event.question, event.number, event.turns, cells)

    # -- calls and cells ---------------------------------------------------------------------------

    def _call_ended(self, event: CallEnded) -> None:
        call = self.in_flight.pop(event.key, None)
        self._usage += event.usage
        self._cost += event.cost or 0.0
        self._unpriced += event.cost is None
        if call is not None and call.kind in ("root", "final") and not event.error:
            reply = Reply(event.text, event.usage, event.cut)
            self.conversation.replies[event.key] = reply

    def _cell_started(self, event: CellStarted) -> None:
        before = self.conversation.cells.get(event.cell)  # its run was killed in it
        clock = event.clock if before is None else before.clock
        question = self.conversation.number
        self._put(Cell(event.cell, event.turn, event.code, clock, question))

    def _cell_ended(self, event: CellEnded) -> None:
        result = event.result
        if event.cell not in self.cells:
            raise JournalError(f"the journal has the end of cell {event.cell}, not its beginning")
        self._put(replace(self.cells[event.cell], result=result))
        self.peak_bytes = max(self.peak_bytes, result.peak_bytes)
        self.cpu_seconds += result.cpu_seconds

    def _put(self, cell: Cell) -> None:
        self.cells[cell.cell] = self.conversation.cells[cell.cell] = cell

    def _restored(self, event: WorkerRestored) -> None:
        """What did not come back then will not come back now."""
        kept = {*event.cells, *event.saved}
        for number, cell in self.cells.items():
            if number not in kept and cell.result is not None:
                self.cells[number] = replace(cell, result=_GONE)
