"""What a run's journal says has happened, folded into what it takes to go on from there.

A :class:`Tape` is a fold over the records of one journal, with a
:class:`~abyme.journal.node_tape.NodeTape` for each node. A run that is resumed, forked or asked on
runs the loops of its nodes again from the start of their conversations; as long as a
:class:`~abyme.journal.conversation.Conversation` has what the loop asks for, that is taken from
there, and nothing is asked, run or written a second time. Where the tape ends the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterable

from abyme.events import (
    ROOT,
    CallEnded,
    CallStarted,
    DataLoaded,
    DataMeasured,
    DocumentHashed,
    DocumentLoaded,
    NodeStarted,
    QuestionAsked,
    RunEnded,
    RunForked,
    RunResumed,
    RunStarted,
    Terms,
)
from abyme.journal.figures import Figures
from abyme.journal.node_tape import NodeTape
from abyme.journal.outcomes import Outcomes
from abyme.journal.reader import Record
from abyme.ledger import Spent
from abyme.types import Answer, Usage


class Tape:
    """The whole of a journal. Its fields are what the last record left."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.run = ""
        self.started: RunStarted | None = None
        self.terms: Terms | None = None
        self.root = NodeTape(ROOT)
        self.nodes = {ROOT: self.root}
        self.by_key: dict[str, NodeTape] = {}
        """The children, by the keys of the calls that they answer."""
        self.ended: Answer | None = None
        """The last answer, unless something came after it."""
        self.data: DataLoaded | None = None
        self.documents: dict[int, DocumentLoaded] = {}
        self.hashes: dict[int, str] = {}
        self.measured: DataMeasured | None = None
        self.outcomes = Outcomes()
        self.in_flight: dict[str, CallStarted] = {}
        self.figures = Figures()
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
        """All that was spent, with the root's turns of earlier questions alone.

        What was in flight when the run was left is counted where a ``RunResumed`` counts it.
        """
        turns = self.root.conversation.turns_before
        return Spent(self._usage, self._cost, self._unpriced, self.seconds, turns)

    @property
    def seconds(self) -> float:
        """How long it was worked on."""
        return self._seconds if self.ended is not None else self._worked(self._last_at)

    def spent_below(self, node: NodeTape) -> Spent:
        """What a child and all below it spent."""
        spent = node.spent(self.seconds)
        below = [n for n in self.nodes.values() if n.node.startswith(f"{node.node}.")]
        usage, cost, unpriced = spent.usage, spent.cost, spent.unpriced
        for each in below:
            usage, cost, unpriced = usage + each.usage, cost + each.cost, unpriced + each.unpriced
        return Spent(usage, cost, unpriced, spent.seconds, spent.turns)

    def take(self, record: Record) -> None:
        """Take the next record."""
        event, before = record.event, self._last_at
        self._last_at = record.at
        self.outcomes.take(event)
        self.figures.take(event)
        match event:
            case RunStarted():
                self.run, self.started, self.terms = event.run, event, event.terms
                self.root.conversation.question = event.question
                self._since = record.at
            case RunResumed():
                self._leave(before)
                self._resumed(event)
                self._go_on(event.terms, record.at)
            case RunForked():
                self.run = event.run
                self.in_flight.clear()
                for node in self.nodes.values():
                    node.forked(event)
                self._usage, self._cost, self._unpriced, self._seconds = Usage(), 0.0, 0, 0.0
                self._go_on(event.terms, record.at)
            case QuestionAsked():
                self._leave(before)
                self.root.asked(event, self.ended)
                self._go_on(event.terms, record.at)
            case RunEnded():
                self.ended, self._seconds = event.answer, event.answer.seconds
            case DataLoaded():
                self.data = event
            case DocumentLoaded():
                self.documents[event.index] = event
                self.hashes.pop(event.index, None)
            case DocumentHashed():
                self.hashes[event.index] = event.sha256
            case DataMeasured():
                self.measured = event
            case CallStarted():
                self.in_flight[event.key] = event
            case CallEnded():
                self._call_ended(event)
            case _:
                self._of_a_node(record)

    # -- the run is left and goes on -------------------------------------------------------------

    def _worked(self, until: float) -> float:
        return self._seconds + max(0.0, until - self._since)

    def _leave(self, last_at: float) -> None:
        """It was left without an answer: its time is that of its last event."""
        if self.ended is None:
            self._seconds = self._worked(last_at)

    def _go_on(self, terms: Terms, at: float) -> None:
        self.terms, self.ended, self._since = terms, None, at

    def _resumed(self, event: RunResumed) -> None:
        for key in event.in_flight:
            if (call := self.in_flight.get(key)) is not None:
                self._node(call.node).charged(call)
        self.in_flight.clear()
        if event.in_flight:
            calls = len(event.in_flight)
            self._usage += Usage(event.charged_tokens, calls=calls, estimated=True)
        self._cost += event.charged_cost or 0.0
        self._unpriced += event.charged_cost is None
        self.root.resumed(event, self.ended)

    # -- nodes -----------------------------------------------------------------------------------

    def _node(self, node: str) -> NodeTape:
        return self.nodes.setdefault(node, NodeTape(node))

    def _of_a_node(self, record: Record) -> None:
        event = record.event
        name = getattr(event, "node", "")
        if not name:
            return
        node = self._node(name)
        node.take(event)
        if isinstance(event, NodeStarted) and event.key:
            node.began = self._worked(record.at)
            self.by_key[event.key] = node

    def _call_ended(self, event: CallEnded) -> None:
        call = self.in_flight.pop(event.key, None)
        self._usage += event.usage
        self._cost += event.cost or 0.0
        self._unpriced += event.cost is None
        self._node(ROOT if call is None else call.node).call_ended(call, event)
