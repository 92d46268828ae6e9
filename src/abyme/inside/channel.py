"""The worker's end of the stream to its host: frames out from any thread, frames in by one."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn

from .codec import Decoder, Frame, encode

MOST_DESCRIPTORS = 64
"""Descriptors that come beside one frame; Linux takes 253."""
EXIT_UNREACHABLE = 117
"""The status of a worker that cannot send to its host any more."""


def end_group() -> NoReturn:
    """End this process and those that model-written code started, where it may have any."""
    with contextlib.suppress(PermissionError):
        os.killpg(0, signal.SIGKILL)
    os._exit(EXIT_UNREACHABLE)


class Channel:
    """Sends and receives frames over the socket ``descriptor``.

    ``hung_up`` is called when the other side is gone; ``interrupts`` is entered while a frame is
    being written.
    """

    busy = True
    """False while whoever reads waits for more: what has come was then neither taken nor lost."""

    def __init__(
        self,
        descriptor: int,
        interrupts: AbstractContextManager[None],
        hung_up: Callable[[], NoReturn],
        decoder: Decoder | None = None,
    ) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._hung_up = hung_up
        self._lock = threading.Lock()
        self._interrupts = interrupts
        self._descriptors: deque[int] = deque()
        self._decoder = decoder or Decoder()

    def send(self, frame: Frame, descriptors: Sequence[int] = ()) -> None:
        """Send one frame, whole, from whatever thread; ``descriptors`` go beside it.

        Raises what :func:`.codec.encode` raises, before anything is sent. Where the host cannot
        be reached any more the process ends: there is nobody left to work for.
        """
        data = encode(frame)
        with self._interrupts, self._lock:
            try:
                if descriptors:
                    data = data[socket.send_fds(self._socket, [data], descriptors) :]
                self._socket.sendall(data)
            except OSError:
                os._exit(EXIT_UNREACHABLE)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the socket, and of what came by it and was not taken."""
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def take_descriptors(self) -> list[int]:
        """Those that came since, in order: what a handler takes came beside its frame.

        Fewer than were sent where this process had no room for more.
        """
        taken = list(self._descriptors)
        self._descriptors.clear()
        return taken

    def read(self) -> list[Frame]:
        """Wait for data and give the frames that are now whole; for one thread at a time.

        The host closing its end, on purpose or by dying, is the order to stop.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, MOST_DESCRIPTORS)
        except OSError:  # the cell closed the descriptor, or put something else in its place
            os._exit(EXIT_UNREACHABLE)
        self._descriptors.extend(descriptors)
        if not data:
            self._hung_up()
        return list(self._decoder.feed(data))

    def wait(self, other: int) -> bool:
        """Wait until there is something to read here (True) or at the descriptor ``other``."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        poll.register(other, select.POLLIN)
        self.busy = False
        try:
            ready = [descriptor for descriptor, _ in poll.poll()]
        except (OSError, ValueError):
            os._exit(EXIT_UNREACHABLE)
        self.busy = True
        return other not in ready
