"""The host's end of a worker's socket, on the event loop: frames and descriptors."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from abyme.inside.codec import Decoder, Frame, FrameError, encode

_READ = 1 << 18
HUNG_UP = "it hung up"


class Channel:
    """Frames to and from one worker.

    ``on_frame`` gets each frame; ``on_end`` is called once, with the reason, when the worker hangs
    up or sends what is no frame. No backpressure towards the worker is needed: what it may send
    is bounded by its calls in flight and the caps on its output.
    """

    def __init__(
        self,
        end: socket.socket,
        on_frame: Callable[[Frame], None],
        on_end: Callable[[str], None],
    ) -> None:
        end.setblocking(False)
        self._socket = end
        self._on_frame = on_frame
        self._on_end = on_end
        self._decoder = Decoder()
        self._waiting: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._most_descriptors = 0
        self._descriptors: list[int] = []
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._loop.add_reader(end.fileno(), self._readable)

    def send(self, frame: Frame, descriptors: Sequence[int] = ()) -> None:
        """Send a frame, now or as soon as the socket takes it.

        ``descriptors`` go beside it and are closed here once they are sent.
        """
        if self._closed:
            _close(descriptors)
            return
        self._waiting.append((memoryview(encode(frame)), descriptors))
        if len(self._waiting) == 1:
            self._flush()
            if self._waiting:
                self._loop.add_writer(self._socket.fileno(), self._writable)

    def accept_descriptors(self, most: int) -> None:
        """Take that many descriptors beside what comes; the kernel closes those above.

        For as long as the other side can be trusted: from 0 on, which is the beginning, none.
        """
        self._most_descriptors = most

    def take_descriptors(self) -> list[int]:
        """Those that came, for the caller to close."""
        taken, self._descriptors = self._descriptors, []
        return taken

    def close(self) -> None:
        """Hang up. The worker takes that as the order to end."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for _, descriptors in self._waiting:
            _close(descriptors)
        self._waiting.clear()
        _close(self.take_descriptors())

    def disown(self) -> None:
        """In a forked copy of this process, whose event loop is not its own: only let go."""
        self._closed = True
        self._socket.close()

    def _readable(self) -> None:
        try:
            if self._most_descriptors:
                data, came, _, _ = socket.recv_fds(self._socket, _READ, self._most_descriptors)
                self._descriptors += came
            else:
                data = self._socket.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end(HUNG_UP)
            return
        try:
            for frame in self._decoder.feed(data):
                if self._closed:
                    return
                self._on_frame(frame)
        except FrameError as error:
            self._end(f"it sent what is no frame ({error})")

    def _writable(self) -> None:
        self._flush()
        if not self._waiting:
            self._loop.remove_writer(self._socket.fileno())

    def _flush(self) -> None:
        while self._waiting:
            data, descriptors = self._waiting[0]
            ancillary = []
            if descriptors:
                rights = array.array("i", descriptors)
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            try:
                sent = self._socket.sendmsg([data], ancillary)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                return  # the reader sees the end too, and says so
            _close(descriptors)
            if sent < len(data):
                self._waiting[0] = (data[sent:], ())
                continue
            self._waiting.popleft()

    def _end(self, reason: str) -> None:
        if not self._closed:
            self.close()
            self._on_end(reason)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
