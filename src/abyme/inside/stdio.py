"""A worker that speaks to its host over standard input and output.

They become private descriptors at once, and what takes their places leads nowhere (input) and to
standard error (output): neither ``print`` nor a write to descriptor 1 ever touches the frames.
Signals cannot be sent from outside, so that interrupts come as frames. Where standard input is a
socket of this machine, descriptors come through it as they do without a command between.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn

from .channel import EXIT_UNREACHABLE, Channel, end_group
from .codec import Frame, encode
from .interrupts import Interrupts
from .lockdown.kernel import control
from .main import Inherited, serve
from .rawframes import RawDecoder

_PR_SET_PDEATHSIG = 1
_READ = 1 << 16


def main() -> None:
    """Serve the host over descriptors 0 and 1. Never returns, but where it cannot be held."""
    with contextlib.suppress(OSError, AttributeError):  # Linux's own
        control(_PR_SET_PDEATHSIG, signal.SIGKILL)
    read, write = _private()
    interrupts = Interrupts()
    if _is_one_socket(read, write):
        os.close(write)
        channel = Channel(read, interrupts, end_group, RawDecoder())
    else:
        channel = PipeChannel(read, write, interrupts, end_group)
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it is then only slower to stop
        interrupts.heed(channel)
    serve(channel, interrupts, Inherited(), interrupts_by_frame=True)


def _private() -> tuple[int, int]:
    """Descriptors 0 and 1 under other numbers, which nothing inherits."""
    read, write = os.dup(0), os.dup(1)
    try:
        nowhere = os.open(os.devnull, os.O_RDONLY)
    except OSError:  # a place without devices: what nobody writes to is as empty
        nowhere, other = os.pipe()
        os.close(other)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    return read, write


def _is_one_socket(read: int, write: int) -> bool:
    one, other = os.fstat(read), os.fstat(write)
    return stat.S_ISSOCK(one.st_mode) and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


class PipeChannel(Channel):
    """A :class:`.channel.Channel` over two descriptors of any kind. None can be passed by it."""

    def __init__(
        self,
        read: int,
        write: int,
        interrupts: AbstractContextManager[None],
        hung_up: Callable[[], NoReturn],
    ) -> None:
        self._read = read
        self._write = write
        self._hung_up = hung_up
        self._lock = threading.Lock()
        self._interrupts = interrupts
        self._decoder = RawDecoder()
        self._descriptors = deque()

    def send(self, frame: Frame, descriptors: Sequence[int] = ()) -> None:
        """See :class:`.channel.Channel`; ``descriptors`` stay here."""
        data = memoryview(encode(frame))
        with self._interrupts, self._lock:
            try:
                while data:
                    data = data[os.write(self._write, data) :]
            except OSError:
                os._exit(EXIT_UNREACHABLE)

    def fileno(self) -> int:
        """The descriptor that is read."""
        return self._read

    def close(self) -> None:
        """Let go of both."""
        os.close(self._read)
        os.close(self._write)

    def read(self) -> list[Frame]:
        """See :class:`.channel.Channel`."""
        try:
            data = os.read(self._read, _READ)
        except OSError:
            os._exit(EXIT_UNREACHABLE)
        if not data:
            self._hung_up()
        return list(self._decoder.feed(data))
