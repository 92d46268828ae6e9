"""Finding runs: through the index where there is one, and never differently without it."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from abyme.journal.folders import run_names
from abyme.journal.format import JOURNAL
from abyme.journal.sizes import folder_bytes
from abyme.journal.summary import RunSummary, is_fresh, settled, summarise
from abyme.journal.wanted import EVERYTHING, Wanted

if TYPE_CHECKING:
    from abyme.journal.index import Index, Known


class Found(NamedTuple):
    """Runs, newest first, each with its size; of how many in the folder; whether more match."""

    runs: list[RunSummary]
    total: int
    more: bool


def find_runs(
    runs: Path, wanted: Wanted = EVERYTHING, *, limit: int | None = None, indexed: bool = True
) -> Found:
    """The newest ``limit`` runs in ``runs`` that ``wanted`` matches.

    ``indexed``: whether the index may be used and written. Raises :class:`JournalError` where
    ``runs`` cannot be read.
    """
    names = run_names(runs)
    if not indexed or not names:
        return _find(runs, names, wanted, limit, None)
    try:
        import sqlite3

        from abyme.journal import index as indexes
    except ImportError:  # a Python without SQLite
        return _find(runs, names, wanted, limit, None)
    index = indexes.load(runs)
    if index is None:
        return _find(runs, names, wanted, limit, None)
    try:
        search = _Search(runs, index, wanted, set(names))
        found = _find(runs, names, wanted, limit, search)
        if search.changed:
            indexes.save(runs, index)
    except sqlite3.Error:
        return _find(runs, names, wanted, limit, None)
    finally:
        index.close()
    return found


class _Search:
    """One search through the index, which learns what it did not know."""

    def __init__(self, runs: Path, index: Index, wanted: Wanted, names: set[str]) -> None:
        self._runs = runs
        self._index = index
        self._known: dict[str, Known] = index.known(wanted)
        gone = self._known.keys() - names
        index.drop(gone)
        self.changed = bool(gone)

    def summary(self, name: str) -> RunSummary | None:
        """What the run was, as far as its journal tells; None where it is not asked for."""
        stamp = _stamp(f"{self._runs}/{name}/{JOURNAL}")
        known = self._known.get(name)
        if known is not None and stamp and known.stamp == stamp:
            if not known.may_match:
                return None
            if (found := self._index.summary(self._runs / name)) is not None:
                return replace(found, bytes=known.bytes)
        found = summarise(self._runs / name)
        if stamp and found.status != "unreadable":
            self._index.put(stamp, found)
            self.changed = True
        return found

    def measured(self, summary: RunSummary) -> None:
        """Keep a size."""
        self.changed |= self._index.measured(summary.run, summary.bytes or 0)


def _find(
    runs: Path, names: list[str], wanted: Wanted, limit: int | None, search: _Search | None
) -> Found:
    def read(name: str) -> RunSummary | None:
        return summarise(runs / name) if search is None else search.summary(name)

    summaries = (settled(found) for found in map(read, names) if found is not None)
    matching = filter(wanted.matches, summaries)
    shown = []
    for summary in itertools.islice(matching, limit):
        if summary.bytes is None or summary.status == "going":
            summary = replace(summary, bytes=folder_bytes(Path(summary.folder)))
            if search is not None and summary.status not in ("going", "unreadable"):
                search.measured(summary)
        shown.append(summary)
    more = limit is not None and len(shown) == limit and next(matching, None) is not None
    return Found(shown, len(names), more)


def _stamp(journal: str) -> str:
    """What changes whenever the journal does; empty where it may be changing, or is none."""
    try:
        found = os.lstat(journal)
    except OSError:
        return ""
    if not stat.S_ISREG(found.st_mode) or is_fresh(found.st_mtime):
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
