"""Removing runs that are no longer wanted: never one that goes on, never what is no run.

A run is first renamed into ``RUNS/.removing``, where nobody takes it for a run, and then deleted.
What a killed or refused removal leaves there, the next one deletes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from abyme.errors import JournalError
from abyme.journal.files import descriptor_of, is_locked, lock, release
from abyme.journal.folders import is_run_id
from abyme.journal.format import JOURNAL
from abyme.journal.sizes import folder_bytes
from abyme.journal.summary import (
    RunStatus,
    RunSummary,
    begins_as_run,
    is_fresh,
    is_going,
    list_runs,
    time_of,
)

REMOVING = ".removing"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GOES_ON = "it is going on"


class Criteria(Struct, frozen=True, kw_only=True):
    """Which runs may go: those that meet all that is given.

    ``keep``: not the newest so many. ``before``: neither started nor written to since, in seconds
    since 1970. ``statuses``: with one of them.
    """

    keep: int | None = None
    before: float | None = None
    statuses: frozenset[RunStatus] = frozenset()

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return self.keep is not None or self.before is not None or bool(self.statuses)


class Spared(NamedTuple):
    """A run that is not removed, and why; ``problem`` is empty of one that is gone."""

    run: str
    problem: str


class Plan(NamedTuple):
    """What would be removed, newest first, each with its size; of how many; and what meets the
    criteria and stays all the same."""

    runs: list[RunSummary]
    total: int
    spared: list[Spared]


def plan_removal(runs: Path, criteria: Criteria) -> Plan:
    """Which runs in ``runs`` meet the criteria. Raises :class:`JournalError`."""
    chosen: list[RunSummary] = []
    spared: list[Spared] = []
    total = 0
    for summary in list_runs(runs):
        total += 1
        folder = Path(summary.folder)
        if total <= (criteria.keep or 0) or not _meets(summary, folder, criteria):
            continue
        if problem := _why_not(folder, going=summary.status == "going"):
            spared.append(Spared(summary.run, problem))
        else:
            chosen.append(replace(summary, bytes=folder_bytes(folder)))
    return Plan(chosen, total, spared)


def remove_runs(runs: Path, names: list[str]) -> Iterator[Spared]:
    """Remove the runs called so from ``runs``; each is told when it is gone, or why it is not.

    Each is looked at again before. Raises :class:`JournalError` where nothing can be removed
    there, and where another process is removing runs.
    """
    with _opened(runs) as (source, target):
        yield from _leftovers(runs, target)
        for name in names:
            yield Spared(name, _removed(runs, name, source, target))
        with contextlib.suppress(OSError):
            os.rmdir(REMOVING, dir_fd=source)


def _removed(runs: Path, name: str, source: int, target: int) -> str:
    """Remove one run; why it is not. One that is gone is no fault."""
    folder = runs / name
    if not os.path.lexists(folder):
        return ""
    going = is_going(folder)
    with _held(folder / JOURNAL) as free:
        if not free:
            return _GOES_ON
        problem = _why_not(folder, going=going) or _renamed(name, source, target)
        return problem or _deleted(runs, name, target)


@contextlib.contextmanager
def _held(journal: Path) -> Iterator[bool]:
    """Keep others from going on with the journal; False where one does. Without one there is
    nothing to keep."""
    try:
        descriptor = descriptor_of(journal, os.O_RDONLY)
    except OSError:
        yield True
        return
    try:
        yield lock(descriptor)
    finally:
        release(descriptor)


def _meets(summary: RunSummary, folder: Path, criteria: Criteria) -> bool:
    if criteria.statuses and summary.status not in criteria.statuses:
        return False
    if criteria.before is None:
        return True
    started = time_of(summary)
    return started > 0 and max(started, _written(folder)) < criteria.before


def _written(folder: Path) -> float:
    """When the journal, else the folder, was last written to, in seconds since 1970."""
    for path in (folder / JOURNAL, folder):
        with contextlib.suppress(OSError):
            return os.lstat(path).st_mtime
    return 0.0


def _why_not(folder: Path, *, going: bool) -> str:
    """Why the folder must not be removed; empty where it may."""
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return "it is a link"
        if going:
            return _GOES_ON
        if begins_as_run(folder) and stat.S_ISREG(os.lstat(folder / JOURNAL).st_mode):
            return ""
        if is_run_id(folder.name) and _is_empty(folder):
            return "it was just made" if is_fresh(_written(folder)) else ""
    except OSError as error:
        return error.strerror or str(error)
    return "its journal does not begin as that of a run"


def _is_empty(folder: Path) -> bool:
    """Whether no byte of a run was ever written there: what a full disk leaves of one."""
    with os.scandir(folder) as entries:
        return all(
            not [*Path(entry.path).iterdir()]
            if entry.is_dir(follow_symlinks=False)
            else entry.name == JOURNAL and entry.stat(follow_symlinks=False).st_size == 0
            for entry in entries
        )


@contextlib.contextmanager
def _opened(runs: Path) -> Iterator[tuple[int, int]]:
    """Descriptors of ``runs`` and of the folder in it from which runs are deleted."""
    with contextlib.ExitStack() as stack:
        try:
            source = os.open(runs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, source)
            _alone(source, runs)
            with contextlib.suppress(FileExistsError):
                os.mkdir(REMOVING, 0o700, dir_fd=source)
            target = os.open(REMOVING, _DIRECTORY, dir_fd=source)
            stack.callback(os.close, target)
        except OSError as error:
            raise JournalError(f"cannot remove runs from {runs}: {error.strerror}") from error
        yield source, target


def _alone(source: int, runs: Path) -> None:
    """Be the only one that removes runs. Raises :class:`JournalError` where somebody else is."""
    try:
        fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalError(f"another process is removing runs from {runs}") from None
    except OSError:  # a file system without locks
        pass


def _leftovers(runs: Path, target: int) -> Iterator[Spared]:
    """Delete what an earlier removal left; what cannot be is told."""
    for name in os.listdir(target):
        folder = runs / REMOVING / name
        if not is_run_id(name) and not begins_as_run(folder):
            problem = "it is no run"
        else:
            problem = _GOES_ON if is_locked(folder / JOURNAL) else _deleted(runs, name, target)
        if problem:
            yield Spared(f"{REMOVING}/{name}", problem)


def _renamed(name: str, source: int, target: int) -> str:
    """Move a folder from ``source`` to ``target``; what is wrong. One that is gone is no fault."""
    try:
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _deleted(runs: Path, name: str, target: int) -> str:
    """Delete a folder that was moved; what is wrong. No link in it is followed."""
    left = f"what is left of it is in {runs / REMOVING / name}"
    try:
        shutil.rmtree(name, dir_fd=target)
    except FileNotFoundError:
        return "" if not os.path.lexists(runs / REMOVING / name) else left
    except (OSError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "its folders are too deep"
        return f"{why or error}; {left}"
    return ""
