"""The nodes of a run as a tree: every child under the cell of its parent that asked for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from abyme.cli.show.given import Shelf
from abyme.cli.show.page import Line, Piece, Rule, Span, Style, line
from abyme.cli.text import children_text, columns, cost_text, fitting, plural, printable
from abyme.config import MOST_DEPTH
from abyme.events import (
    ROOT,
    CallEnded,
    CellStarted,
    NodeEnded,
    NodeStarted,
    QuestionAsked,
    RunEnded,
    RunResumed,
    TurnEnded,
    cell_of,
    node_of,
    parent_of,
)
from abyme.journal.files import open_regular
from abyme.journal.format import JOURNAL
from abyme.journal.reader import Record
from abyme.types import Answer, Usage

_ALL = 12
"""Children of a cell that are all shown; of more, these many of both ends and what failed."""
_FIRST, _LAST, _FAILED = 5, 3, 10
_LARGE = 60
"""Nodes from which on children of children are counted, not shown."""
_QUESTION = 300
_LEAST = 24
"""Columns that a question has beside what a child was given."""
_STYLES: dict[str, Style] = {
    "complete": "good",
    "partial": "title",
    "failed": "bad",
    "cancelled": "dim",
    "at work": "call",
    "never ended": "bad",
    "left": "dim",
}


class Member(msgspec.Struct):
    """A node with what it and all below it took."""

    node: str
    question: str = ""
    model: str = ""
    given: str = ""
    cell: int = 0
    """The cell of its parent that asked for it."""
    status: str = ""
    """As its end says; "" as long as there is none."""
    left: bool = False
    """Its run ended without it."""
    turns: int = 0
    usage: Usage = Usage()
    cost: float | None = 0.0
    seconds: float = 0.0
    children: list[Member] = []
    cells: dict[int, int] = {}
    """The turn of each cell."""

    @property
    def failed(self) -> bool:
        """Whether it is over without a whole answer."""
        return self.status not in ("", "complete")

    def below(self) -> Iterator[Member]:
        """All that are below it, whoever's children they are."""
        for child in self.children:
            yield child
            yield from child.below()


def has_children(folder: Path) -> bool:
    """Whether the run in ``folder`` has any: quick, since most have none.

    Raises :class:`OSError` where its journal cannot be read.
    """
    with open_regular(folder / JOURNAL) as file:
        begun = (line for line in file if b'"event":"NodeStarted"' in line)
        return sum(1 for _ in itertools.islice(begun, 2)) == 2


def family(records: Iterable[Record], node: str = ROOT) -> Member:
    """``node`` with all below it; without children where there are none, or there is no such."""
    shelf, members = Shelf(), {ROOT: Member(ROOT)}
    began: dict[str, float] = {}
    for record in records:
        event, name = record.event, node_of(record.event)
        shelf.take(event)
        began.setdefault(ROOT, record.at)
        match event:
            case NodeStarted() if name == ROOT:
                members[ROOT].question, members[ROOT].model = event.question, event.model
            case NodeStarted() if name not in members and name.count(".") <= MOST_DEPTH:
                member = Member(name, event.question, event.model)
                member.given, member.cell = shelf.text(event.given), cell_of(event.key)
                if (above := members.get(parent_of(name))) is not None:
                    above.children.append(member)
                    members[name], began[name] = member, record.at
            case NodeEnded() if name in members:
                _over(members[name], event.status, event)
            case RunEnded():
                _over(members[ROOT], event.answer.status, event.answer)
                for member in members.values():
                    member.left = not member.status
            case RunResumed() | QuestionAsked():
                for member in members.values():
                    member.left = False
            case CallEnded():
                while name in members:
                    _spent(members[name], event)
                    name = parent_of(name)
            case TurnEnded() if name in members:
                members[name].turns += 1
            case CellStarted() if name in members:
                members[name].cells[event.cell] = event.turn
            case _:
                pass
        for each in (name, ROOT):
            if each in members and not members[each].status:
                members[each].seconds = record.at - began[each]
    return members.get(node, Member(node))


def _over(member: Member, status: str, end: NodeEnded | Answer) -> None:
    member.status, member.turns, member.usage = status, end.turns, end.usage
    member.cost, member.seconds = end.cost, end.seconds


def _spent(member: Member, event: CallEnded) -> None:
    member.usage += event.usage
    if member.cost is not None:
        member.cost = None if event.cost is None else member.cost + event.cost


