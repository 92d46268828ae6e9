"""The host's end of a worker's socket, on the event loop: frames and descriptors."""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import socket
import termios
from collections import deque
from collections.abc import Callable, Sequence

from abyme.inside.codec import Decoder, Frame, FrameError, encode
from abyme.inside.hits import cut_end

_READ = 1 << 16
"""Bytes taken at once. From twice as many on each read would be a mapping of its own, made and
given back: a fifth of what a small cell takes."""
_READS = 16
"""So often, while a frame is not whole yet: a long one would wait for a turn of the loop with
every 64 kB, behind all that the frame before it has begun."""
HUNG_UP = "it hung up"
MOST_QUEUED = 64 << 20
"""Bytes that wait to be sent, from which on nothing more is read."""


class Channel:
    """Frames to and from one worker.

    ``on_frame`` gets each frame; ``on_end`` is called once, with the reason, when the worker hangs
    up or sends what is no frame. A worker that does not read what it is sent is not read either:
    what it cannot send makes no more work.
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
        self._queued = 0
        self._room = asyncio.Event()
        self._room.set()
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
        self._queue(encode(frame), descriptors)

    def send_bytes(self, data: bytes) -> None:
        """The same for bytes that are no frame, where the other side knows what they are."""
        if not self._closed:
            self._queue(data, ())

    def _queue(self, raw: bytes, descriptors: Sequence[int]) -> None:
        data = memoryview(raw)
        self._waiting.append((data, descriptors))
        self._queued += len(data)
        if len(self._waiting) == 1:
            self._flush()
            if self._waiting and not self._closed:
                self._loop.add_writer(self._socket.fileno(), self._writable)
        if self._queued > MOST_QUEUED and self._room.is_set() and not self._closed:
            self._room.clear()
            self._loop.remove_reader(self._socket.fileno())

    async def room(self) -> None:
        """Wait while more is queued than may be."""
        # All who wait wake together, and the first of them may fill it up again.
        while not self._room.is_set():
            await self._room.wait()

    def all_read(self) -> bool:
        """Whether the other side has read all that was sent; True where the system cannot say."""
        if self._closed or self._waiting:
            return self._closed
        unread = array.array("i", [0])
        try:
            fcntl.ioctl(self._socket, termios.TIOCOUTQ, unread)
        except OSError:
            return True
        return unread[0] == 0

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
        self._room.set()
        for _, descriptors in self._waiting:
            _close(descriptors)
        self._waiting.clear()
        _close(self.take_descriptors())

    def disown(self) -> None:
        """In a forked copy of this process, whose event loop is not its own: only let go."""
        self._closed = True
        self._socket.close()

    def _readable(self) -> None:
        for _ in range(_READS):
            try:
                data = self._receive()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self._end(HUNG_UP)
                return
            whole = False
            try:
                for frame in self._decoder.feed(data):
                    if self._closed:
                        return
                    whole = True
                    self._on_frame(frame)
            except FrameError as error:
                self._end(f"it sent what is no frame ({cut_end(str(error), 200)})")
                return
            if whole or len(data) < _READ:
                return

    def _receive(self) -> bytes:
        if not self._most_descriptors:
            return self._socket.recv(_READ)
        data, came, _, _ = socket.recv_fds(self._socket, _READ, self._most_descriptors)
        self._descriptors += came
        return data

    def _writable(self) -> None:
        self._flush()
        if self._closed:
            return
        if not self._waiting:
            self._loop.remove_writer(self._socket.fileno())
        if self._queued < MOST_QUEUED // 2 and not self._room.is_set():
            self._room.set()
            self._loop.add_reader(self._socket.fileno(), self._readable)

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
            except OSError as error:
                gone = isinstance(error, BrokenPipeError | ConnectionResetError)
                self._end(HUNG_UP if gone else f"it cannot be written to ({error.strerror})")
                return
            _close(descriptors)
            self._queued -= sent
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
