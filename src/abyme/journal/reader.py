"""Reading a run's journal, whoever wrote it and however its process ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from abyme.errors import JournalError
from abyme.events import JOURNALLED, Event, RunEnded
from abyme.inside.codec import MAX_FRAME
from abyme.inside.hits import cut_end
from abyme.journal.blobs import Blobs
from abyme.journal.files import open_regular
from abyme.journal.format import (
    BLOB,
    DICT,
    FIRST_PREV,
    HASHED,
    JOURNAL,
    VERSION,
    is_digest,
    line_hash,
    most_bytes,
)
from abyme.journal.redaction import placeholder
from abyme.journal.summary import Seconds, is_run_id, run_folders

_LONGEST_LINE = 6 * MAX_FRAME
"""Bytes: the longest frame of a worker, each byte of it written as an escape."""


class Record(msgspec.Struct, frozen=True):
    """One line of a journal: its number, its time in seconds since 1970, its event."""

    seq: int
    at: float
    event: Event


class _Time(msgspec.Struct, frozen=True):
    at: Seconds = 0.0


def read(folder: Path) -> Iterator[Record]:
    """The events of a run in order.

    A torn last line (the process was killed or the disk was full in the middle of it) is passed
    over. Raises :class:`JournalError` where there is no journal, where a line before the last is
    damaged, where the chain of hashes does not hold, and where a blob is missing or altered. No
    more than two lines are in memory at once.
    """
    decoder = Decoder(folder)
    previous = FIRST_PREV
    for number, (line, is_last) in enumerate(lines_of(folder)):
        raw = parse(line)
        if raw is None:
            if is_last:
                return
            raise JournalError(f"{folder / JOURNAL}: line {number + 1} is damaged")
        if raw.get("seq") != number or raw.get("prev") != previous:
            raise JournalError(f"{folder / JOURNAL}: line {number + 1} does not follow the last")
        previous = line_hash(line)
        record = decoder.record(raw, number)
        if isinstance(event := record.event, RunEnded):
            record = msgspec.structs.replace(record, event=event.with_head(previous))
        yield record


def find_run(runs: Path, run: str) -> Path:
    """The folder of ``run``: an id, an unambiguous beginning of one, or a folder's path.

    Raises :class:`JournalError` where there is none, or more than one.
    """
    for folder in (runs / run, Path(run)):
        if run and _has_journal(folder):
            return folder
    folders = [path for path in run_folders(runs) if _has_journal(path)]
    folders.sort(key=lambda path: not is_run_id(path.name))  # the newest of these stay first
    found = [path for path in folders if run and path.name.startswith(run)]
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(path.name for path in found[:5])
        raise JournalError(f"{run} may be {len(found)} runs ({some}): give more of its id")
    newest = ", ".join(path.name for path in folders[:3])
    hint = f"; the newest are {newest}" if newest else ""
    raise JournalError(f"there is no run {cut_end(run, 80)!r} in {runs}{hint}")


def _has_journal(folder: Path) -> bool:
    try:
        return (folder / JOURNAL).exists()
    except (OSError, ValueError):  # a name too long, or with a NUL: no run is called that
        return False


def lines_of(folder: Path) -> Iterator[tuple[bytes, bool]]:
    """Each line without its line break, and whether it is the last.

    A line that has none yet is the last, whatever its writer adds meanwhile. Raises
    :class:`JournalError` where there is no journal, or a line is far too long.
    """
    try:
        with open_regular(folder / JOURNAL) as file:
            line = _line(folder, file)
            while line:
                following = _line(folder, file) if line.endswith(b"\n") else b""
                yield line.removesuffix(b"\n"), not following
                line = following
    except OSError as error:
        raise JournalError(f"cannot read {folder / JOURNAL}: {error.strerror}") from error


def _line(folder: Path, file: BinaryIO) -> bytes:
    line = file.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise JournalError(f"{folder / JOURNAL} has a line of over {_LONGEST_LINE:,} bytes")
    return line


def parse(line: bytes) -> dict[str, Any] | None:
    """A line as JSON has it; None where it is no object."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None


class Decoder:
    """Makes events of the lines of one journal, with its texts in their places."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self._blobs = Blobs(folder)
        self._redacted = False

    def record(self, raw: dict[str, Any], number: int) -> Record:
        """The event of line ``number``, counted from 0. Raises :class:`JournalError`."""
        version = raw.get("format", VERSION) if raw.get("event") == "RunStarted" else VERSION
        if not isinstance(version, int) or version > VERSION:
            known = f"this version of abyme reads up to {VERSION}"
            raise JournalError(f"{self._path} has format {version!r}; {known}")
        self._redacted = self._redacted or (number == 0 and raw.get("redacted") is True)
        body = {name: value for name, value in raw.items() if name not in ("seq", "prev", "at")}
        try:
            at = msgspec.convert(raw, _Time).at
            body = _with_texts(self._blobs, body, self._redacted)
            return Record(number, at, msgspec.convert(body, JOURNALLED))
        except (ValueError, RecursionError) as error:  # msgspec's ValidationError is the first
            raise JournalError(f"{self._path}: line {number + 1}: {error}") from None


def _with_texts(blobs: Blobs, value: Any, redacted: bool) -> Any:
    """The value with its texts in the place of what stands for them."""
    if isinstance(value, dict):
        if BLOB in value:
            return _text(blobs, value)
        if redacted and HASHED in value:
            return placeholder(value)
        if isinstance(inner := value.get(DICT), dict):
            value = inner  # the user's own, whatever its keys
        return {key: _with_texts(blobs, item, redacted) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_texts(blobs, item, redacted) for item in value]
    return value


def _text(blobs: Blobs, reference: dict[str, Any]) -> str:
    digest = reference[BLOB]
    if not is_digest(digest):
        raise ValueError(f"it names a text that cannot be: {str(digest)[:80]!r}")
    try:
        return blobs.get(digest, most_bytes(reference)).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise ValueError(f"a text of the journal is no UTF-8: {digest}") from None
