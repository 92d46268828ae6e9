"""What a run that is over may have left behind: workers, tasks of the engine."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from abyme.engine import engine


def workers() -> set[int]:
    """Processes that a zygote of ours forked and that are alive; the zygote itself is kept warm."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    return {pid for pid, parent in parents.items() if parents.get(parent) == os.getpid()}


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
