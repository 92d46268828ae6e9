"""Listing many runs: through the index, and from the folders."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from pathlib import Path
from statistics import median

from abyme import RLM
from abyme.engine import engine
from abyme.journal.find import find_runs
from abyme.journal.index import INDEX
from abyme.journal.wanted import EVERYTHING, Wanted
from abyme.models.scripted import Scripted
from benchmarks.figures import Bench, Row, alternate, cell

_RUNS = 5_000


def index(bench: Bench) -> list[Row]:
    """Rows for the newest 20 of many runs, for a search through all, and for the first."""
    runs = _many(bench.folder / "many")
    few = Wanted(statuses=frozenset(["failed"]), words=("contracts",))
    size = "20 of them are found"
    rows = []
    for name, wanted, note in [
        (f"the newest 20 of {_RUNS:,} runs", EVERYTHING, "floor: without the index"),
        ("  by status and a word: none", few, "floor: all folders read"),
        ("  by a word that all have", Wanted(words=("steamer",)), size),
    ]:
        ours, floor = alternate(
            bench.rounds(9), partial(_find, runs, wanted, True), partial(_find, runs, wanted, False)
        )
        target = 0.5 if wanted is few else None
        rows.append(
            Row(name, median(ours), median(floor), compared="ratio", target=target, note=note)
        )
    made = []
    for _ in range(bench.rounds(5)):
        (runs / INDEX).unlink()
        made.append(_find(runs, few, True))
    note = "a search that has to read all folders once"
    rows.append(
        Row("  the index is made", median(made), rows[1].floor, compared="ratio", note=note)
    )
    return rows


def _many(runs: Path) -> Path:
    """A folder of runs that are alike, all but the newest a day and more old."""
    rlm = RLM(Scripted([cell("FINAL(1)")], None), runs=runs)
    first = runs / rlm.completion("Which steamer is the oldest? " * 10, "some text").run
    engine().settle()
    journal = (first / "journal.jsonl").read_text()
    now = time.time()
    for number in range(1, _RUNS):
        at = now - number * 86_400 / 10 - 86_400
        folder = runs / time.strftime("%Y%m%d-%H%M%S-abcdef", time.localtime(at))
        shutil.copytree(first, folder)
        (folder / "journal.jsonl").write_text(journal.replace(first.name, folder.name))
        os.utime(folder / "journal.jsonl", (at, at))
    os.sync()  # else what was just written is still on its way to the disk while it is read
    return runs


def _find(runs: Path, wanted: Wanted, indexed: bool) -> float:
    began = time.perf_counter()
    find_runs(runs, wanted, limit=20, indexed=indexed)
    return time.perf_counter() - began
