"""The worker's end of the private socket: frames out from any thread, frames in by one."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType

from .codec import Decoder, Frame, encode

EXIT_UNREACHABLE = 117
"""The status of a worker that cannot send to its host any more."""


class Interrupts:
    """SIGINT as the host's way to end a cell, and never anything but a cell.

    A ``KeyboardInterrupt`` in the middle of a frame would break the stream and one between two
    cells would break the worker. So it is raised only while a cell runs, and where the main
    thread is inside :meth:`hold`, as soon as it leaves.
    """

    def __init__(self) -> None:
        self.cell_running = False
        self._held = 0
        self._pending = False
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.cell_running:
            return
        if self._held:
            self._pending = True
            return
        raise KeyboardInterrupt

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._held += 1

    def __exit__(self, *exc_info: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._held -= 1
        if self._pending and not self._held:
            self._pending = False
            if self.cell_running:
                raise KeyboardInterrupt


class Channel:
    """Sends and receives frames over the socket ``descriptor``."""

    def __init__(self, descriptor: int, interrupts: Interrupts) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lock = threading.Lock()
        self._interrupts = interrupts
        self._descriptors: deque[int] = deque()

    def send(self, frame: Frame) -> None:
        """Send one frame, whole, from whatever thread.

        Raises what :func:`.codec.encode` raises, before anything is sent. Where the host cannot
        be reached any more the process ends: there is nobody left to work for.
        """
        data = encode(frame)
        with self._interrupts, self._lock:
            try:
                self._socket.sendall(data)
            except OSError:
                os._exit(EXIT_UNREACHABLE)

    def take_descriptor(self) -> int:
        """The oldest descriptor that came beside a frame; for the handler of that frame."""
        return self._descriptors.popleft()

    def receive(self, handle: Callable[[Frame], None]) -> None:
        """Read frames for ever, in the thread that calls it; ends the process at end of file.

        The host closing its end, on purpose or by dying, is the order to stop: the whole process
        group goes, so that children of model-written code go too.
        """
        decoder = Decoder()
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 18, 16)
            except OSError:  # the cell closed the descriptor, or put something else in its place
                os._exit(EXIT_UNREACHABLE)
            self._descriptors.extend(descriptors)
            if not data:
                os.killpg(0, signal.SIGKILL)
            try:
                for frame in decoder.feed(data):
                    handle(frame)
            except BaseException:  # deaf, it would only make its host wait
                os._exit(EXIT_UNREACHABLE)
