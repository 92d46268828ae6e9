"""Where a journal that is there goes on: its last lines, and another run's first lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from abyme.errors import JournalError
from abyme.journal.blobs import Blobs
from abyme.journal.files import link, open_regular, private
from abyme.journal.format import (
    BLOB,
    DATA,
    FIRST_PREV,
    JOURNAL,
    UNNAMED,
    blob_references,
    is_digest,
    line_hash,
)

_CHUNK = 64 * 1024


class Tail(msgspec.Struct, frozen=True):
    """After which line the next one follows."""

    sequence: int
    """The number of the next line."""
    previous: str
    """The hash of the last one."""
    at: float
    """The time of the last one."""
    torn_bytes: int = 0
    """That were cut off behind it."""


def mend(descriptor: int, path: Path) -> Tail:
    """Find the end of the journal and cut off a line that was never finished.

    Only the last two lines are looked at. A whole line that only misses its line break gets it: a
    reader takes it for an event. Raises :class:`JournalError` where these lines are none of a
    journal, and :class:`OSError`.
    """
    size = os.fstat(descriptor).st_size
    lines, rest = _last_lines(descriptor, size)
    unfinished = bool(rest) and _parse(rest) is not None
    if unfinished:
        lines, rest = [*lines, rest], b""
    torn = len(rest)
    if lines and _parse(lines[-1]) is None:
        torn += len(lines.pop()) + 1
    tail = _tail(lines, path)
    if unfinished:
        os.write(descriptor, b"\n")  # the file is open to append
    if torn:
        os.ftruncate(descriptor, size - torn)
    return msgspec.structs.replace(tail, torn_bytes=torn)


def copy_lines(parent: Path, folder: Path, count: int) -> Tail:
    """Begin a journal in ``folder`` with the first ``count`` lines of ``parent``'s, as they are.

    It has no name yet (:data:`~abyme.journal.format.UNNAMED`). The blobs that the lines
    name, and all data, are there under a second name. Raises :class:`JournalError` where
    the parent has not as many whole lines, and :class:`OSError`.
    """
    previous, at = FIRST_PREV, 0.0
    blobs, others = Blobs(folder), Blobs(parent)
    with (
        open_regular(parent / JOURNAL) as source,
        open(folder / UNNAMED, "xb", opener=private) as copy,
    ):
        for number in range(count):
            line = source.readline().removesuffix(b"\n")
            raw = _parse(line)
            if raw is None:
                raise JournalError(f"{parent / JOURNAL} has no whole line {number + 1}")
            if raw.get("seq") != number or raw.get("prev") != previous:
                raise JournalError(f"{parent / JOURNAL}: line {number + 1} does not follow")
            for reference in blob_references(raw):
                if not is_digest(digest := reference[BLOB]):
                    raise JournalError(f"{parent / JOURNAL}: line {number + 1} names no text")
                blobs.link_from(others, digest)
            copy.write(line + b"\n")
            previous, at = line_hash(line), _at(raw)
    if (parent / DATA).is_dir():
        (folder / DATA).mkdir(mode=0o700)
        for path in sorted((parent / DATA).iterdir()):
            link(path, folder / DATA / path.name)
    return Tail(count, previous, at)


def is_without_texts(path: Path) -> bool:
    """Whether the journal's first event says that texts are kept as hashes."""
    with open_regular(path) as file:
        first = _parse(file.readline())
    return first is not None and first.get("redacted") is True


def _last_lines(descriptor: int, size: int) -> tuple[list[bytes], bytes]:
    """Up to three lines from the end, and what stands behind the last line break."""
    reach = _CHUNK
    while True:
        start = max(0, size - reach)
        lines = _pread(descriptor, start, size - start).split(b"\n")
        rest = lines.pop()
        if start == 0:
            return lines[-3:], rest
        if len(lines) > 3:  # the first of them is not whole
            return lines[-3:], rest
        reach *= 4


def _pread(descriptor: int, start: int, length: int) -> bytes:
    parts = []
    while length and (part := os.pread(descriptor, length, start)):
        parts.append(part)
        start, length = start + len(part), length - len(part)
    return b"".join(parts)


def _tail(lines: list[bytes], path: Path) -> Tail:
    if not lines:
        raise JournalError(f"{path} has no whole line: there is nothing to go on from")
    last = _parse(lines[-1])
    before = _parse(lines[-2]) if len(lines) > 1 else {"seq": -1}
    previous = line_hash(lines[-2]) if len(lines) > 1 else FIRST_PREV
    if last is None or before is None:
        raise JournalError(f"{path}: its last lines are damaged")
    sequence = last.get("seq")
    follows = isinstance(sequence, int) and before.get("seq") == sequence - 1
    if not isinstance(sequence, int) or not follows or last.get("prev") != previous:
        raise JournalError(f"{path}: its last line does not follow the one before")
    return Tail(sequence + 1, line_hash(lines[-1]), _at(last))


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return raw if isinstance(raw, dict) else None


def _at(raw: dict[str, Any]) -> float:
    at = raw.get("at")
    return float(at) if isinstance(at, int | float) and 0 <= at <= 1e11 else 0.0
