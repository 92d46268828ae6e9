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
from typing import Any, BinaryIO, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from abyme.errors import JournalError
from abyme.journal.format import BLOB, BLOBS, JOURNAL, VERSION, blob_path
from abyme.types import Status, Usage

T = TypeVar("T")

_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
_CHUNK = 64 * 1024
_LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of a first or last line that are read: an answer may hold a large value."""
_FRESH_SECONDS = 10.0
_QUESTION_CHARS = 4_000
"""Characters of a question that are kept."""


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run as a list shows it.

    ``status`` is the answer's, where there is one. Else ``going``: the journal was written to in
    the last 10 s, or a process holds it open; ``unfinished``: neither can be seen; ``unreadable``:
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

    at: float
    version: str
    question: str | dict[str, Any]
    model: str
    sub_model: str
    format: int = VERSION


class _Answer(msgspec.Struct, frozen=True):
    status: Status
    reason: str | dict[str, Any] = ""
    usage: Usage = Usage()
    cost: float | None = None
    seconds: float = 0.0
    turns: int = 0


class _Last(msgspec.Struct, frozen=True, tag_field="event", tag="RunEnded"):
    """What is needed of the last line."""

    at: float
    answer: _Answer


def run_folders(runs: Path) -> list[Path]:
    """The folders of all runs in ``runs``, newest first; none where there is no such folder.

    A folder counts whose name is a run's id, or that has a journal.
    """
    try:
        with os.scandir(runs) as entries:
            found = [(_age(entry), Path(entry.path)) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise JournalError(f"cannot read {runs}: {why}") from error
    return [path for (when, _), path in sorted(found, reverse=True) if when]


def list_runs(runs: Path) -> Iterator[RunSummary]:
    """The runs in ``runs``, newest first; each is read when it is asked for."""
    held: set[str] | None = None
    for folder in run_folders(runs):
        summary = summarise(folder)
        if summary.status == "unfinished":
            held = _open_journals() if held is None else held
            if str((folder / JOURNAL).resolve()) in held:
                summary = replace(summary, status="going")
        yield summary


def newest_run(runs: Path) -> Path:
    """The folder of the newest run that has a journal. Raises :class:`JournalError`."""
    for folder in run_folders(runs):
        if (folder / JOURNAL).is_file():
            return folder
    raise JournalError(f"there are no runs in {runs}: `abyme ask` makes one")


def summarise(folder: Path) -> RunSummary:
    """What the run in ``folder`` was. Never raises for what lies there: see ``unreadable``."""
    summary = RunSummary(run=folder.name, folder=str(folder), status="unreadable")
    try:
        with (folder / JOURNAL).open("rb") as file:
            first = _line_as(_first_line(file), _First)
            end = _last_line(file)
            fresh = time.time() - os.fstat(file.fileno()).st_mtime < _FRESH_SECONDS
    except OSError as error:
        return replace(summary, problem=error.strerror or str(error))
    except ValueError as error:  # msgspec's ValidationError is one
        return replace(summary, problem=f"its first line: {error}")
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
    try:
        answer = _line_as(end, _Last).answer
    except ValueError:
        return replace(summary, seconds=_seconds(first, end))
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
        if _RUN_ID.fullmatch(entry.name):
            return (entry.name[:15], entry.stat().st_mtime_ns) if entry.is_dir() else ("", 0)
        written = os.stat(Path(entry.path) / JOURNAL).st_mtime_ns
        return time.strftime("%Y%m%d-%H%M%S", time.localtime(written // 10**9)), written
    return "", 0


def _first_line(file: BinaryIO) -> bytes:
    line = file.readline(_LONGEST_LINE)
    if not line:
        raise ValueError("the journal is empty")
    return line


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


def _line_as(line: bytes, kind: type[T]) -> T:
    """A line as the event ``kind``. Raises :class:`ValueError`."""
    try:
        return msgspec.convert(json.loads(line), kind)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def _seconds(first: _First, line: bytes) -> float | None:
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        return max(0.0, float(json.loads(line).get("at")) - first.at)
    return None


def _beginning(folder: Path, text: str | dict[str, Any]) -> str:
    """A text of the journal, of a blob its beginning only."""
    if isinstance(text, str):
        return text[:_QUESTION_CHARS]
    digest = str(text.get(BLOB))
    if re.fullmatch("[0-9a-f]{64}", digest):
        path = folder / BLOBS / blob_path(digest)
        decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
        with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
            return decoder.decode(file.read(_QUESTION_CHARS))
    return ""


def _open_journals() -> set[str]:
    """Journals that a process of this user has open; none where the system does not tell."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):  # another user's, or it has just ended
            for descriptor in os.scandir(process):
                with contextlib.suppress(OSError):
                    target = Path(descriptor.path).readlink()
                    if target.name == JOURNAL:
                        found.add(str(target))
    return found
