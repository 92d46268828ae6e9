"""What a journal says of one node of the recursion, folded into what it takes to go on with it."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from abyme.errors import JournalError
from abyme.events import (
    CallEnded,
    CallStarted,
    CellEnded,
    CellStarted,
    Checkpointed,
    Event,
    FinishHeld,
    LimitReached,
    MessageAdded,
    NodeEnded,
    NodeStarted,
    QuestionAsked,
    RunForked,
    RunResumed,
    TurnEnded,
    WorkerRestored,
)
from abyme.journal.conversation import Cell, Conversation, Exchange
from abyme.ledger import Spent
from abyme.types import Answer, CellResult, Message, Reply, Usage

_GONE = CellResult(ended="died")


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint: what all cells up to ``cell`` made, in the blob ``blob``."""

    cell: int
    blob: str


class NodeTape:
    """Of node ``node``: a fold over its events."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.started: NodeStarted | None = None
        self.ended: NodeEnded | None = None
        """How it ended the last time, where it is a child."""
        self.conversation = Conversation("", 1, 0, 0)
        self.earlier: list[Exchange] = []
        self.cells: dict[int, Cell] = {}
        self.saved: Saved | None = None
        self.usage = Usage()
        self.cost = 0.0
        self.unpriced = 0
        self.began = 0.0
        """Seconds that the run had lasted when it was started."""

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

    def spent(self, seconds: float) -> Spent:
        """What it spent itself, when the run has lasted ``seconds``; turns of earlier questions."""
        lasted = max(0.0, seconds - self.began)
        turns = self.conversation.turns_before
        return Spent(self.usage, self.cost, self.unpriced, lasted, turns)

    def take(self, event: Event) -> None:
        """Take the next event of this node."""
        match event:
            case NodeStarted():
                self.started = event
                self.conversation.question = event.question
            case NodeEnded():
                self.ended = event
            case Checkpointed():
                self.saved = Saved(event.cell, event.blob)
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
            case _:
                pass

    def call_ended(self, call: CallStarted | None, event: CallEnded) -> None:
        """A model call of it, or of its code, is over."""
        self.usage += event.usage
        self.cost += event.cost or 0.0
        self.unpriced += event.cost is None
        if call is not None and call.kind in ("root", "final") and not event.error:
            reply = Reply(event.text, event.usage, event.cut)
            self.conversation.replies[event.key] = reply

    def charged(self, call: CallStarted) -> None:
        """A call of it was in flight when its run was killed: its reservation counts as spent."""
        self.usage += Usage(call.reserved_tokens, calls=1, estimated=True)
        self.cost += call.reserved_cost or 0.0
        self.unpriced += call.reserved_cost is None

    def resumed(self, event: RunResumed, ended: Answer | None) -> None:
        """Its run goes on, which had ``ended`` so or been killed."""
        conversation = self.conversation
        limited = any(isinstance(fact, LimitReached) for fact in conversation.facts)
        turns = sum(isinstance(fact, TurnEnded) for fact in conversation.facts)
        between = turns == len(conversation.replies)
        if ended is not None and between and not limited:
            conversation.resumed_at = len(conversation.messages)

    def forked(self, event: RunForked) -> None:
        """Its run goes another way from here: what it spent, and its checkpoints, are left."""
        self.saved = None
        self.usage, self.cost, self.unpriced, self.began = Usage(), 0.0, 0, 0.0

    def asked(self, event: QuestionAsked, answer: Answer | None) -> None:
        """A further question; the one before had this ``answer``."""
        before = self.conversation
        self.earlier.append(Exchange(before.question, answer, tuple(before.messages)))
        cells = max(self.cells, default=0)
        self.conversation = Conversation(event.question, event.number, event.turns, cells)

    def _cell_started(self, event: CellStarted) -> None:
        before = self.conversation.cells.get(event.cell)  # its run was killed in it
        clock = event.clock if before is None else before.clock
        question = self.conversation.number
        self._put(Cell(event.cell, event.turn, event.code, clock, question))

    def _cell_ended(self, event: CellEnded) -> None:
        if event.cell not in self.cells:
            raise JournalError(f"the journal has the end of cell {event.cell}, not its beginning")
        self._put(replace(self.cells[event.cell], result=event.result))

    def _put(self, cell: Cell) -> None:
        self.cells[cell.cell] = self.conversation.cells[cell.cell] = cell

    def _restored(self, event: WorkerRestored) -> None:
        """What did not come back then will not come back now."""
        kept = {*event.cells, *event.saved}
        for number, cell in self.cells.items():
            if number not in kept and cell.result is not None:
                self.cells[number] = replace(cell, result=_GONE)
