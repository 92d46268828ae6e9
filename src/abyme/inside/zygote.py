"""A warm process that forks workers, and runs no code of a model itself.

It has imported what a worker needs and made Landlock's rules, so that a worker is there in a few
milliseconds. One that holds a run's text (a *data zygote*) is forked from it: the workers forked
from that share one copy of the ``str``, as long as nobody writes to its pages, and nobody can.

The host sends, each with the number ``id`` that it gives the process it speaks of:

- ``fork``: a new process; beside the frame come its own socket to the host and where its standard
  output goes. ``as``: ``worker`` or ``zygote``.
- ``signal``: a signal to it; SIGKILL goes to its whole process group.
- ``text`` (to a data zygote): build the text of a document, whose descriptor comes beside it.
- ``prepare`` (first of all): make Landlock's rules, for these packages.

It answers ``forked`` (with the pid), ``interrupted`` (a SIGINT is out), ``ended`` (with the exit
status) and ``text``.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
from typing import Any, Literal, NamedTuple, NoReturn

from .channel import Channel
from .codec import Frame
from .decoding import decoder, str_bytes
from .lockdown.kernel import control
from .lockdown.landlock import Ruleset
from .lockdown.lock import prepare
from .main import Inherited
from .main import main as work
from .mapped import Mapped

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


class Fork(NamedTuple):
    """What a process that was just forked is to be."""

    kind: Literal["worker", "zygote"]
    descriptor: int
    inherited: Inherited


def main(descriptor: int) -> None:
    """Serve the host over the socket ``descriptor``, in this process and in those forked from it.

    Returns only where a worker does.
    """
    fork = Zygote(descriptor, None).serve()
    while fork.kind == "zygote":
        fork = Zygote(fork.descriptor, fork.inherited.rules).serve()
    work(fork.descriptor, fork.inherited)


def _control(option: int, value: int) -> None:
    """``prctl``, which is Linux's: elsewhere what it would do is left to the end of the socket."""
    with contextlib.suppress(OSError, AttributeError):
        control(option, value)


def _end_with_parent(number: signal.Signals) -> None:
    """Get this signal when the thread that started this process ends, however that happens."""
    _control(_PR_SET_PDEATHSIG, number)


class Zygote:
    """One zygote. It has a single thread, which is what makes forking it safe."""

    def __init__(self, descriptor: int, rules: Ruleset | None) -> None:
        self._channel = Channel(descriptor, contextlib.nullcontext(), self._end_all)
        self._rules = rules
        self._text: str | None = None
        self._numbers: dict[int, int] = {}
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, lambda number, frame: self._end_all())
        # Ctrl-C in a terminal is for the host, which ends its workers in its own way.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _end_with_parent(signal.SIGTERM)
        _control(_PR_SET_CHILD_SUBREAPER, 1)
        # No process of the same user may read its memory, from which workers are made.
        _control(_PR_SET_DUMPABLE, 0)
        # What is here now is shared with all that will be forked, and no collection writes to it.
        gc.disable()
        gc.freeze()

    def serve(self) -> Fork:
        """Do what the host asks until it hangs up; returns in each forked process instead."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._wake_read in ready:
                os.read(self._wake_read, 1 << 12)
                self._bury()
            if self._channel.fileno() in ready:
                for frame in self._channel.read():
                    if (fork := self._handle(frame)) is not None:
                        return fork

    def _handle(self, frame: Frame) -> Fork | None:
        match frame["t"]:
            case "prepare":
                self._rules = prepare(frame["packages"])
            case "fork":
                return self._fork(frame)
            case "signal":
                self._signal(frame["id"], frame["signal"])
                if frame["signal"] == signal.SIGINT:
                    self._channel.send({"t": "interrupted", "id": frame["id"]})
            case "text":
                self._build(frame)
        return None

    def _fork(self, frame: Frame) -> Fork | None:
        """A new process; the Fork in it, None here."""
        own, output = self._channel.take_descriptors()
        here = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(own)
            os.close(output)
            reason = str(error)
            self._channel.send({"t": "ended", "id": frame["id"], "status": 1, "reason": reason})
            return None
        if pid == 0:
            self._leave(here, output)
            return Fork(frame["as"], own, Inherited(self._rules, self._text))
        os.close(own)
        os.close(output)
        self._numbers[pid] = frame["id"]
        self._channel.send({"t": "forked", "id": frame["id"], "pid": pid})
        return None

    def _leave(self, parent: int, output: int) -> None:
        """In the forked process: nothing of the zygote's own remains but what it is to share."""
        os.setsid()
        _end_with_parent(signal.SIGKILL)
        if os.getppid() != parent:  # it ended before it could be heard of
            os._exit(1)
        # The kernel's files about itself are its own to open again; its lockdown ends that.
        _control(_PR_SET_DUMPABLE, 1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        self._channel.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        gc.enable()

    def _signal(self, number: int, signalled: int) -> None:
        for pid, its_number in self._numbers.items():
            if its_number == number:
                send = os.killpg if signalled == signal.SIGKILL else os.kill
                # Its group is not there in the moment before it has made it.
                # And what has become another user's (setuid, where code is not held) is not ours.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    send(pid, signalled)
                if signalled == signal.SIGKILL:
                    with contextlib.suppress(PermissionError):
                        os.kill(pid, signalled)

    def _bury(self) -> None:
        """Tell of those that ended; what they started and left goes with them."""
        while (pid := _ended()) is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # before its number can be another's
            _, status = os.waitpid(pid, 0)
            if (number := self._numbers.pop(pid, None)) is not None:
                code = os.waitstatus_to_exitcode(status)
                self._channel.send({"t": "ended", "id": number, "status": code, "reason": ""})
                self._end_orphans()

    def _end_orphans(self) -> None:
        """Kill what unconfined code left behind in groups of its own: it has come to us."""
        for pid in _children():
            if pid not in self._numbers:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def _build(self, frame: Frame) -> None:
        """The ``str`` of a document, where it fits ``limit`` bytes of memory."""
        (descriptor,) = self._channel.take_descriptors()
        try:
            self._text = _text(descriptor, frame)
        except (OSError, ValueError, MemoryError):
            self._channel.send({"t": "text", "built": False})
            return
        finally:
            os.close(descriptor)
        gc.freeze()
        self._channel.send({"t": "text", "built": self._text is not None})

    def _end_all(self) -> NoReturn:
        """The host is gone, and with it the reason for all of them."""
        for pid in self._numbers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        while children := _children():
            for pid in children:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, 0)
        os._exit(0)


def _ended() -> int | None:
    """A child that has ended and is not buried yet."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _children() -> list[int]:
    """All children of this process, those included that came to it when their parents ended."""
    try:
        descriptor = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY)
    except OSError:  # another system, or a kernel that does not list them
        return []
    try:
        return [int(pid) for pid in os.read(descriptor, 1 << 16).split()]
    finally:
        os.close(descriptor)


def _text(descriptor: int, document: dict[str, Any]) -> str | None:
    """The text of a document, as :meth:`.documents.Store.text` would build it."""
    decode = decoder(document["encoding"], document["errors"])
    size, start = document["bytes"], document["bom"]
    data = Mapped.of(descriptor, size)
    if len(data) != size or str_bytes(data, decode, start, document["limit"]) is None:
        return None
    text = decode.decode(data, start, size)
    data.close()
    return text
