"""What a run was, from the first and the last line of its journal: quick for thousands of runs.

Nothing between the two is read, so nothing here says that a journal is whole:
:func:`abyme.journal.reader.read` does.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
from msgspec.structs import replace

from abyme.errors import JournalError
from abyme.journal.blobs import Blobs
from abyme.journal.files import is_locked, open_regular
from abyme.journal.format import BLOB, HASHED, JOURNAL, VERSION, is_digest
from abyme.journal.redaction import placeholder
from abyme.types import Status, Usage

_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
_CHUNK = 64 * 1024
_LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of a first or last line that are read: an answer may hold a large value."""
_FRESH_SECONDS = 10.0
_QUESTION_CHARS = 4_000
"""Characters of a question that are kept."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e11)]
"""A time or a duration that can be shown; no time of a run is beyond the year 5138."""
_Cost = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Turns = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run as a list shows it.

    ``status`` is the answer's, where there is one. Else ``going``: the journal was written to in
    the last 10 s, or a process holds its lock; ``unfinished``: neither can be seen; ``unreadable``:
    ``problem`` says why, and the rest is not known. ``seconds`` of a run without an answer are
    those from its first line to its last.
    """

    run: str
    folder: str
    status: Status | Literal["going", "unfinished", "unreadable"]
    started: float = 0.0
    """Seconds since 1970."""
    question: str = ""
    """Its beginning, where it is very long."""
    model: str = ""
    sub_model: str = ""
    version: str = ""
    seconds: float | None = None
    turns: int | None = None
    usage: Usage | None = None
    cost: float | None = None
    reason: str = ""
    problem: str = ""


class _First(msgspec.Struct, frozen=True, tag_field="event", tag="RunStarted"):
    """What is needed of the first line."""

    at: Seconds
    version: str
    question: str | dict[str, Any]
    model: str
    sub_model: str
    format: int = VERSION


class _Answer(msgspec.Struct, frozen=True):
    status: Status
    reason: str | dict[str, Any] = ""
    usage: Usage = Usage()
    cost: _Cost | None = None
    seconds: Seconds = 0.0
    turns: _Turns = 0


class _Last(msgspec.Struct, frozen=True, tag_field="event", tag="RunEnded"):
    """What is needed of the last line."""

    at: Seconds
    answer: _Answer


def run_folders(runs: Path) -> list[Path]:
    """The folders of all runs in ``runs``, newest first; none where there is no such folder.

    A folder counts whose name is a run's id, or that has a journal. Raises :class:`JournalError`
    where ``runs`` cannot be read.
    """
    try:
        with os.scandir(runs) as entries:
            found = [(_age(entry), Path(entry.path)) for entry in entries]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        hint = "name the folder of runs with --runs or ABYME_RUNS"
        raise JournalError(f"{runs} is no folder: {hint}") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise JournalError(f"cannot read {runs}: {why}") from error
    return [path for (when, _), path in sorted(found, reverse=True) if when]


def is_run_id(name: str) -> bool:
    """Whether ``name`` is one that a run is given, and tells its time."""
    return _RUN_ID.fullmatch(name) is not None


def list_runs(runs: Path) -> Iterator[RunSummary]:
    """The runs in ``runs``, newest first; each is read when it is asked for."""
    for folder in run_folders(runs):
        summary = summarise(folder)
        if summary.status == "unfinished" and is_locked(folder / JOURNAL):
            summary = replace(summary, status="going")
        yield summary


def is_going(folder: Path) -> bool:
    """Whether the run in ``folder`` is still going; also where it is this process that does it."""
    status = summarise(folder).status
    return status == "going" or (status == "unfinished" and is_locked(folder / JOURNAL))


def newest_run(runs: Path) -> Path:
    """The folder of the newest run whose first line can be read.

    A run that could write nothing, on a full disk, is passed over. Raises :class:`JournalError`.
    """
    folders = run_folders(runs)
    for folder in folders:
        with contextlib.suppress(OSError, ValueError), open_regular(folder / JOURNAL) as file:
            _first(file)
            return folder
    if folders:
        raise JournalError(f"no run in {runs} can be read: `abyme runs` says why")
    raise JournalError(f"there are no runs in {runs}: `abyme ask` makes one")


