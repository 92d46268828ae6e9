"""What processes take of memory, with all that they started (Linux, as root)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_EVERY = 0.02


def started_by(process: int, but: int = 0) -> Iterator[int]:
    """The processes that ``process`` started, and those that these did; ``but`` is left out."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in map(int, (thread / "children").read_text("ascii").split()):
                    if child != but:
                        yield child
                        yield from started_by(child)


def memory_of(process: int) -> int:
    """Bytes by proportional share; 0 where it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


@contextmanager
def watching(look: Callable[[], int]) -> Iterator[list[int]]:
    """What ``look`` gives, again and again until the block ends: the list grows meanwhile."""
    seen = [look()]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY):
            seen.append(look())

    thread = threading.Thread(target=watch, name="watching", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
