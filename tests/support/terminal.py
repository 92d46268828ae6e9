"""A command run on a terminal of its own, as a person would see it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

_DEADLINE = 60.0


class Shown(NamedTuple):
    """What came of it. ``screen``: everything that was drawn, in order, without its colours."""

    code: int
    raw: str
    stdout: str
    """Only where stdout was not the terminal."""

    @property
    def screen(self) -> str:
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw)
        # What stands before a carriage return was drawn over.
        return "\n".join(
            line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")
        )


def on_terminal(
    *arguments: str | Path,
    runs: Path,
    columns: int = 80,
    rows: int = 24,
    stdout_piped: bool = False,
    once: Callable[[str, subprocess.Popen[bytes]], object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Shown:
    """Run ``abyme`` on a terminal of this size. ``once`` sees what was drawn as it grows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "abyme", *map(str, arguments)],
        stdin=slave,
        stdout=subprocess.PIPE if stdout_piped else slave,
        stderr=slave,
        start_new_session=True,
        env={
            **{name: value for name, value in os.environ.items() if name != "COLUMNS"},
            "TERM": "xterm-256color",
            "ABYME_RUNS": str(runs),
            **(environment or {}),
        },
    )
    os.close(slave)
    drawn = b""
    deadline = time.monotonic() + _DEADLINE
    try:
        while time.monotonic() < deadline:
            if select.select([master], [], [], 0.05)[0]:
                try:
                    part = os.read(master, 65536)
                except OSError:  # the last process that held the terminal has gone
                    break
                if not part:
                    break
                drawn += part
            if once is not None:
                once(drawn.decode("utf-8", "replace"), process)
        stdout = process.communicate(timeout=5)[0] if stdout_piped else b""
        code = process.wait(timeout=5)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(master)
    return Shown(code, drawn.decode("utf-8", "replace"), (stdout or b"").decode())
