"""A stream as data: what is piped in, read to its end and never whole in memory."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from abyme.context.documents import BLOCK, shown
from abyme.context.progress import Progress
from abyme.errors import DataError

_STEP = 50
"""Milliseconds for which a stream that sends nothing is waited for at once."""
_LAST_WORD = 0.05
"""Seconds from the end of a pipe in which an interruption of the run still counts: Ctrl-C goes to
all of a pipeline, and the end of whoever sends arrives before our own signal is acted on."""


class Stream(Protocol):
    """A binary file object: ``sys.stdin.buffer``, ``open(path, "rb")``, ``gzip.open(path)``."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        ...


def is_stream(piece: object) -> TypeGuard[Stream]:
    """Whether a piece of the context is something that can be read."""
    return callable(getattr(piece, "read", None))


def stream_name(stream: Stream) -> str:
    """The last component of the stream's name; "stdin" where it has none."""
    name = getattr(stream, "name", None)
    if not isinstance(name, str) or name == "<stdin>":
        return "stdin"
    return Path(name).name or "stdin"


def stream_slices(stream: Stream, name: str, progress: Progress) -> Iterator[bytes]:
    """All that the stream gives, in slices of at most 1 MiB.

    ``progress`` hears every few milliseconds while nothing comes, where the stream has a
    descriptor that can be waited for, and at the end; what it raises ends the reading. Raises
    :class:`DataError` for a stream that gives text, or cannot be read.
    """
    what = "standard input" if name == "stdin" else shown(name)
    if isinstance(stream, io.TextIOBase):
        raise DataError(_as_text(what))
    # `read` of a buffered stream waits until all it was asked for has come.
    read: Callable[[int], Any] = getattr(stream, "read1", stream.read)
    descriptor = _descriptor(stream)
    ready = _readiness(descriptor)
    while True:
        while not ready():
            progress.beat()
        try:
            part = read(BLOCK)
        except DataError:
            raise
        except Exception as error:  # whatever somebody's stream raises, the data is not there
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DataError(f"{what} cannot be read ({shown(why)}): check what sends it") from error
        if part is None:  # nothing has come to a stream that does not block
            progress.beat()
            continue
        if not isinstance(part, bytes | bytearray):
            raise DataError(_as_text(what))
        if not part:
            if _is_sent(descriptor):
                time.sleep(_LAST_WORD)
                progress.tell()
            return
        yield bytes(part)


def _as_text(what: str) -> str:
    return f'{what} gives text, not bytes: pass sys.stdin.buffer, or open the file with "rb"'


def _descriptor(stream: Stream) -> int | None:
    try:
        descriptor: object = stream.fileno()  # type: ignore[attr-defined]
    except Exception:  # none, or closed: reading says so
        return None
    return descriptor if isinstance(descriptor, int) else None


def _is_sent(descriptor: int | None) -> bool:
    """Whether somebody sends what is read: it comes from a pipe or a socket, not from a file."""
    if descriptor is None:
        return False
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _readiness(descriptor: int | None) -> Callable[[], bool]:
    """A test that waits a moment and says whether reading would wait no longer."""
    if descriptor is None:
        return lambda: True
    with contextlib.suppress(AttributeError, OSError):  # no pipe, or not Linux
        # A pipe that holds as much as is read at once: 2 GB come through in half the time.
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, BLOCK)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLPRI)
    return lambda: bool(poll.poll(_STEP))
