"""What a run that is over may have left behind: workers, tasks of the engine."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from abyme.engine import engine


def workers() -> dict[int, str]:
    """Processes that a zygote of ours forked and that are alive, and what the kernel says of each.

    The zygote itself is kept warm.
    """
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                stats[int(entry.name)] = (stat, (entry / "cmdline").read_bytes())
            except (FileNotFoundError, ProcessLookupError):
                continue
    fields = {pid: stat.rpartition(")")[2].split() for pid, (stat, _) in stats.items()}
    parents = {pid: int(each[1]) for pid, each in fields.items() if each[0] != "Z"}
    left = [pid for pid, parent in parents.items() if parents.get(parent) == os.getpid()]
    return {pid: f"{stats[pid][0]} {stats[pid][1]!r}; forked by {parents[pid]}" for pid in left}


def tasks() -> set[str]:
    """Names of the tasks in the engine's loop."""

    async def names() -> set[str]:
        return {t.get_name() for t in asyncio.all_tasks() - {asyncio.current_task()}}

    return engine().submit(names()).result()


def eventually(check: Any, seconds: float = 60.0) -> bool:
    """Whether ``check`` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.01)
    return bool(check())
