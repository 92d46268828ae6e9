"""``abyme diff``: two runs beside each other, and where they first differ."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator

import msgspec

from abyme.cli.text import columns, cost_text, fitting, plural, printable
from abyme.journal.diff import Difference, Point, Side

_LABEL = 9
_WIDTH = 80
_HALF = (_WIDTH - _LABEL - 4) // 2
_BEFORE, _AFTER = 3, 9
"""Lines around the first one that differs, of texts that are long."""
_SHOWN = 20
_LEAD = 20
"""Characters that are kept before the first that differs, in lines that are long."""


def diff_json(found: Difference) -> str:
    """The difference's fields under their own names, as one JSON object."""
    return json.dumps(
        {"same": found.same, **msgspec.to_builtins(found)}, ensure_ascii=False, indent=2
    )


def diff_lines(found: Difference) -> Iterator[str]:
    """A table of both runs, and the first difference as lines that differ."""
    for label, a, b in _rows(found.a, found.b):
        left = _cut(a, _HALF)
        padding = " " * (_HALF - columns(left))
        yield f"{label:<{_LABEL}}  {left}{padding}  {_cut(b, _HALF)}".rstrip()
    yield ""
    yield (
        f"in common: {plural(found.turns, 'turn')}; the journals share their first "
        f"{plural(found.lines, 'line')}"
    )
    if found.first is None:
        yield "the same: question, data, replies, code, what came of it, answer"
    else:
        yield from _first(found.first)


def _rows(a: Side, b: Side) -> Iterator[tuple[str, str, str]]:
    yield "run", a.run, b.run
    yield "model", a.model, b.model
    if (a.sub_model, b.sub_model) != (a.model, b.model):
        yield "sub-calls", a.sub_model, b.sub_model
    yield "status", _status(a), _status(b)
    yield "turns", f"{a.turns:,}", f"{b.turns:,}"
    yield "calls", f"{a.usage.calls:,}", f"{b.usage.calls:,}"
    yield "tokens", f"{a.usage.tokens:,}", f"{b.usage.tokens:,}"
    yield "cost", cost_text(a.cost), cost_text(b.cost)
    yield "seconds", f"{a.seconds:,.1f}", f"{b.seconds:,.1f}"
    yield "answer", a.answer, b.answer


def _status(side: Side) -> str:
    return side.status + (f": {side.reason}" if side.reason else "")


def _first(point: Point) -> Iterator[str]:
    yield f"they differ first in {point.where}"
    if point.a is None or point.b is None:
        has, text = ("the first", point.a) if point.b is None else ("the second", point.b)
        yield f"only {has} has it:"
        mark = "-" if point.b is None else "+"
        rows = (text or "").split("\n")
        yield from (_line(mark, row, 0) for row in rows[:_AFTER])
        if len(rows) > _AFTER:
            yield f"… {len(rows) - _AFTER:,} more lines"
        return
    yield from _unified(point.a.split("\n"), point.b.split("\n"))


def _unified(a: list[str], b: list[str]) -> Iterator[str]:
    """The lines around the first that differs. Texts may be huge: only these are compared."""
    pairs = enumerate(zip(a, b, strict=False))
    at = next((n for n, (one, other) in pairs if one != other), min(len(a), len(b)))
    start = max(0, at - _BEFORE)
    here = slice(start, at + _AFTER)
    skip = 0
    if at < min(len(a), len(b)):
        letters = enumerate(zip(a[at], b[at], strict=False))
        differ = next((n for n, (one, other) in letters if one != other), 0)
        skip = max(0, differ - _LEAD) if max(len(a[at]), len(b[at])) > _WIDTH - 2 else 0
    if start:
        yield f"  … {plural(start, 'line')} before are the same"
    rows = list(difflib.unified_diff(a[here], b[here], n=2, lineterm=""))[3:]
    for row in rows[:_SHOWN]:
        yield _line(row[:1], row[1:], skip)
    if len(a) > here.stop or len(b) > here.stop or len(rows) > _SHOWN:
        yield "  …"


def _line(mark: str, row: str, skip: int) -> str:
    lead = "…" if skip else ""
    return _cut(f"{mark} {lead}{row[skip:]}", _WIDTH)


def _cut(text: str, width: int) -> str:
    return fitting(_one_line(text), width)


def _one_line(text: str) -> str:
    return printable(text[:2000]).replace("\n", " ").replace("\t", " ")
