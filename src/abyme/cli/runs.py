"""``abyme runs``: what was asked before, newest first; and run ids for the shell to complete."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from abyme.cli.run_table import Row, about, head_cells, put_table, size_cell
from abyme.cli.show.page import Span, Write
from abyme.cli.text import cost_text, fitting, plural, printable
from abyme.config import runs_folder
from abyme.errors import AbymeError
from abyme.journal.find import find_runs
from abyme.journal.folders import run_names
from abyme.journal.summary import STATUSES, RunStatus, RunSummary
from abyme.journal.wanted import EVERYTHING, Wanted
from abyme.settings import configured_runs

_COMPLETED = 50
_WIDE = 130
"""Columns from which on model and question stand on their run's line."""
_MODEL = 24
_PLAIN_MODEL = 80
_RIGHT = (1, 3, 4, 5)
_RIGHT_WIDE = (1, 4, 5, 6)


def show_runs(
    runs: Path,
    write: Write,
    say: Write,
    *,
    wanted: Wanted = EVERYTHING,
    limit: int = 20,
    width: int | None = None,
) -> None:
    """List the newest ``limit`` runs in ``runs`` that are wanted by ``write``, one call a line.

    ``width``: the columns of the terminal; None where plain text is wanted. ``say`` gets what is
    said beside the list: that there are more, or none.
    """
    found = find_runs(runs, wanted, limit=limit)
    if not found.total:
        say(f"no runs in {runs} yet: `abyme ask QUESTION PATH --model MODEL` makes one")
        return
    if not found.runs:
        say(f"none of {plural(found.total, 'run')} in {runs} is of that kind")
        return
    now = time.time()
    plain = width is None
    wide = width is None or width >= _WIDE
    rows = [_row(summary, now, wide=wide, plain=plain) for summary in found.runs]
    put_table(rows, write, width, right=_RIGHT_WIDE if wide else _RIGHT, below=not wide)
    if not found.more:
        return
    if wanted == EVERYTHING:
        say(f"{plural(found.total - limit, 'older run')}: --limit {found.total} lists all")
    else:
        say(f"older runs match, too: --limit {2 * limit} lists more")


def show_runs_json(
    runs: Path, write: Write, *, wanted: Wanted = EVERYTHING, limit: int | None = None
) -> None:
    """Write each run that is wanted as one line of JSON, newest first."""
    for summary in find_runs(runs, wanted, limit=limit).runs:
        write(json.dumps(msgspec.to_builtins(summary), ensure_ascii=False))


def complete_run(incomplete: str) -> list[str]:
    """Ids of the newest runs that begin with ``incomplete``, for a shell. Never raises."""
    try:
        where = runs_folder(configured_runs(os.environ) or None)
        found = (name for name in run_names(where) if name.startswith(incomplete))
        return list(itertools.islice(found, _COMPLETED))
    except (AbymeError, OSError):
        return []


def statuses(named: Sequence[str], choices: Sequence[RunStatus] = STATUSES) -> frozenset[RunStatus]:
    """The statuses in ``named``, each a list with commas.

    Raises :class:`ValueError`, which names the choices.
    """
    by_name = {status: status for status in choices}
    found: set[RunStatus] = set()
    for name in itertools.chain.from_iterable(each.split(",") for each in named):
        status = by_name.get(name.strip().lower())  # type: ignore[call-overload]
        if status is None:
            raise ValueError(f"{name.strip()[:40]!r} is none of {', '.join(choices)}")
        found.add(status)
    return frozenset(found)


def _row(summary: RunSummary, now: float, *, wide: bool, plain: bool) -> Row:
    model = fitting(printable(summary.model), _PLAIN_MODEL if plain else _MODEL)
    cells: list[Span] = [
        *head_cells(summary, now),
        (_cost(summary), ""),
        ("" if summary.seconds is None else _seconds(summary.seconds), "dim"),
        size_cell(summary),
    ]
    rest: list[Span] = []
    if wide:
        cells.insert(3, (model, ""))
    elif model:
        rest += [(model, "dim"), (" · ", "dim")]
    if summary.fork_of:
        rest += [(f"fork of {summary.fork_of}", "dim"), (" · ", "dim")]
    return cells, [*rest, about(summary)]


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:,.0f} s"


def _cost(summary: RunSummary) -> str:
    """Nothing where the run has no end to tell; ``$?`` where a price is not known."""
    if summary.usage is None:
        return ""
    return "$?" if summary.cost is None else cost_text(summary.cost)
