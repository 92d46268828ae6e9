"""Data that is handed over, written into the run's folder: under a name, or under none."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
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
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def write(path: Path, slices: Iterable[bytes], written: Callable[[int], None]) -> os.stat_result:
    """Write ``slices`` to a new file; ``written`` is told the bytes so far after each of them.

    Raises :class:`DataError` where the disk does not take it, or little of it would be left free
    (asked every 64 MiB, so that what is small is taken anyhow); no part of a file is left then, nor
    where the slices or ``written`` raise.
    """
    with _advised(path.parent):
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, _NEW, 0o600)
        try:
            _fill(descriptor, path.parent, slices, written)
            return path.stat()
        except BaseException:
            path.unlink(missing_ok=True)  # half a text is none
            raise


def write_unnamed(folder: Path, slices: Iterable[bytes], written: Callable[[int], None]) -> int:
    """:func:`write` to a file in ``folder`` that has no name; a descriptor to read it from.

    Its name is gone before its first byte is there. So it ends with the last descriptor of it,
    by whatever signal the process that has this one does. Raises as :func:`write`.
    """
    with _advised(folder):
        path = folder / f"{secrets.token_hex(8)}.part"
        writer = os.open(path, _NEW, 0o600)
        try:
            # A second descriptor: what is handed to a worker must not be one to write with.
            reader = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except BaseException:
            os.close(writer)
            raise
        finally:
            path.unlink(missing_ok=True)
        try:
            _fill(writer, folder, slices, written)
        except BaseException:
            os.close(reader)
            raise
        return reader


@contextlib.contextmanager
def _advised(folder: Path) -> Iterator[None]:
    """Say what to do where ``folder`` takes no file. Raises :class:`DataError`."""
    try:
        yield
    except OSError as error:
        advice = _ELSEWHERE
        if error.errno in _NO_ROOM:
            advice = f"free some space, or {_ELSEWHERE}"
        elif error.errno in (errno.EMFILE, errno.ENFILE):
            advice = "raise `ulimit -n`, or hand over files by their paths"
        where = shown(str(folder))
        raise DataError(f"{where} cannot take the data ({error.strerror}): {advice}") from error


def _fill(
    descriptor: int, folder: Path, slices: Iterable[bytes], written: Callable[[int], None]
) -> None:
    """Write ``slices`` to a file in ``folder``, and close it."""
    with os.fdopen(descriptor, "wb") as file:
        size, checked = 0, _CHECKED_EVERY
        for part in slices:
            size += file.write(part)
            written(size)
            if size >= checked:
                checked += _CHECKED_EVERY
                _check_room(folder, size)


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
