"""One process of model-written code as its host holds it: what can be done to it, how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Protocol

from abyme.inside.channel import EXIT_UNREACHABLE
from abyme.sandbox.raw import RawOutput

CLOSED = "the cell closed the descriptor through which the REPL speaks to its host"


class Child(Protocol):
    """A process that runs a worker."""

    @property
    def pid(self) -> int:
        """The process id, also that of its process group; 0 where it has none on this machine."""

    @property
    def raw(self) -> RawOutput:
        """What it writes to descriptors 1 and 2 past Python."""

    def watch(self, on_end: Callable[[], None]) -> None:
        """Have ``on_end`` called when it is seen to have ended."""

    def unwatch(self) -> None:
        """Do not call it any more."""

    def interrupt(self) -> bool:
        """SIGINT, where it is still there. False where only a frame can ask for it."""

    async def settle(self) -> None:
        """Wait until interrupts that were asked for have reached it, or cannot any more.

        What is sent to it afterwards cannot overtake them.
        """

    def kill(self) -> None:
        """SIGKILL to it and to everything that it started and left in its group."""

    async def reap(self, seconds: float | None = None) -> int | None:
        """The exit status once there is one; None where there is none within ``seconds``."""

    async def end(self) -> None:
        """Kill, reap, and close what is held here. May be called again."""


class StartedChild:
    """A :class:`Child` that this process started.

    ``Popen`` rather than asyncio's subprocesses, whose child watchers cost a thread for each.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: int) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._watched: int | None = None
        self.raw = RawOutput(output)

    @property
    def pid(self) -> int:
        """See :class:`Child`."""
        return self._process.pid

    def watch(self, on_end: Callable[[], None]) -> None:
        """See :class:`Child`. Even where a child of its own holds the socket open (Linux)."""
        if hasattr(os, "pidfd_open"):
            self._watched = os.pidfd_open(self._process.pid)
            self._loop.add_reader(self._watched, on_end)

    def unwatch(self) -> None:
        """See :class:`Child`."""
        if self._watched is not None:
            self._loop.remove_reader(self._watched)
            os.close(self._watched)
            self._watched = None

    def interrupt(self) -> bool:
        """See :class:`Child`."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        return True

    async def settle(self) -> None:
        """See :class:`Child`; the kernel has it before :meth:`interrupt` returns."""

    def kill(self) -> None:
        """See :class:`Child`."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def reap(self, seconds: float | None = None) -> int | None:
        """See :class:`Child`."""
        pause, waited = 0.0005, 0.0
        while (status := self._process.poll()) is None and (seconds is None or waited < seconds):
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 2, 0.05)
        return status

    async def end(self) -> None:
        """See :class:`Child`."""
        self.unwatch()
        self.kill()
        await self.reap()
        self.raw.close()


def describe_exit(status: int) -> str:
    """How a process ended by itself, from ``Popen.returncode``."""
    if status == EXIT_UNREACHABLE:
        return CLOSED
    if status >= 0:
        return f"its process ended with status {status}, as os._exit({status}) does"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = {
        "SIGSEGV": ", a crash in native code",
        "SIGKILL": ", as the system does when memory runs out",
        "SIGSYS": ", as system calls in another machine's numbers are",
        "SIGBUS": ", as happens when a file shrinks while it is read",
    }.get(name, "")
    return f"its process was ended by {name}{hint}"
