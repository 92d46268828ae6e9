"""Files of a run's folder: opened without waiting, held by one writer, brought to the disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, TypeVar

T = TypeVar("T")

# O_NONBLOCK: a FIFO of that name must be noticed, not waited for.
_OPEN = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_THREADS = 8
"""That bring files to the disk at once: the disk then commits several together."""
_FEW = 4
_PROBED_SECONDS = 0.25
"""How long a lock is tried for: whoever asks whether a run is going has it for a moment."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read it, without ever waiting for it. Raises :class:`OSError`.

    A pipe, a device and a folder are refused: a journal and its blobs are none.
    """
    return os.fdopen(descriptor_of(path, os.O_RDONLY), "rb")


def descriptor_of(path: Path, flags: int) -> int:
    """A descriptor of a regular file that is there. Raises :class:`OSError`; never waits."""
    descriptor = os.open(path, flags | _OPEN)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return descriptor


def private(path: str, flags: int) -> int:
    """An opener: what it makes, only its owner can read."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def lock(descriptor: int) -> bool:
    """Hold the file as its only writer, until it is closed; False where somebody else holds it.

    True as well where the file system has no locks (some network file systems): nobody can be told
    apart there.
    """
    until = time.monotonic() + _PROBED_SECONDS
    with contextlib.suppress(OSError):
        while not (free := _try(descriptor, fcntl.LOCK_EX)) and time.monotonic() < until:
            time.sleep(0.01)
        return free
    return True


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the file as its writer. None where that cannot be told."""
    try:
        descriptor = descriptor_of(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def unlock(descriptor: int) -> None:
    """Let others write to the file, even where a forked child has it open too."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def release(descriptor: int) -> None:
    """Close the file, and let others write to it."""
    unlock(descriptor)
    os.close(descriptor)


def _try(descriptor: int, kind: int) -> bool:
    """Whether the lock could be had. Raises :class:`OSError` where there are none."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync(descriptor: int) -> None:
    """Bring a file's content to the disk. Raises :class:`OSError` where the disk fails.

    A disk that cannot sync (some network and test file systems) still has what was written.
    """
    try:
        getattr(os, "fdatasync", os.fsync)(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EROFS):
            raise


def sync_path(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk; what is gone or fails is passed over."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | _OPEN)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def several(function: Callable[[T], None], items: Iterable[T]) -> None:
    """``function`` of each item, of many in up to eight threads at once; returns when all are done.

    For a few the threads would cost more than they save.
    """
    waiting = list(items)[::-1]
    if len(waiting) <= _FEW:
        for item in waiting:
            function(item)
        return

    def work() -> None:
        while True:
            try:
                item = waiting.pop()
            except IndexError:
                return
            function(item)

    threads = [
        threading.Thread(target=work, name="abyme-sync", daemon=True)
        for _ in range(min(_THREADS, len(waiting)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def link(source: Path, target: Path) -> None:
    """The file under a second name; a copy with its times where there can be no link.

    Raises :class:`OSError`.
    """
    try:
        os.link(source, target)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:  # another disk, or one without links
        with (
            open_regular(source) as file,
            open(target, "xb", opener=private) as copy,  # never into a file that is there
        ):
            while block := file.read(1 << 20):
                copy.write(block)
            found = os.fstat(file.fileno())
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