def summarise(folder: Path) -> RunSummary:
    """What the run in ``folder`` was. Never raises for what lies there: see ``unreadable``."""
    summary = RunSummary(run=folder.name, folder=str(folder), status="unreadable")
    try:
        with open_regular(folder / JOURNAL) as file:
            first = _first(file)
            end = _event(_last_line(file))
            fresh = time.time() - os.fstat(file.fileno()).st_mtime < _FRESH_SECONDS
    except OSError as error:
        return replace(summary, problem=error.strerror or str(error))
    except ValueError as error:  # msgspec's ValidationError is one
        return replace(summary, problem=str(error))
    if first.format > VERSION:
        later = f"its format is {first.format}; this version of abyme reads up to {VERSION}"
        return replace(summary, problem=later)
    summary = replace(
        summary,
        status="going" if fresh else "unfinished",
        started=first.at,
        question=_beginning(folder, first.question),
        model=first.model,
        sub_model=first.sub_model,
        version=first.version,
    )
    if end.get("event") != "RunEnded":
        return replace(summary, seconds=_seconds(first, end))
    try:
        answer = msgspec.convert(end, _Last).answer
    except ValueError as error:
        return replace(summary, status="unreadable", problem=f"its last line: {error}")
    return replace(
        summary,
        status=answer.status,
        reason=_beginning(folder, answer.reason),
        seconds=answer.seconds,
        turns=answer.turns,
        usage=answer.usage,
        cost=answer.cost,
    )


def _age(entry: os.DirEntry[str]) -> tuple[str, int]:
    """What sorts a run by its time: that of its id, else its journal's; ('', 0) where it is none.

    Runs of one second are told apart by when their folders were made.
    """
    with contextlib.suppress(OSError):
        if is_run_id(entry.name):
            return (entry.name[:15], entry.stat().st_mtime_ns) if entry.is_dir() else ("", 0)
        written = os.stat(Path(entry.path) / JOURNAL).st_mtime_ns
        return time.strftime("%Y%m%d-%H%M%S", time.localtime(written // 10**9)), written
    return "", 0


def _first(file: BinaryIO) -> _First:
    """The first line. Raises :class:`ValueError`."""
    line = file.readline(_LONGEST_LINE)
    if not line:
        raise ValueError("empty: nothing was written to its journal")
    try:
        return msgspec.convert(json.loads(line), _First)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its first line: {error}") from None


def _last_line(file: BinaryIO) -> bytes:
    """The last whole line, found from the end; what is torn behind it is passed over."""
    size = file.seek(0, os.SEEK_END)
    reach = _CHUNK
    while True:
        start = max(0, size - reach)
        file.seek(start)
        lines = file.read(size - start).split(b"\n")
        lines.pop()  # what stands behind the last line break: nothing, or a torn line
        if start == 0 or len(lines) > 1 or reach >= _LONGEST_LINE:
            return lines[-1] if lines else b""
        reach *= 4


def _event(line: bytes) -> dict[str, Any]:
    """A line as it stands there; empty where it is none."""
    with contextlib.suppress(ValueError, RecursionError):
        raw = json.loads(line)
        return raw if isinstance(raw, dict) else {}
    return {}


def _seconds(first: _First, end: dict[str, Any]) -> float | None:
    with contextlib.suppress(ValueError):
        return max(0.0, msgspec.convert(end.get("at"), Seconds) - first.at)
    return None


def _beginning(folder: Path, text: str | dict[str, Any]) -> str:
    """A text of the journal, of a blob its beginning only."""
    if isinstance(text, str):
        return text[:_QUESTION_CHARS]
    if HASHED in text:
        with contextlib.suppress(ValueError):
            return placeholder(text)
    if is_digest(digest := str(text.get(BLOB))):
        decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        with contextlib.suppress(ValueError):
            return decoder.decode(Blobs(folder).beginning(digest, _QUESTION_CHARS))
    return ""
