"""One child process, started and ended for certain: its group, its end, its raw output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

from abyme.inside.channel import EXIT_UNREACHABLE

_RAW_BYTES = 4_000
CLOSED = "the cell closed the descriptor through which the REPL speaks to its host"


class ChildProcess:
    """A worker's process on the event loop. ``on_end`` is called when it is seen to have ended.

    ``Popen`` rather than asyncio's subprocesses, whose child watchers cost a thread for each.
    """

    def __init__(self, process: subprocess.Popen[bytes], on_end: Callable[[], None]) -> None:
        self._process = process
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._raw = bytearray()
        assert process.stdout is not None
        self._output = process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._loop.add_reader(self._output.fileno(), self._read_output)
        self._watch = self._watch_end()

    @property
    def pid(self) -> int:
        """The process id; also that of its process group."""
        return self._process.pid

    def interrupt(self) -> None:
        """SIGINT, where it is still there."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to it and to everything that it started and left in its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def reap(self, seconds: float | None = None) -> int | None:
        """The exit status once there is one; None where there is none within ``seconds``."""
        pause, waited = 0.0005, 0.0
        while (status := self._process.poll()) is None and (seconds is None or waited < seconds):
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 2, 0.05)
        return status

    async def end(self) -> None:
        """Kill, reap, and close what is held here. May be called again."""
        self.unwatch()
        self.kill()
        await self.reap()
        if not self._output.closed:
            self._read_output()
            self._loop.remove_reader(self._output.fileno())
            self._output.close()

    def forget_output(self) -> None:
        """A new cell begins: what was written before is not its output."""
        self._raw.clear()

    def output(self) -> str:
        """The beginning of what was written to descriptors 1 and 2 past Python."""
        if not self._output.closed:
            self._read_output()
        return self._raw.decode("utf-8", "replace")

    def unwatch(self) -> None:
        """Do not call ``on_end`` any more."""
        if self._watch is not None:
            self._loop.remove_reader(self._watch)
            os.close(self._watch)
            self._watch = None

    def _watch_end(self) -> int | None:
        """Notice its end even where a child of the code still holds the socket open (Linux)."""
        if not hasattr(os, "pidfd_open"):
            return None
        descriptor = os.pidfd_open(self._process.pid)
        self._loop.add_reader(descriptor, self._on_end)
        return descriptor

    def _read_output(self) -> None:
        try:
            data = os.read(self._output.fileno(), 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._output.fileno())
        self._raw += data[: max(0, _RAW_BYTES - len(self._raw))]


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
