"""A trial in a process of its own, which so has its memory to itself, and tells time and memory.

As a script: base URL, question, file, runs folder, scale; it prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.async_depth import programs
from benchmarks.async_depth.endpoint import MODEL, Order
from benchmarks.async_depth.trial import Bench, Outcome, Plan, blocks, scaled

PHASES = ("length", "search", "samples", "children")
"""What the root's cells do, one after the other."""
_SECONDS = 300


def run_apart(bench: Bench, plan: Plan) -> Outcome:
    """Do a trial of the part ``sizes``."""
    url = bench.endpoint.begin(Order(plan.behaviour, plan.seed, plan.scale))
    data = bench.data(plan.characters)
    question = programs.question(plan.settings)
    arguments = [url, question, str(data), str(bench.folder / "runs"), str(plan.scale)]
    ran = subprocess.run(
        [sys.executable, __file__, *arguments],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )
    told = json.loads(ran.stdout)
    bill = bench.endpoint.take()
    first = bill.first - told["began"]
    return Outcome(
        seconds=told["seconds"],
        right=told["value"] == right(plan),
        status=told["status"],
        reason=told["reason"],
        host_cpu=told["host_cpu"],
        worker_cpu=told["worker_cpu"],
        worker_peak=told["worker_peak"],
        bill=bill,
        extra={"first_request": first, "phases": told["phases"], "memory": told["memory"]},
    )


def right(plan: Plan) -> list[int]:
    """The answer: one for each sample that was read, and how many lines the data has."""
    size = plan.characters
    step = max(programs.PART, size // plan.settings["calls"])
    samples = len(range(0, size - programs.PART + 1, step))
    return [samples, lines(size)]


@lru_cache
def lines(characters: int) -> int:
    """How many lines of the data have an end."""
    return sum(block.count("\n") for block in blocks(characters))


def main() -> None:
    """Run, and print what it took."""
    import resource

    from abyme import RLM, Limits
    from abyme.events import CellEnded, CellStarted, Event

    url, question, data, runs, scale = sys.argv[1:]
    phases: list[float] = []
    memory: list[dict[str, int]] = []
    began = 0.0

    def listen(event: Event) -> None:
        nonlocal began
        if isinstance(event, CellStarted) and event.node == "0":
            began = time.monotonic()
        elif isinstance(event, CellEnded):
            if event.node == "0":
                phases.append(time.monotonic() - began)
            memory.append(taken())

    limits = Limits(max_calls=None, max_cost=None, max_seconds=_SECONDS, max_depth=2)
    rlm = RLM(MODEL, base_url=url, api_key="k", runs=runs, limits=limits)
    with scaled(float(scale)):
        start = time.monotonic()
        answer = rlm.start(question, Path(data), listen).future.result()
        seconds = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    told: dict[str, Any] = {
        "began": start,
        "seconds": seconds,
        "value": answer.value,
        "status": answer.status,
        "reason": answer.reason,
        "host_cpu": used.ru_utime + used.ru_stime,
        "worker_cpu": answer.cpu_seconds,
        "worker_peak": answer.peak_bytes,
        "phases": dict(zip(PHASES, phases, strict=False)),
        "memory": {name: max(each[name] for each in memory) for name in ("host", "workers", "own")},
    }
    print(json.dumps(told))


def taken() -> dict[str, int]:
    """Bytes that this process and its workers take now, by proportional share.

    ``own``: of the workers' share what is no page of a file. Zero where it may not be looked at
    (as root it may).
    """
    workers = {pid for thread in _threads() for pid in _started_by(thread)}
    host = _share(os.getpid())
    shares = [_share(pid) for pid in workers]
    return {
        "host": host["Pss"],
        "workers": sum(each["Pss"] for each in shares),
        "own": sum(each["Pss_Anon"] for each in shares),
    }


def _threads() -> Iterator[str]:
    for thread in Path("/proc/self/task").iterdir():
        yield f"/proc/self/task/{thread.name}/children"


def _started_by(listing: str) -> Iterator[int]:
    try:
        children = [int(pid) for pid in Path(listing).read_text(encoding="ascii").split()]
    except OSError:  # it has ended
        return
    for child in children:
        yield child
        yield from _started_by(f"/proc/{child}/task/{child}/children")


def _share(pid: int) -> dict[str, int]:
    sums = {"Pss": 0, "Pss_Anon": 0}
    try:
        account = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return sums
    for line in account.splitlines()[1:]:
        name, _, value = line.partition(":")
        if name in sums:
            sums[name] = int(value.split()[0]) * 1024
    return sums


if __name__ == "__main__":
    main()
