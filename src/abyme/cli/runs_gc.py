"""``abyme runs gc``: what would be removed, and removing it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from abyme.cli.run_table import Row, about, head_cells, put_table, size_cell
from abyme.cli.show.page import Write
from abyme.cli.text import bytes_text, counts_text, plural, printable
from abyme.journal.find import find_runs
from abyme.journal.gc import Criteria, Plan, plan_removal, remove_runs
from abyme.journal.sizes import all_bytes, freed_bytes
from abyme.journal.summary import STATUSES, RunStatus

REMOVABLE: tuple[RunStatus, ...] = tuple(each for each in STATUSES if each != "going")
_RIGHT = (1, 3)
_CRITERIA = (
    "say which may go: --keep N (not the newest N), --older-than 30d, --status failed,unfinished; "
    "only runs that meet all that is given"
)


def show_gc(
    runs: Path,
    criteria: Criteria,
    write: Write,
    say: Write,
    *,
    apply: bool = False,
    width: int | None = None,
) -> int:
    """Say by ``write`` what in ``runs`` meets the criteria, and remove it where ``apply`` is set.

    ``say`` gets what went wrong, and what to do next; ``width`` as for :func:`show_runs`. The exit
    code: 0; 1 where something could not be removed. Raises :class:`JournalError`.
    """
    if not criteria.given:
        _say_all(runs, write, say)
        return 0
    plan = plan_removal(runs, criteria)
    if not apply:
        _say_plan(plan, write, width)
    for run, problem in plan.spared:
        say(f"{run} stays: {problem}")
    if not plan.runs:
        say(f"none of {plural(plan.total, 'run')} in {runs} is to be removed")
    elif not apply:
        say("nothing was removed: the same with --apply removes them")
    return _remove(runs, plan, write, say) if apply else 0


def _say_all(runs: Path, write: Write, say: Write) -> None:
    found = find_runs(runs).runs
    kinds = counts_text(Counter(summary.status for summary in found))
    size = bytes_text(all_bytes(Path(summary.folder) for summary in found))
    write(printable(f"{plural(len(found), 'run')}, {size}, in {runs}" + f": {kinds}" * bool(found)))
    say(_CRITERIA)


def _say_plan(plan: Plan, write: Write, width: int | None) -> None:
    now = time.time()
    rows: list[Row] = [
        ([*head_cells(summary, now), size_cell(summary)], [about(summary)]) for summary in plan.runs
    ]
    if rows:
        put_table(rows, write, width, right=_RIGHT, below=False)
        write(_sum("would be removed", plan))


def _sum(what: str, plan: Plan) -> str:
    """How many runs, and how much is free without them: not what runs that stay share."""
    folders = [Path(summary.folder) for summary in plan.runs]
    whole, freed = all_bytes(folders), freed_bytes(folders)
    text = f"{len(plan.runs):,} of {plural(plan.total, 'run')} {what}: {bytes_text(freed)}"
    return (
        text if freed >= whole else f"{text} of {bytes_text(whole)}; runs that stay share the rest"
    )


def _remove(runs: Path, plan: Plan, write: Write, say: Write) -> int:
    if not plan.runs:
        return 0
    summed = _sum("removed", plan)
    failures = 0
    for run, problem in remove_runs(runs, [summary.run for summary in plan.runs]):
        if problem:
            failures += 1
            say(f"{run} was not removed: {problem}")
        else:
            write(printable(run))
    if failures:
        say(f"{plural(failures, 'folder')} could not be removed")
        return 1
    write(summed)
    return 0
