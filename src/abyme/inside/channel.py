"""The worker's end of the stream to its host: frames out from any thread, frames in by one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import NoReturn

from .codec import Decoder, Frame, encode

MOST_DESCRIPTORS = 64
"""Descriptors that come beside one frame; Linux takes 253."""
_TURNS, _TURN_SECONDS = 2000, 2e-5
"""How long it may take, and between two looks."""
EXIT_UNREACHABLE = 117
"""The status of a worker that cannot send to its host any more."""


class Interrupts:
    """SIGINT as the host's way to end a cell, and never anything but a cell.

    A ``KeyboardInterrupt`` in the middle of a frame would break the stream and one between two
    cells would break the worker. So it is raised only while a cell runs, and where the main
    thread is inside a ``with`` of this object, as soon as it leaves that.
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

    def ask(self) -> None:
        """SIGINT to the main thread, for a host that cannot send it; from the thread that reads."""
        if (main := threading.main_thread().ident) is not None:
            signal.pthread_kill(main, signal.SIGINT)

    def heed(self, channel: Channel) -> None:
        """Let what comes by ``channel`` be read also while C code keeps other threads waiting.

        A regular expression at work looks for signals, but never lets go of the interpreter: the
        thread that reads would not get to the frame that asks for the interrupt. So the kernel
        tells of input by a signal, whose handler gives that thread a turn.
        """
        descriptor = channel.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)

        waiting = False

        def on_input(number: int, frame: FrameType | None) -> None:
            nonlocal waiting
            if waiting:  # a signal in the midst of the loop below, which sees its input too
                return
            waiting = True
            try:
                turns = _TURNS if self.cell_running else 0
                while turns and (channel.busy or poll.poll(0)):
                    turns -= 1
                    time.sleep(_TURN_SECONDS)
            finally:
                waiting = False

        signal.signal(signal.SIGIO, on_input)
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)


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
            data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 18, MOST_DESCRIPTORS)
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


class Reception:
    """Who reads the channel: the main thread between cells, a thread of its own during one.

    Handing every frame from one thread to another would cost each cell two switches of threads, so
    the main thread reads for itself. While it runs a cell, replies to host calls must be read by
    somebody else: the thread takes over when the cell makes its first call, and at the start of a
    cell where calls of earlier ones are still under way, or where interrupts come as frames
    (``always``).
    """

    def __init__(self, channel: Channel, interrupts: Interrupts, always: bool = False) -> None:
        self._channel = channel
        self._interrupts = interrupts
        # Elsewhere than on Linux only a reader notices that the host is gone.
        self._always = always or not sys.platform.startswith("linux")
        self._inbox: deque[Frame] = deque()
        self._lock = threading.Lock()
        self._cell_running = False
        self._engaged = False
        self._go = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._wake_read, self._wake_write = os.pipe()
        self._handle: Callable[[Frame], bool] = _not_handled

    def start(self, handle: Callable[[Frame], bool]) -> None:
        """Begin. ``handle`` is given each frame and says whether it was for it."""
        self._handle = handle
        threading.Thread(target=self._take_turns, daemon=True, name="frames").start()

    def next(self) -> Frame:
        """The next frame that no handler takes; for the main thread, between cells."""
        while not self._inbox:
            self._sort(self._channel.read())
        return self._inbox.popleft()

    def cell_begins(self, calls_pending: Callable[[], bool], *, listening: bool = False) -> None:
        """The main thread will not read until :meth:`cell_ended`.

        ``listening``: what the host says meanwhile is to be heard at once.
        """
        with self._interrupts, self._lock:
            self._cell_running = True
            # Asked under the lock: a call that is not pending yet will find the cell running.
            if listening or self._always or calls_pending():
                self._engage()

    def call_made(self) -> None:
        """A call was sent: from any thread, before its reply is waited for."""
        with self._interrupts, self._lock:
            if self._cell_running:
                self._engage()

    def cell_ended(self) -> None:
        """The main thread wants to read again, and waits until it is the only one."""
        with self._lock:
            self._cell_running = False
            engaged, self._engaged = self._engaged, False
        if engaged:
            os.write(self._wake_write, b"x")
            self._back.acquire()

    def _engage(self) -> None:
        if not self._engaged:
            self._engaged = True
            self._go.release()

    def _take_turns(self) -> None:
        try:
            while True:
                self._go.acquire()
                while self._channel.wait(self._wake_read):
                    self._sort(self._channel.read())
                os.read(self._wake_read, 1)
                self._back.release()
        except BaseException:  # deaf, the worker would only make its host wait
            os._exit(EXIT_UNREACHABLE)

    def _sort(self, frames: list[Frame]) -> None:
        for frame in frames:
            if not self._handle(frame):
                self._inbox.append(frame)


def _not_handled(frame: Frame) -> bool:
    return False
