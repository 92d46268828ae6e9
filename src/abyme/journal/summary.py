"""What a run was, from the ends of its journal: quick for thousands of runs.

Read are its first line with the few that name the first documents, and its last. Nothing between
is, so nothing here says that a journal is whole: :func:`abyme.journal.reader.read` does.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
from msgspec.structs import replace

from abyme.errors import JournalError
from abyme.journal.blobs import Blobs
from abyme.journal.files import is_locked, open_regular
from abyme.journal.folders import id_time
from abyme.journal.folders import is_run_id as is_run_id
from abyme.journal.folders import run_folders as run_folders
from abyme.journal.format import BLOB, HASHED, JOURNAL, VERSION, is_digest
from abyme.journal.redaction import placeholder
from abyme.types import Status, Usage

_CHUNK = 64 * 1024
_LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of a first or last line that are read: an answer may hold a large value."""
_FRESH_SECONDS = 10.0
_QUESTION_CHARS = 4_000
"""Characters of a question that are kept."""
_DOCUMENTS = 10
_DOCUMENT_LINE = 16 * 1024
"""Bytes of a line that names a document; one that is longer is not read."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e11)]
"""A time or a duration that can be shown; no time of a run is beyond the year 5138."""
_Cost = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Turns = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


RunStatus = Status | Literal["going", "unfinished", "unreadable"]
STATUSES: tuple[RunStatus, ...] = (
    "complete",
    "partial",
    "failed",
    "going",
    "unfinished",
    "unreadable",
)


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run as a list shows it.

    ``status`` is the answer's, where there is one. Else ``going``: a process holds the journal's
    lock, or, where locks cannot be told, it was written to in the last 10 s (:func:`settled` finds
    out); ``unfinished``; ``unreadable``: ``problem`` says why, and the rest is not known.
    ``seconds`` of a run without an answer are those from its first line to its last.
    """

    run: str
    folder: str
    status: RunStatus
    started: Seconds = 0.0
    """Seconds since 1970; of a fork when it was forked."""
    question: str = ""
    """Its beginning, where it is very long; in a session the first question."""
    model: str = ""
    """At its start; that of the newest terms only where the last line names them."""
    sub_model: str = ""
    child_models: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    """Names of its first documents, at most 10."""
    fork_of: str = ""
    """The run that the journal begins with, where this is a fork that has its id for a name."""
    version: str = ""
    seconds: Seconds | None = None
    turns: _Turns | None = None
    usage: Usage | None = None
    cost: _Cost | None = None
    reason: str = ""
    problem: str = ""
    bytes: int | None = None
    """What its folder takes on the disk; None where nobody measured it."""


class _First(msgspec.Struct, frozen=True, tag_field="event", tag="RunStarted"):
    """What is needed of the first line."""

    at: Seconds
    version: str
    question: str | dict[str, Any]
    model: str
    sub_model: str
    child_models: tuple[str, ...] = ()
    run: str = ""
    format: int = VERSION


class _Document(msgspec.Struct, frozen=True, tag_field="event", tag="DocumentLoaded"):
    name: str


class _Terms(msgspec.Struct, frozen=True):
    """Of the terms of a run that was resumed, forked or asked on."""

    version: str
    model: str
    sub_model: str
    child_models: tuple[str, ...] = ()


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


_DOCUMENT = msgspec.json.Decoder(_Document)


def list_runs(runs: Path) -> Iterator[RunSummary]:
    """The runs in ``runs``, newest first; each is read when it is asked for."""
    for folder in run_folders(runs):
        yield settled(summarise(folder))


def settled(summary: RunSummary) -> RunSummary:
    """``summary``, ``going`` where a process holds the journal of an unfinished run."""
    going = summary.status == "unfinished" and _is_held(Path(summary.folder) / JOURNAL)
    return replace(summary, status="going") if going else summary


def _is_held(journal: Path) -> bool:
    """Whether a process writes to it; where locks do not tell, whether one did just now."""
    held = is_locked(journal)
    if held is None:
        with contextlib.suppress(OSError):
            return is_fresh(journal.stat().st_mtime)
    return held is True


def time_of(summary: RunSummary) -> float:
    """When the run was started, in seconds since 1970: of one that is unreadable by its id.

    0 where nothing tells.
    """
    return summary.started or id_time(summary.run)


def is_fresh(written: float) -> bool:
    """Whether a journal last written then (seconds since 1970) may be that of a going run."""
    return time.time() - written < _FRESH_SECONDS


def is_going(folder: Path) -> bool:
    """Whether the run in ``folder`` is still going; also where it is this process that does it."""
    return settled(summarise(folder)).status == "going"


def newest_run(runs: Path) -> Path:
    """The folder of the newest run whose first line can be read.

    A run that could write nothing, on a full disk, is passed over. Raises :class:`JournalError`.
    """
    folders = run_folders(runs)
    for folder in folders:
        if begins_as_run(folder):
            return folder
    if folders:
        raise JournalError(f"no run in {runs} can be read: `abyme runs` says why")
    raise JournalError(f"there are no runs in {runs}: `abyme ask` makes one")


def begins_as_run(folder: Path) -> bool:
    """Whether ``folder`` has a journal whose first line is that of a run."""
    with contextlib.suppress(OSError, ValueError), open_regular(folder / JOURNAL) as file:
        _first(file)
        return True
    return False


def summarise(folder: Path) -> RunSummary:
    """What the run in ``folder`` was, and ``unfinished`` where it still goes.

    Never raises for what lies there: see ``unreadable``.
    """
    summary = RunSummary(run=folder.name, folder=str(folder), status="unreadable")
    try:
        with open_regular(folder / JOURNAL) as file:
            first = _first(file)
            documents = tuple(_document_names(file))
            end = _event(_last_line(file))
    except OSError as error:
        return replace(summary, problem=error.strerror or str(error))
    except ValueError as error:  # msgspec's ValidationError is one
        return replace(summary, problem=str(error))
    if first.format > VERSION:
        later = f"its format is {first.format}; this version of abyme reads up to {VERSION}"
        return replace(summary, problem=later)
    terms = _newest_terms(first, end)
    forked = first.run != folder.name and is_run_id(first.run) and is_run_id(folder.name)
    summary = replace(
        summary,
        status="unfinished",
        started=(id_time(folder.name) if forked else 0.0) or first.at,
        question=_beginning(folder, first.question),
        model=terms.model,
        sub_model=terms.sub_model,
        child_models=terms.child_models,
        version=terms.version,
        documents=documents,
        fork_of=first.run if forked else "",
    )
    if end.get("event") != "RunEnded":
        return replace(summary, seconds=_seconds(summary.started, end))
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


def _seconds(started: float, end: dict[str, Any]) -> float | None:
    with contextlib.suppress(ValueError):
        return max(0.0, msgspec.convert(end.get("at"), Seconds) - started)
    return None


def _document_names(file: BinaryIO) -> Iterator[str]:
    """Names of the documents whose lines follow in ``file``, the first few."""
    with contextlib.suppress(ValueError, RecursionError):  # a line of another kind
        for _ in range(_DOCUMENTS):
            yield _DOCUMENT.decode(file.readline(_DOCUMENT_LINE)).name


def _newest_terms(first: _First, end: dict[str, Any]) -> _Terms:
    """The terms that the last line names, else those of the first."""
    with contextlib.suppress(ValueError):
        return msgspec.convert(end.get("terms"), _Terms)
    return _Terms(first.version, first.model, first.sub_model, first.child_models)


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
