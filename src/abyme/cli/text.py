"""Numbers, costs and quotes as people read them; shared by everything that is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from abyme.config import Limits
from abyme.display import answer_facts
from abyme.display import answer_run as answer_run
from abyme.display import cost_text as cost_text
from abyme.display import plural as plural
from abyme.display import printable as printable
from abyme.display import seconds_text as seconds_text
from abyme.events import RunResumed, WorkerRestored
from abyme.types import Answer, Quote

_QUOTED_LINES = 8
_NAMED = 8


def closing_line(answer: Answer) -> str:
    """How the run ended and what it cost, in one line."""
    status = answer.status + (f": {answer.reason}" if answer.reason else "")
    return " · ".join([status, *answer_facts(answer)])


def limit_met(reason: str) -> str:
    """The field of ``Limits`` that ended a run, by the reason in its answer; "" if none did."""
    name = reason.partition(": ")[0]
    return name if name in Limits.__struct_fields__ else ""


def raised(name: str, limit: float | None) -> str:
    """The flag that raises the limit ``name`` to twice what it is: ``--max-cost 10``."""
    return f"--{name.replace('_', '-')} {_number(2 * limit) if limit else 'N'}"


def child_flag(name: str) -> str:
    """The flag that sets the limit ``name`` of all children: ``--child-cost``."""
    return f"--child-{name.removeprefix('max_')}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def children_text(count: int) -> str:
    """``1 child``, ``20 children``."""
    return f"{count:,} {'child' if count == 1 else 'children'}"


def models_text(model: str, sub_model: str, children: Sequence[str]) -> str:
    """``openai:a · sub-calls openai:b · children openai:c, then openai:d``."""
    parts = [model]
    if sub_model != model:
        parts.append(f"sub-calls {sub_model}")
    if children:
        parts.append(f"children {', then '.join(children)}")
    return " · ".join(parts)


def quote_lines(answer: Answer) -> Iterator[str]:
    """Where each quote stands, and its beginning where the answer does not hold it."""
    for quote in answer.quotes:
        yield f"  {'✓' if quote.verified else '✗ not verified:'} {quote_place(quote)}"
        yield from (f"    {line}" for line in quote_rows(quote, answer))


def quote_place(quote: Quote) -> str:
    """``notes.txt:12``."""
    return quote.document if quote.line is None else f"{quote.document}:{quote.line}"


def quote_rows(quote: Quote, answer: Answer) -> Iterator[str]:
    """The beginning of a quote; nothing where the answer holds it and it is read there."""
    if quote.text.strip() in answer.text:
        return
    lines = quote.text.strip("\n").split("\n")
    yield from lines[:_QUOTED_LINES]
    if len(lines) > _QUOTED_LINES:
        yield f"… {len(lines) - _QUOTED_LINES:,} more lines"


def bytes_text(count: int) -> str:
    """``1.5 MB``; decimal units, as disks and sizes of models are counted."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return plural(count, "byte") if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def counts_text(counts: Mapping[str, int]) -> str:
    """``3 binary, 1 empty``."""
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes: letters of some scripts take two, or none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def fitting(text: str, width: int) -> str:
    """``text``, or its beginning and an ellipsis, in at most ``width`` columns."""
    if columns(text) <= width:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text[: 2 * width], max(1, width) - 1).rstrip() + "…"


def count_text(count: int) -> str:
    """``950``, ``12 k``, ``9.3 M``: for what is estimated anyway."""
    size, units = float(count), ["", " k", " M", " G", " T"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    digits = 1 if units[0] and size < 9.95 else 0
    return f"{size:,.{digits}f}{units[0]}"


def limit_text(seconds: float) -> str:
    """A limit of time as it was probably thought of: ``30 min``, ``90 s``."""
    return f"{seconds / 60:g} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g} s"


def restored_text(event: WorkerRestored) -> str:
    """What a fresh worker was made of, and what did not come back."""
    text = f"a fresh worker re-ran {plural(len(event.cells), 'earlier cell')}"
    if event.saved:
        text += f"; {plural(len(event.saved), 'cell')} came from a checkpoint"
    if event.lost:
        text += f"; lost: {', '.join(event.lost[:_NAMED])}{_more(event.lost)}"
    if event.differing:
        numbers = tuple(map(str, event.differing))
        what = "cell" if len(numbers) == 1 else "cells"
        text += f"; not the same this time: {what} {', '.join(numbers[:_NAMED])}{_more(numbers)}"
    return text


def resumed_text(event: RunResumed) -> str:
    """What was in flight when a run was left, and is asked again; "" if nothing was."""
    if not event.in_flight:
        return ""
    calls, cost = plural(len(event.in_flight), "call"), event.charged_cost
    price = "their price is not known" if cost is None else f"{cost_text(cost)} at most"
    return f"asked again, perhaps billed twice: {calls} ({price})"


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
