"""What there is to be attacked: files, a process, servers; all made here and taken away again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

_VICTIM = """
import ctypes, os, signal, sys, time
def signalled(*_):
    os.close(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY))
signal.signal(signal.SIGUSR1, signalled)
buffer = ctypes.create_string_buffer(b'secret'.ljust(15, b'.'), 16)
print(ctypes.addressof(buffer), flush=True)
until = time.monotonic() + 60
while time.monotonic() < until: time.sleep(1)
"""


@contextlib.contextmanager
def world(folder: Path) -> Iterator[SimpleNamespace]:
    """Everything that an attempt may be after, as names of ``W``."""
    home, room, other, data = (folder / name for name in ("home", "room", "other-run", "data"))
    for each in (home / ".ssh", room / "empty", other, data):
        each.mkdir(parents=True)
    for path in (home / ".ssh" / "id", other / "data", other / "journal.jsonl", data / ".env"):
        path.write_text("secret")
    (home / "link").symlink_to("secret")
    (home / "secret_module.py").write_text("KEY = 'secret'\n")
    with contextlib.closing(sqlite3.connect(home / "some.db")) as base:
        base.execute("create table t (a)")
        base.execute("insert into t values ('secret')")
        base.commit()
    victim = room / "victim"
    victim.write_text("untouched")
    with contextlib.suppress(OSError):
        os.setxattr(victim, "user.note", b"secret")
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        stream = stack.enter_context(socket.socket(socket.AF_UNIX))
        stream.bind(str(folder / "s"))
        stream.listen()
        datagram = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagram.bind(str(folder / "d"))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        name = f"abyme-test-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        signalled, host_signalled = folder / "signalled", folder / "host-signalled"
        stack.enter_context(_marks(host_signalled))
        process = stack.enter_context(_victim(signalled))
        assert process.stdout is not None
        yield SimpleNamespace(
            home=str(home), room=str(room), other_run=str(other), data=str(data),
            victim=str(victim), tcp=tcp.getsockname()[1], udp=udp.getsockname()[1],
            unix_stream=str(folder / "s"), unix_datagram=str(folder / "d"), abstract=name,
            pid=process.pid, address=int(process.stdout.readline()), signalled=str(signalled),
            queue=name, host=os.getpid(), host_signalled=str(host_signalled),
        )  # fmt: skip


@contextlib.contextmanager
def _marks(mark: Path) -> Iterator[None]:
    """This process, which is the worker's host, leaves a mark where SIGURG reaches it."""
    before = signal.signal(signal.SIGURG, lambda *_: mark.touch())
    try:
        yield
    finally:
        signal.signal(signal.SIGURG, before)


@contextlib.contextmanager
def _victim(mark: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _VICTIM, str(mark)],
        stdout=subprocess.PIPE,
        env={"SECRET": "secret"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
