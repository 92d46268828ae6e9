"""Workers behind commands, found by what their processes are."""

from __future__ import annotations

import os
import time
from pathlib import Path

# As it is mounted; this machine's zygotes run the same script by its own path.
_MARKS = (b"ABYME_WORKER", b"\0/abyme/inside/start.py\0stdio")


def workers_below(root: int | None = None) -> set[int]:
    """Processes below ``root`` (this one) that run a worker, and the commands that lead there.

    Not those of the process sandbox: its zygote is kept warm from test to test.
    """
    parents, marked = {}, set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes()
            parents[int(entry.name)] = _parent(int(entry.name))
        except OSError:
            continue
        if any(mark in line for mark in _MARKS):
            marked.add(int(entry.name))
    top = root or os.getpid()
    return {pid for pid in marked if top in _ancestors(pid, parents)}


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.add(pid)
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _is_there(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def wait_until_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 30
    while left := {pid for pid in pids if _is_there(pid)}:
        assert time.monotonic() < deadline, f"{left} are left"
        time.sleep(0.02)
