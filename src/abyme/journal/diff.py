"""What two runs have in common, and the first point where they differ.

Compared is what was asked, what the models replied and what the code did: question, data, replies,
code, what came of cells, calls and their replies, the answer; of children the same, beside the call
that asked for each. Times, ids, costs and names of models make no difference; they stand beside
each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import msgspec

from abyme.config import MOST_DEPTH
from abyme.errors import JournalError
from abyme.events import (
    ROOT,
    CallEnded,
    CallRefused,
    CallStarted,
    CellEnded,
    CellStarted,
    DocumentHashed,
    DocumentLoaded,
    Event,
    HostAnswered,
    HostCalled,
    NodeEnded,
    NodeStarted,
    QuestionAsked,
    RunEnded,
    RunForked,
    RunResumed,
    RunStarted,
    cell_of,
    node_of,
    parent_of,
)
from abyme.journal.files import open_regular
from abyme.journal.format import HASHED, JOURNAL
from abyme.journal.reader import Record, read
from abyme.journal.redaction import placeholder
from abyme.progress import Tally
from abyme.types import Answer, CellResult, Usage


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs. ``status`` is that of its last answer; ``unfinished`` without one."""

    run: str
    model: str = ""
    sub_model: str = ""
    status: str = "unfinished"
    reason: str = ""
    turns: int = 0
    usage: Usage = Usage()
    cost: float | None = None
    seconds: float = 0.0
    answer: str = ""


class Point(msgspec.Struct, frozen=True):
    """Where they differ: in words, and what each has there; None where it has nothing."""

    where: str
    a: str | None
    b: str | None


class Difference(msgspec.Struct, frozen=True):
    """What came of comparing two runs. ``first`` is None where they are the same.

    ``lines``: those at the beginning of both journals that are the same byte for byte. ``turns``:
    those that are the same in both before the first difference.
    """

    a: Side
    b: Side
    lines: int
    turns: int
    first: Point | None = None

    @property
    def same(self) -> bool:
        """Whether nothing that counts is different."""
        return self.first is None


class _Step(msgspec.Struct, frozen=True):
    """One thing that is compared; ``ends_turn``: all of a turn has been."""

    where: str
    text: str
    ends_turn: bool = False
    node: str = ""
    """The child that did it, as its run calls it."""


class _Call(msgspec.Struct):
    name: str
    asked: str
    reply: str = ""
    error: str = ""
    child: str = ""
    """The node that answered it, where one did."""


class _Cell(msgspec.Struct):
    turn: int
    code: str
    result: CellResult | None = None
    calls: dict[str, _Call] = {}


class _Question(msgspec.Struct):
    text: str
    replies: dict[int, str] = {}
    cells: dict[int, _Cell] = {}
    final: str | None = None
    answer: Answer | None = None