def overview(member: Member, width: int, *, going: bool) -> Iterator[Piece]:
    """The tree below ``member``, two lines a child; nothing where it has none."""
    everybody = list(member.below())
    if not everybody:
        return
    deep = max(each.node.count(".") for each in everybody) - member.node.count(".")
    levels = f", {deep} levels deep" if deep > 1 else ""
    failed = sum(each.failed for each in everybody)
    said = f"{children_text(len(everybody))}{levels}" + (f", {failed:,} failed" if failed else "")
    yield Rule("tree", said)
    yield line((member.node, "bold"), (f" · {_figures(member)}", "dim"), rest="  ")
    drawing = _Drawing(width, going=going, whole=len(everybody) < _LARGE)
    yield from drawing.below(member, "")


class _Drawing:
    """``whole``: children of children are shown too."""

    def __init__(self, width: int, *, going: bool, whole: bool) -> None:
        self._width = width
        self._going = going
        self._whole = whole

    def below(self, member: Member, margin: str) -> Iterator[Line]:
        """The children of ``member``, cell by cell."""
        cells: dict[int, list[Member]] = {}
        for child in member.children:
            cells.setdefault(child.cell, []).append(child)
        for cell, children in cells.items():
            branch, rest = _branch(margin, is_last=children is [*cells.values()][-1])
            turn = f", turn {member.cells[cell]}" if cell in member.cells else ""
            spans: list[Span] = [(f"cell {cell}{turn}", "bold")]
            if len(children) > 1:
                spans.append((f" · {children_text(len(children))}{_sum(children)}", "dim"))
            yield line(*spans, margin=branch, rest=rest)
            rows = [*children] if len(children) <= _ALL else list(_some(children))
            for row in rows:
                branch, under = _branch(rest, is_last=row is rows[-1])
                if isinstance(row, str):
                    yield line((row, "dim"), margin=branch, rest=under)
                else:
                    yield from self._child(row, member.model, branch, under)

    def _child(self, child: Member, model: str, branch: str, under: str) -> Iterator[Line]:
        left = "left" if child.left else "never ended"
        status = child.status or ("at work" if self._going and not child.left else left)
        facts = [_figures(child)]
        if child.model != model:
            facts.append(child.model)
        if child.children and not self._whole:
            facts.append(f"{children_text(sum(1 for _ in child.below()))} below")
        yield line(
            (child.node, "bold"),
            (f" {status}", _STYLES.get(status, "")),
            (f" · {' · '.join(facts)}", "dim"),
            margin=branch,
            rest=under + ("│ " if child.children and self._whole else "  "),
        )
        margin = under + ("│ " if child.children and self._whole else "  ")
        room = self._width - len(margin)
        given = f" · {printable(child.given)}" if child.given else ""
        given = fitting(given, max(_LEAST, room - _LEAST))
        question = fitting(_quoted(child.question), room - columns(given))
        yield line((question, ""), (given, "dim"), margin=margin)
        if self._whole:
            yield from self.below(child, under)


def _branch(margin: str, *, is_last: bool) -> tuple[str, str]:
    return (f"{margin}└─ ", f"{margin}   ") if is_last else (f"{margin}├─ ", f"{margin}│  ")


def _some(children: Sequence[Member]) -> Iterator[Member | str]:
    """The first and last few of many, what failed between them, and the rest as a count."""
    middle = children[_FIRST:-_LAST]
    failed = [child for child in middle if child.failed]
    rest = [child for child in middle if not child.failed]
    yield from children[:_FIRST]
    yield from failed[:_FAILED]
    if rest:
        yield f"… {len(rest):,} more{_sum(rest)}"
    if len(failed) > _FAILED:
        yield f"… {len(failed) - _FAILED:,} more that failed"
    yield from children[-_LAST:]


def _sum(children: Sequence[Member]) -> str:
    """What they took together."""
    failed = sum(child.failed for child in children)
    calls = sum(child.usage.calls for child in children)
    tokens = sum(child.usage.tokens for child in children)
    costs = [child.cost for child in children]
    known = [cost for cost in costs if cost is not None]
    cost = sum(known) if len(known) == len(costs) else None
    facts = [plural(calls, "call"), f"{tokens:,} tokens", cost_text(cost)]
    if failed:
        facts.insert(0, f"{failed:,} failed")
    return "".join(f" · {fact}" for fact in facts)


def _figures(member: Member) -> str:
    facts = [
        plural(member.turns, "turn"),
        plural(member.usage.calls, "call"),
        f"{member.usage.tokens:,} tokens",
        cost_text(member.cost),
        f"{member.seconds:.2f} s",
    ]
    return " · ".join(facts)


def _quoted(text: str) -> str:
    return f"“{printable(' '.join(text[:_QUESTION].split()))}”"
