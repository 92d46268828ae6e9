"""``abyme runs``: what was asked before, newest first; and run ids for the shell to complete."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from abyme.cli.show.page import Line, Page, PlainPage, Span, Style, TerminalPage, Write, line
from abyme.cli.text import columns, cost_text, fitting, plural, printable
from abyme.config import runs_folder
from abyme.errors import AbymeError
from abyme.journal.summary import RunSummary, list_runs, run_folders
from abyme.settings import configured_runs

_COMPLETED = 50
_WIDE = 110
"""Columns from which on the question stands on its run's line."""
_MODEL = 24
_PLAIN_QUESTION = 100
_STYLES: dict[str, Style] = {
    "complete": "good",
    "partial": "title",
    "going": "call",
    "failed": "bad",
    "unfinished": "bad",
    "unreadable": "bad",
}


def show_runs(
    runs: Path, write: Write, say: Write, *, limit: int = 20, width: int | None = None
) -> None:
    """List the newest ``limit`` runs in ``runs`` by ``write``, one call a line.

    ``width``: the columns of the terminal; None where plain text is wanted. ``say`` gets what is
    said beside the list: that there are more, or none.
    """
    shown = list(itertools.islice(list_runs(runs), limit))
    if not shown:
        say(f"no runs in {runs} yet: `abyme ask QUESTION PATH --model MODEL` makes one")
        return
    page: Page = PlainPage(write) if width is None else TerminalPage(write, width)
    for row in _table(shown, page.width, plain=width is None):
        page.put(row)
    more = len(run_folders(runs)) - len(shown)
    if more:
        say(f"{plural(more, 'older run')}: --limit {len(shown) + more} lists all")


def show_runs_json(runs: Path, write: Write, *, limit: int | None = None) -> None:
    """Write each run as one line of JSON, newest first."""
    for summary in itertools.islice(list_runs(runs), limit):
        write(json.dumps(msgspec.to_builtins(summary), ensure_ascii=False))


def complete_run(incomplete: str) -> list[str]:
    """Ids of the newest runs that begin with ``incomplete``, for a shell. Never raises."""
    try:
        where = runs_folder(configured_runs(os.environ) or None)
        names = (folder.name for folder in run_folders(where))
        return list(itertools.islice((n for n in names if n.startswith(incomplete)), _COMPLETED))
    except (AbymeError, OSError):
        return []


def age_text(seconds: float) -> str:
    """How long ago: ``5 s ago``, ``2 h ago``, ``3 d ago``."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size):,} {unit} ago"
    return f"{max(0, int(seconds))} s ago"


def _table(shown: Sequence[RunSummary], width: int, *, plain: bool) -> Iterator[Line]:
    """The rows, as wide as what is in them; the question on a line of its own where room is
    scarce."""
    now = time.time()
    rows = [_cells(summary, now) for summary in shown]
    widths = [max(columns(row[column][0]) for row in rows) for column in range(len(rows[0]))]
    below = not plain and width < _WIDE
    for summary, row in zip(shown, rows, strict=True):
        spans: list[Span] = []
        for number, ((text, style), wide) in enumerate(zip(row, widths, strict=True)):
            padding = " " * (wide - columns(text))
            spans.append((padding + text if number in _RIGHT else text + padding, style))
            spans.append(("  ", ""))
        about = " ".join((summary.problem or summary.question).split())
        colour: Style = "bad" if summary.problem else ""
        if below:
            yield line(*spans[:-1])
            yield line((fitting(printable(about), width - 4), colour), margin="    ")
        else:
            room = _PLAIN_QUESTION if plain else max(20, width - sum(widths) - 2 * len(widths))
            yield line(*spans, (fitting(printable(about), room), colour))


_RIGHT = (1, 4, 5)


def _cells(summary: RunSummary, now: float) -> list[Span]:
    return [
        (fitting(printable(summary.run), 40), "bold"),
        (age_text(now - summary.started) if summary.started else "", ""),
        (summary.status, _STYLES[summary.status]),
        (fitting(printable(summary.model), _MODEL), ""),
        (_cost(summary), ""),
        ("" if summary.seconds is None else _seconds(summary.seconds), "dim"),
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:,.0f} s"


def _cost(summary: RunSummary) -> str:
    """Nothing where the run has no end to tell; ``$?`` where a price is not known."""
    if summary.usage is None:
        return ""
    return "$?" if summary.cost is None else cost_text(summary.cost)