class _Fold:
    """A journal, folded into what is compared of it. What was done again counts once, as it was
    done last."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.run = self.model = self.sub_model = ""
        self.redacted = False
        self.questions: list[_Question] = []
        self.documents: dict[int, tuple[str, int]] = {}
        self.hashes: dict[int, str] = {}
        self.children: dict[str, _Question] = {}
        """What each child did, by its id."""
        self._calls: dict[str, _Call] = {}
        self._tally = Tally()
        self._began = self._at = 0.0
        for record in records:
            self._began = self._began or record.at
            self._at = record.at
            self._tally.take(record.event)
            self._take(record.event)

    @property
    def side(self) -> Side:
        """The figures of the run."""
        answer = self.questions[-1].answer if self.questions else None
        progress = self._tally.progress
        side = Side(
            run=self.run,
            model=self.model,
            sub_model=self.sub_model,
            turns=sum(len(question.replies) for question in self.questions),
            usage=progress.usage,
            cost=progress.cost,
            seconds=max(0.0, self._at - self._began),
        )
        if answer is None:
            return side
        return msgspec.structs.replace(
            side,
            status=answer.status,
            reason=answer.reason,
            seconds=answer.seconds,
            answer=answer.text,
        )

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.run, self.redacted = event.run, event.redacted
                self.model, self.sub_model = event.model, event.sub_model
                self.questions.append(_Question(event.question))
            case RunForked() | RunResumed() | QuestionAsked():
                self.model, self.sub_model = event.terms.model, event.terms.sub_model
                self._go_on(event)
            case DocumentLoaded():
                self.documents[event.index] = (event.name, event.bytes)
                self.hashes.pop(event.index, None)
            case DocumentHashed():
                self.hashes[event.index] = event.sha256
            case RunEnded():
                self._now.answer = event.answer
            case NodeStarted() if _is_child(event):
                self.children[event.node] = _Question(event.question)
                self._called(event.key, "rlm_query", _asked_of(event)).child = event.node
            case NodeEnded():
                said = event.text if event.value is None else _json(event.value)
                self._answered(event.key, said, event.status if event.error else "")
            case _ if node_of(event):
                self._of_node(event, self._question_of(node_of(event)))
            case _:
                pass

    def _question_of(self, node: str) -> _Question:
        return self._now if node == ROOT else self.children.setdefault(node, _Question(""))

    def _of_node(self, event: Event, question: _Question) -> None:
        match event:
            case CellStarted():
                question.cells[event.cell] = _Cell(event.turn, event.code)
            case CellEnded() if event.cell in question.cells:
                question.cells[event.cell].result = event.result
            case CallStarted() if event.kind in ("root", "final"):
                pass
            case CallStarted():
                self._called(event.key, event.kind, event.prompt)
            case CallRefused():
                self._called(event.key, event.kind, "").error = event.error
            case HostCalled():
                self._called(event.key, event.name, _json(event.arguments))
            case HostAnswered():
                self._answered(event.key, _json(event.value), event.error)
            case CallEnded() if event.key.count("/") == 1:
                _replied(event, question)
            case CallEnded():
                self._answered(event.key, event.text, event.error)
            case _:
                pass

    @property
    def _now(self) -> _Question:
        if not self.questions:
            raise JournalError("a journal that does not begin with its question")
        return self.questions[-1]

    def _go_on(self, event: RunForked | RunResumed | QuestionAsked) -> None:
        if isinstance(event, QuestionAsked):
            self.questions.append(_Question(event.question))
            return
        if isinstance(event, RunForked):
            self.run = event.run
        self._now.final = self._now.answer = None

    def _called(self, key: str, name: str, asked: str) -> _Call:
        call = self._calls[key] = _Call(name, asked)
        cells = self._question_of(key.partition("/")[0]).cells
        if (cell := cell_of(key)) in cells:
            cells[cell].calls[key] = call
        return call

    def _answered(self, key: str, reply: str, error: str) -> None:
        if key in self._calls:
            self._calls[key].reply, self._calls[key].error = reply, error


def _replied(event: CallEnded, question: _Question) -> None:
    name = event.key.partition("/")[2]
    said = event.text if not event.error else f"failed: {event.error}"
    if name.startswith("final"):
        question.final = said
    elif name.removeprefix("turn").isdecimal():
        question.replies[int(name.removeprefix("turn"))] = said


def _is_child(event: NodeStarted) -> bool:
    """Whether it is one of its parent's, as every run names them: then no node is below itself."""
    above = event.key.partition("/")[0]
    return bool(above) and above == parent_of(event.node) and event.node.count(".") <= MOST_DEPTH


def _asked_of(child: NodeStarted) -> str:
    """Its question, and the data that it was given."""
    given = "" if child.given is None else _json(msgspec.to_builtins(child.given))
    return "\n".join(filter(None, (child.question, given)))


def diff(a: Path, b: Path) -> Difference:
    """Compare the runs in the folders ``a`` and ``b``.

    A run that was kept without its texts is compared by their hashes. Raises :class:`JournalError`.
    """
    one, other = _Fold(read(a)), _Fold(read(b))
    with_hashes = _hashed_in_both(one, other)
    kept = one.redacted or other.redacted
    steps = zip_longest(
        _steps(one, with_hashes, hide=kept and not one.redacted),
        _steps(other, with_hashes, hide=kept and not other.redacted),
    )
    first, turns = None, 0
    for left, right in steps:
        if left is None or right is None or (left.where, left.text) != (right.where, right.text):
            first = _point(left, right)
            break
        turns += left.ends_turn
    return Difference(one.side, other.side, _shared_lines(a, b), turns, first)


