"""Reading a run's journal, whoever wrote it and however its process ended."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from abyme.errors import JournalError
from abyme.events import JOURNALLED, Event
from abyme.inside.hits import cut_end
from abyme.journal.format import (
    BLOB,
    BLOBS,
    DICT,
    FIRST_PREV,
    JOURNAL,
    VERSION,
    blob_path,
    line_hash,
)

_DIGEST = re.compile("[0-9a-f]{64}")


class Record(msgspec.Struct, frozen=True):
    """One line of a journal: its number, its time in seconds since 1970, its event."""

    seq: int
    at: float
    event: Event


def read(folder: Path) -> Iterator[Record]:
    """The events of a run in order.

    A torn last line (the process was killed or the disk was full in the middle of it) is passed
    over. Raises :class:`JournalError` where there is no journal, where a line before the last is
    damaged, where the chain of hashes does not hold, and where a blob is missing or altered.
    """
    lines = _lines(folder)
    previous = FIRST_PREV
    for number, line in enumerate(lines):
        raw = _parse(line)
        if raw is None:
            if number == len(lines) - 1:
                return
            raise JournalError(f"{folder / JOURNAL}: line {number + 1} is damaged")
        if raw.get("seq") != number or raw.get("prev") != previous:
            raise JournalError(f"{folder / JOURNAL}: line {number + 1} does not follow the last")
        previous = line_hash(line)
        yield _record(folder, raw, number)


def find_run(runs: Path, run: str) -> Path:
    """The folder of ``run``: an id, an unambiguous beginning of one, or a folder's path.

    Raises :class:`JournalError` where there is none, or more than one.
    """
    for folder in (runs / run, Path(run)):
        if run and _has_journal(folder):
            return folder
    names = [path.parent for path in runs.glob(f"*/{JOURNAL}")]
    found = sorted(path for path in names if run and path.name.startswith(run))
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(path.name for path in found[:5])
        raise JournalError(f"{run} may be {len(found)} runs ({some}): give more of its id")
    newest = sorted((path.name for path in names), reverse=True)[:3]
    hint = f"; the newest are {', '.join(newest)}" if newest else ""
    raise JournalError(f"there is no run {cut_end(run, 80)!r} in {runs}{hint}")


def _has_journal(folder: Path) -> bool:
    try:
        return (folder / JOURNAL).is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL: no run is called that
        return False


def _lines(folder: Path) -> list[bytes]:
    try:
        data = (folder / JOURNAL).read_bytes()
    except OSError as error:
        raise JournalError(f"cannot read {folder / JOURNAL}: {error.strerror}") from error
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        raw = json.loads(line)
    except ValueError:
        return None
    return raw if isinstance(raw, dict) else None


def _record(folder: Path, raw: dict[str, Any], number: int) -> Record:
    version = raw.get("format", VERSION) if raw.get("event") == "RunStarted" else VERSION
    if not isinstance(version, int) or version > VERSION:
        known = f"this version of abyme reads up to {VERSION}"
        raise JournalError(f"{folder / JOURNAL} has format {version!r}; {known}")
    at = raw.pop("at", 0.0)
    raw.pop("seq"), raw.pop("prev")
    try:
        event = msgspec.convert(_without_blobs(folder, raw), JOURNALLED)
    except msgspec.ValidationError as error:
        raise JournalError(f"{folder / JOURNAL}: line {number + 1}: {error}") from None
    return Record(number, at, event)


def _without_blobs(folder: Path, value: Any) -> Any:
    if isinstance(value, dict):
        if BLOB in value:
            return _blob(folder, str(value[BLOB]))
        if isinstance(inner := value.get(DICT), dict):
            value = inner  # the user's own, whatever its keys
        return {key: _without_blobs(folder, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_blobs(folder, item) for item in value]
    return value


def _blob(folder: Path, digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise JournalError(f"{folder / JOURNAL} names a text that cannot be: {digest[:80]!r}")
    path = folder / BLOBS / blob_path(digest)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise JournalError(f"a text of the journal is missing: {path}: {error.strerror}") from error
    if hashlib.sha256(raw).hexdigest() != digest:
        raise JournalError(f"a text of the journal was altered: {path}")
    return raw.decode("utf-8", "surrogatepass")
