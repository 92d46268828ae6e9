"""SIGINT as the host's way to end a cell, however it comes: as a signal, or as a frame."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .channel import Channel

_TURNS, _TURN_SECONDS = 2000, 2e-5
"""How often a thread that reads is given a turn by one signal, and how long each time."""


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