def _point(left: _Step | None, right: _Step | None) -> Point:
    a, b = (None if step is None else step.text for step in (left, right))
    if left is not None and right is not None and left.where != right.where:
        return Point(f"what follows: {left.where}, or {right.where}", a, b)
    nodes = dict.fromkeys(step.node for step in (left, right) if step is not None and step.node)
    which = f" ({' and '.join(nodes)})" if nodes else ""
    return Point((left or right or _Step("", "")).where + which, a, b)


def _steps(fold: _Fold, with_hashes: set[int], *, hide: bool) -> Iterator[_Step]:
    """All that is compared, in order. ``hide``: as a journal without texts has it."""
    for number, question in enumerate(fold.questions, 1):
        asked = _hidden(question.text) if hide else question.text
        yield _Step("the question" if number == 1 else f"question {number}", asked)
        if number == 1:
            yield _Step("the data", _data(fold, with_hashes, hide=hide))
        yield from _of_turns(fold, question, "", "", hide=hide)
        if question.answer is not None:
            answer = question.answer.text
            yield _Step("the answer", _hidden(answer) if hide else answer)
            yield _Step("the status", question.answer.status)


def _of_turns(
    fold: _Fold, question: _Question, whose: str, node: str, *, hide: bool
) -> Iterator[_Step]:
    """The turns of the root, or of the child ``node``, ``whose`` says which in words."""

    def step(where: str, text: str) -> _Step:
        return _Step(where + whose, _hidden(text) if hide else text, node=node)

    for turn, reply in sorted(question.replies.items()):
        yield step(f"the reply of turn {turn}", reply)
        cells = [each for each in sorted(question.cells.items()) if each[1].turn == turn]
        for cell, done in cells:
            where = f"cell {cell} of turn {turn}"
            yield step(f"the code of {where}", done.code)
            for _, call in sorted(done.calls.items()):
                for asked in _of_call(fold, call, where + whose, hide=hide):
                    yield asked if asked.node else msgspec.structs.replace(asked, node=node)
            yield _Step(f"the end of {where}{whose}", _ended(done.result), node=node)
            for part, text in _of_result(done.result):
                yield step(f"the {part} of {where}", text)
        yield _Step(f"the end of turn {turn}{whose}", "", ends_turn=not node)
    if question.final is not None:
        yield step("the reply to the last call", question.final)


def _of_call(fold: _Fold, call: _Call, where: str, *, hide: bool) -> Iterator[_Step]:
    what = f"a call of {call.name} in {where}"

    def step(part: str, text: str) -> _Step:
        return _Step(f"{part} of {what}", _hidden(text) if hide else text, node=call.child)

    yield step("the prompt", call.asked)
    if call.child:
        whose = f" of a child asked in {where}"
        yield from _of_turns(fold, fold.children[call.child], whose, call.child, hide=hide)
    yield step("the reply", call.reply)
    yield step("the failure", call.error)


def _of_result(result: CellResult | None) -> Iterator[tuple[str, str]]:
    if result is not None:
        yield "output", result.output
        yield "error", result.error.message if result.error is not None else ""


def _ended(result: CellResult | None) -> str:
    return "it never ended" if result is None else result.ended


def _data(fold: _Fold, with_hashes: set[int], *, hide: bool) -> str:
    lines = []
    for index, (name, size) in sorted(fold.documents.items()):
        shown = _hidden(name) if hide else name
        digest = f" sha256 {fold.hashes[index]}" if index in with_hashes else ""
        lines.append(f"{shown} {size:,} bytes{digest}")
    return "\n".join(lines)


def _hashed_in_both(one: _Fold, other: _Fold) -> set[int]:
    """A run that was killed early may lack hashes: then sizes alone are compared."""
    return one.hashes.keys() & other.hashes.keys()


def _hidden(text: str) -> str:
    """What a reader is given in the place of a text that was kept as a hash."""
    if not text:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return placeholder({HASHED: digest, "chars": len(text)})


def _json(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value, order="sorted").decode("utf-8")


def _shared_lines(a: Path, b: Path) -> int:
    """How many lines the journals begin with that are the same."""
    count = 0
    try:
        with open_regular(a / JOURNAL) as one, open_regular(b / JOURNAL) as other:
            for left, right in zip(one, other, strict=False):
                if left != right:
                    break
                count += 1
    except OSError as error:
        raise JournalError(f"cannot read {a / JOURNAL} or {b / JOURNAL}: {error}") from error
    return count
