"""Data that is handed over, written into the run's folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from abyme.context.documents import BLOCK, shown
from abyme.errors import DataError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ELSEWHERE = "keep runs elsewhere (--runs, ABYME_RUNS)"
_LEFT_FREE = 1 << 30
_LEFT_PART = 0.05
"""1 GiB of a disk is left free, or a twentieth of a small one: an endless pipe must not fill it."""
_CHECKED_EVERY = 64 << 20


def write(path: Path, slices: Iterable[bytes], written: Callable[[int], None]) -> os.stat_result:
    """Write ``slices`` to a new file; ``written`` is told the bytes so far after each of them.

    Raises :class:`DataError` where the disk does not take it, or little of it would be left free
    (asked every 64 MiB, so that what is small is taken anyhow); no part of a file is left then, nor
    where the slices or ``written`` raise.
    """
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                size, checked = 0, _CHECKED_EVERY
                for part in slices:
                    size += file.write(part)
                    written(size)
                    if size >= checked:
                        checked += _CHECKED_EVERY
                        _check_room(path.parent, size)
            return path.stat()
        except BaseException:
            path.unlink(missing_ok=True)  # half a text is none
            raise
    except OSError as error:
        advice = f"free some space, or {_ELSEWHERE}" if error.errno in _NO_ROOM else _ELSEWHERE
        where = shown(str(path.parent))
        raise DataError(f"{where} cannot take the data ({error.strerror}): {advice}") from error


def _check_room(folder: Path, size: int) -> None:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < min(_LEFT_FREE, _LEFT_PART * disk.f_blocks * disk.f_frsize):
        raise DataError(
            f"the disk of {shown(str(folder))} is nearly full after {size / 1e6:,.0f} MB of data: "
            f"hand over less (… | head -c 1G | abyme ask …), free some space, or {_ELSEWHERE}"
        )


def slices_of(given: str | bytes) -> Iterator[bytes]:
    """Text as UTF-8 in slices, so that no second whole copy of it exists at any time."""
    for start in range(0, len(given), BLOCK):
        part = given[start : start + BLOCK]
        # A surrogate is encoded by itself, so that slices join to exactly what the whole gives.
        yield part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
