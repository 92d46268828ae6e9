"""Runs as rows of a table: cells below each other, and what was asked behind or under them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from abyme.cli.show.page import Page, PlainPage, Span, Style, TerminalPage, Write, line
from abyme.cli.text import bytes_text, columns, fitting, printable
from abyme.journal.summary import RunStatus, RunSummary

_ABOUT = 200
_STYLES: dict[RunStatus, Style] = {
    "complete": "good",
    "partial": "title",
    "going": "call",
    "failed": "bad",
    "unfinished": "bad",
    "unreadable": "bad",
}

Row = tuple[Sequence[Span], Sequence[Span]]
"""Cells, and what follows them as far as there is room."""


def head_cells(summary: RunSummary, now: float) -> list[Span]:
    """Which run it is, how old, and how it ended."""
    return [
        (fitting(printable(summary.run), 40), "bold"),
        (age_text(now - summary.started) if summary.started else "", ""),
        (summary.status, _STYLES[summary.status]),
    ]


def size_cell(summary: RunSummary) -> Span:
    """What it takes on the disk."""
    return "" if summary.bytes is None else bytes_text(summary.bytes), "dim"


def about(summary: RunSummary) -> Span:
    """The beginning of what was asked, or why that cannot be told; on one line."""
    text = " ".join((summary.problem or summary.question).split())
    return fitting(printable(text), _ABOUT), "bad" if summary.problem else ""


def age_text(seconds: float) -> str:
    """How long ago: ``5 s ago``, ``2 h ago``, ``3 d ago``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size):,} {unit} ago"
    return f"{max(0, int(seconds))} s ago"


def put_table(
    rows: Sequence[Row], write: Write, width: int | None, *, right: Collection[int], below: bool
) -> None:
    """Write the rows, of which there are some, their columns as wide as what is in them.

    ``width``: the columns of the terminal; None where plain text is wanted, of which nothing is cut
    here. ``right``: cells that stand at the right of their column. ``below``: what follows the
    cells has a line of its own.
    """
    page: Page = PlainPage(write) if width is None else TerminalPage(write, width)
    cells = [row[0] for row in rows]
    widths = [max(columns(row[n][0]) for row in cells) for n in range(len(cells[0]))]
    room = max(20, page.width - sum(widths) - 2 * len(widths))
    for row, rest in rows:
        spans: list[Span] = []
        for number, ((text, style), wide) in enumerate(zip(row, widths, strict=True)):
            padding = " " * (wide - columns(text))
            spans.append((padding + text if number in right else text + padding, style))
            spans.append(("  ", ""))
        if below:
            page.put(line(*spans[:-1]))
            page.put(line(*_cut(rest, page.width - 4), margin="    "))
        else:
            page.put(line(*spans, *(rest if width is None else _cut(rest, room))))


def _cut(spans: Sequence[Span], room: int) -> Iterator[Span]:
    """The spans, or their beginning, in at most ``room`` columns."""
    for text, style in spans:
        if room <= 1:
            return
        yield fitting(text, room), style
        room -= columns(text)
