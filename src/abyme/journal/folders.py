"""Which folders are runs, and in which order."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import Counter
from pathlib import Path

from abyme.errors import JournalError
from abyme.journal.format import JOURNAL

_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


def run_folders(runs: Path) -> list[Path]:
    """The folders of all runs in ``runs``, newest first; see :func:`run_names`."""
    return [runs / name for name in run_names(runs)]


def run_names(runs: Path) -> list[str]:
    """The names of the folders of all runs in ``runs``, newest first; none where there is no such
    folder.

    A folder counts whose name is a run's id, or that has a journal. Raises :class:`JournalError`
    where ``runs`` cannot be read.
    """
    try:
        with os.scandir(runs) as entries:
            found = [(_second(entry), entry) for entry in entries]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        hint = "name the folder of runs with --runs or ABYME_RUNS"
        raise JournalError(f"{runs} is no folder: {hint}") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise JournalError(f"cannot read {runs}: {why}") from error
    # Runs of one second are told apart by when their folders were made: few need to be asked.
    shared = Counter(second for second, _ in found)
    aged = [
        (second, _written(entry) if shared[second] > 1 else 0, entry.name)
        for second, entry in found
        if second
    ]
    return [name for _, _, name in sorted(aged, reverse=True)]


def is_run_id(name: str) -> bool:
    """Whether ``name`` is one that a run is given, and tells its time."""
    return _RUN_ID.fullmatch(name) is not None


def id_time(run: str) -> float:
    """When a run of this id was made, in seconds since 1970; 0 where it is none."""
    if is_run_id(run):
        with contextlib.suppress(ValueError, OverflowError):
            return max(0.0, time.mktime(time.strptime(run[:15], "%Y%m%d-%H%M%S")))
    return 0.0


def _second(entry: os.DirEntry[str]) -> str:
    """The second that sorts a run: that of its id, else its journal's; empty where it is none."""
    with contextlib.suppress(OSError):
        if is_run_id(entry.name):
            return entry.name[:15] if entry.is_dir() else ""
        written = os.stat(f"{entry.path}/{JOURNAL}").st_mtime_ns
        return time.strftime("%Y%m%d-%H%M%S", time.localtime(written // 10**9))
    return ""


def _written(entry: os.DirEntry[str]) -> int:
    """When the folder was last written to; of one whose name is no id, its journal."""
    with contextlib.suppress(OSError):
        if is_run_id(entry.name):
            return entry.stat().st_mtime_ns
        return os.stat(f"{entry.path}/{JOURNAL}").st_mtime_ns
    return 0
