"""What two runs have in common, and the first point where they differ.

Compared is what was asked, what the models replied and what the code did: question, data, replies,
code, what came of cells, calls and their replies, the answer. Times, ids, costs and names of models
make no difference; they stand beside each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path

import msgspec

from abyme.errors import JournalError
from abyme.events import (
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
    QuestionAsked,
    RunEnded,
    RunForked,
    RunResumed,
    RunStarted,
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


class _Call(msgspec.Struct):
    name: str
    asked: str
    reply: str = ""
    error: str = ""


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
            case CellStarted():
                self._now.cells[event.cell] = _Cell(event.turn, event.code)
            case CellEnded() if event.cell in self._now.cells:
                self._now.cells[event.cell].result = event.result
            case CallStarted() if event.kind in ("root", "final"):
                pass
            case CallStarted():
                self._called(event.key, event.cell, event.kind, event.prompt)
            case CallRefused():
                self._called(event.key, event.cell, event.kind, "").error = event.error
            case HostCalled():
                self._called(event.key, event.cell, event.name, _json(event.arguments))
            case HostAnswered():
                self._answered(event.key, _json(event.value), event.error)
            case CallEnded() if event.key.count("/") == 1:
                self._replied(event)
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

    def _called(self, key: str, cell: int, name: str, asked: str) -> _Call:
        call = self._calls[key] = _Call(name, asked)
        if cell in self._now.cells:
            self._now.cells[cell].calls[key] = call
        return call

    def _answered(self, key: str, reply: str, error: str) -> None:
        if key in self._calls:
            self._calls[key].reply, self._calls[key].error = reply, error

    def _replied(self, event: CallEnded) -> None:
        name = event.key.partition("/")[2]
        said = event.text if not event.error else f"failed: {event.error}"
        if name.startswith("final"):
            self._now.final = said
        elif name.removeprefix("turn").isdecimal():
            self._now.replies[int(name.removeprefix("turn"))] = said


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
    if left is not None and right is not None and left.where != right.where:
        return Point(f"what follows: {left.where}, or {right.where}", left.text, right.text)
    where = (left or right or _Step("", "")).where
    return Point(where, None if left is None else left.text, None if right is None else right.text)


def _steps(fold: _Fold, with_hashes: set[int], *, hide: bool) -> Iterator[_Step]:
    """All that is compared, in order. ``hide``: as a journal without texts has it."""

    def step(where: str, text: str, *, ends_turn: bool = False) -> _Step:
        return _Step(where, _hidden(text) if hide else text, ends_turn)

    for number, question in enumerate(fold.questions, 1):
        yield step("the question" if number == 1 else f"question {number}", question.text)
        if number == 1:
            yield _Step("the data", _data(fold, with_hashes, hide=hide))
        for turn, reply in sorted(question.replies.items()):
            yield step(f"the reply of turn {turn}", reply)
            cells = [each for each in sorted(question.cells.items()) if each[1].turn == turn]
            for cell, done in cells:
                where = f"cell {cell} of turn {turn}"
                yield step(f"the code of {where}", done.code)
                for call in sorted(done.calls.items()):
                    yield from _of_call(call[1], where, hide=hide)
                yield from _of_result(done.result, where, hide=hide)
            yield _Step(f"the end of turn {turn}", "", ends_turn=True)
        if question.final is not None:
            yield step("the reply to the last call", question.final)
        if question.answer is not None:
            yield step("the answer", question.answer.text)
            yield _Step("the status", question.answer.status)


def _of_call(call: _Call, where: str, *, hide: bool) -> Iterator[_Step]:
    what = f"a call of {call.name} in {where}"
    asked = [call.asked, call.reply, call.error]
    shown = [_hidden(text) for text in asked] if hide else asked
    for part, text in zip(("the prompt", "the reply", "the failure"), shown, strict=True):
        yield _Step(f"{part} of {what}", text)


def _of_result(result: CellResult | None, where: str, *, hide: bool) -> Iterator[_Step]:
    yield _Step(f"the end of {where}", "it never ended" if result is None else result.ended)
    if result is not None:
        yield _Step(f"the output of {where}", _hidden(result.output) if hide else result.output)
        error = result.error.message if result.error is not None else ""
        yield _Step(f"the error of {where}", _hidden(error) if hide else error)


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
