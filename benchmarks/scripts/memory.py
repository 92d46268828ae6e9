"""Bytes of memory of the host and of all that it started, as JSON: base URL, file, runs folder.

Two readings of each: after a cell that does not name the text, and after ``len(context)``. What
processes share counts in proportion. Linux only, and as root: a worker lets nobody else look.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from abyme import RLM
from abyme.events import CellEnded, Event

READINGS = 2

seen: list[dict[str, dict[str, int]]] = []


def started_by(process: int) -> Iterator[int]:
    """A process's children and theirs."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    for child in map(int, listed.split()):
        yield child
        yield from started_by(child)


def taken(*processes: int) -> dict[str, int]:
    """What processes take by proportional share: all of it, and what is no page of a file."""
    sums = {"all": 0, "anonymous": 0}
    for process in processes:
        account = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in account.splitlines()[1:])
        for key, name in (("all", "Pss"), ("anonymous", "Pss_Anon")):
            sums[key] += int(fields[name].split()[0]) * 1024
    return sums


def listen(event: Event) -> None:
    """Read when a cell has ended; called before the host goes on."""
    if isinstance(event, CellEnded) and len(seen) < READINGS:
        threads = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
        workers = {pid for thread in threads for pid in children_of(thread)}
        seen.append({"host": taken(os.getpid()), "worker": taken(*workers)})


def children_of(thread: int) -> Iterator[int]:
    """What a thread of this process started, and what that did."""
    try:
        listed = Path(f"/proc/self/task/{thread}/children").read_text(encoding="ascii")
    except FileNotFoundError:  # a thread that brought something to the disk has ended
        return
    for child in map(int, listed.split()):
        yield child
        yield from started_by(child)


url, data, runs = sys.argv[1:]
rlm = RLM("root", base_url=url, api_key="", runs=runs)
answer = rlm.start("Who slept?", Path(data), listen).future.result()
assert answer.status == "complete", answer.reason
print(json.dumps(seen))
