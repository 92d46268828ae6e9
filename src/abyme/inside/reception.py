"""Who reads the channel: the main thread between cells, a thread of its own during one."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable

from .channel import EXIT_UNREACHABLE, Channel
from .codec import Frame
from .interrupts import Interrupts


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
