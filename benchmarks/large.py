"""A file of 100 MB: how soon it can be asked about, and what memory it takes."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from abyme.events import CellEnded, Event, WorkerStarted
from benchmarks.endpoint import Endpoint
from benchmarks.figures import Bench, Row, alternate, cell
from benchmarks.floor import Client

_MEGABYTES = 100


class _Resident(NamedTuple):
    """Resident bytes: all of them, and those that belong to the process alone."""

    all: int
    anonymous: int


class _Memory(NamedTuple):
    """Of host and worker, before a cell names the text and after it has its length."""

    host_before: _Resident
    worker_before: _Resident
    host_after: _Resident
    worker_after: _Resident


def large(bench: Bench) -> list[Row]:
    """Runs in this process, whose engine is warm: the first run of all is not counted."""
    data = bench.text(_MEGABYTES)
    return [*_first_request(bench, data), *_memory(bench, data)]


def _first_request(bench: Bench, data: Path) -> list[Row]:
    endpoint, rlm = bench.endpoint, bench.rlm()
    replies = [cell('FINAL("done")')]
    bodies: list[dict[str, Any]] = []

    def ours() -> float:
        endpoint.play(replies)
        began = time.monotonic()
        answer = rlm.completion("Who slept?", data)
        assert answer.status == "complete", answer.reason
        arrival = endpoint.take()[0]
        bodies[:] = [arrival.body]
        return arrival.at - began

    def floor() -> float:
        endpoint.play(replies)
        return asyncio.run(_raw(endpoint, data, bodies[0]))

    ours_took, floor_took = alternate(bench.rounds(11), ours, floor)
    return [
        Row(
            f"completion() → first request, {_MEGABYTES} MB",
            median(ours_took),
            median(floor_took),
            target=0.150,
            note="in a process that has asked before; floor: open the file, read its first 64 kB, "
            "send the same request over an open connection",
        )
    ]


async def _raw(endpoint: Endpoint, data: Path, body: dict[str, Any]) -> float:
    client = await Client.connect(endpoint.port)
    began = time.monotonic()
    descriptor = os.open(data, os.O_RDONLY)
    os.pread(descriptor, 1 << 16, 0)
    await client.ask(body)
    os.close(descriptor)
    await client.close()
    return endpoint.take()[0].at - began


def _memory(bench: Bench, data: Path) -> list[Row]:
    small = bench.folder / "small.txt"
    small.write_text("a short text\n", encoding="ascii")
    _watch(bench, small)  # so that what the first run alone allocates counts for none
    base, large = _watch(bench, small), _watch(bench, data)
    pairs = zip(_Memory._fields, large, base, strict=True)
    return [
        Row(
            f"  memory, {field.replace('_', ', ')} len(context)",
            each.all,
            than.all,
            unit="MB",
            compared="difference",
            note=f"resident; {each.anonymous / 1e6:.1f} MB of it anonymous; floor: the same run "
            "over a text of one line",
        )
        for field, each, than in pairs
    ]


def _watch(bench: Bench, data: Path) -> _Memory:
    bench.endpoint.play([cell("1"), cell("len(context)"), cell('FINAL("done")')])
    worker = 0
    seen: list[_Resident] = []

    def listen(event: Event) -> None:
        nonlocal worker
        if isinstance(event, WorkerStarted):
            worker = event.pid
        elif isinstance(event, CellEnded) and len(seen) < len(_Memory._fields):
            seen.extend((_resident("self"), _resident(worker)))

    answer = bench.rlm().start("Who slept?", data, listen).future.result()
    assert answer.status == "complete", answer.reason
    return _Memory(*seen)


def _resident(process: int | str) -> _Resident:
    """Linux only; zeros elsewhere."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except OSError:
        return _Resident(0, 0)
    fields = dict(line.split(":", 1) for line in status.splitlines())
    every, anonymous = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon"))
    return _Resident(every, anonymous)
