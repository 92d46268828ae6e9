"""Resident bytes of host and worker, as JSON: base URL, file, runs folder.

Two readings of each process: after a cell that does not name the text, and after ``len(context)``.
Linux only.
"""

import json
import sys
from pathlib import Path

from abyme import RLM
from abyme.events import CellEnded, Event, WorkerStarted

READINGS = 2

worker = 0
seen: list[dict[str, dict[str, int]]] = []


def resident(process: int | str) -> dict[str, int]:
    """Resident bytes of a process: all of them, and those that are not pages of files."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    names = {"all": "VmRSS", "anonymous": "RssAnon"}
    return {key: int(fields[name].split()[0]) * 1024 for key, name in names.items()}


def listen(event: Event) -> None:
    """Read when a cell has ended; called before the host goes on."""
    global worker
    if isinstance(event, WorkerStarted):
        worker = event.pid
    elif isinstance(event, CellEnded) and len(seen) < READINGS:
        seen.append({"host": resident("self"), "worker": resident(worker)})


url, data, runs = sys.argv[1:]
rlm = RLM("root", base_url=url, api_key="", runs=runs)
answer = rlm.start("Who slept?", Path(data), listen).future.result()
assert answer.status == "complete", answer.reason
print(json.dumps(seen))
