"""A file of 100 MB: how soon it can be asked about, and what memory it takes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.endpoint import Endpoint
from benchmarks.figures import Bench, Row, alternate, cell
from benchmarks.floor import Client

_MEGABYTES = 100
_SCRIPT = Path(__file__).parent / "scripts" / "memory.py"
LOOKED_AT = (
    "in a process that has asked before; floor: open the file, read its first 64 kB, send the same "
    "request over an open connection"
)
_WHEN = ("before its text is named", "after len(context)")
_MOST = {("worker", _WHEN[0]): 10e6, ("worker", _WHEN[1]): 1.2 * 1e6 * _MEGABYTES}
"""Bytes that the text may cost its worker, until it is named and then as a ``str``."""

_Reading = dict[str, dict[str, int]]
"""Bytes of each process by kind."""


def large(bench: Bench) -> list[Row]:
    """Runs in this process, whose engine is warm: the first run of all is not counted."""
    data, larger = bench.text(_MEGABYTES), bench.text(1000)
    rows = [
        first_request(
            bench,
            each,
            partial(look_at, each),
            Row(f"completion() → first request, {size}", 0, target=target, note=LOOKED_AT),
            rounds=11,
        )
        for each, size, target in ((data, f"{_MEGABYTES} MB", 0.050), (larger, "1 GB", 0.100))
    ]
    return [*rows, *memory(bench, data, _MOST)]


def first_request(
    bench: Bench, data: Path, look: Callable[[], None], row: Row, *, rounds: int
) -> Row:
    """``row`` with its figures; the floor does ``look`` and sends the same request."""
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
        return asyncio.run(_raw(endpoint, look, bodies[0]))

    ours_took, floor_took = alternate(bench.rounds(rounds), ours, floor)
    return replace(row, ours=median(ours_took), floor=median(floor_took))


async def _raw(endpoint: Endpoint, look: Callable[[], None], body: dict[str, Any]) -> float:
    client = await Client.connect(endpoint.port)
    began = time.monotonic()
    look()
    await client.ask(body)
    await client.close()
    return endpoint.take()[0].at - began


def look_at(data: str | Path) -> None:
    """Open a file, ask what it is, read its first 64 kB."""
    descriptor = os.open(data, os.O_RDONLY)
    os.fstat(descriptor)
    os.pread(descriptor, 1 << 16, 0)
    os.close(descriptor)


def memory(
    bench: Bench, data: Path, most: Mapping[tuple[str, str], float] | None = None
) -> list[Row]:
    """What host and worker take of it, beside a text of one line. Linux, and root, only.

    ``most``: what the difference may be, by process and when.
    """
    if not Path("/proc/self/status").exists():
        return []
    small = bench.folder / "small.txt"
    small.write_text("a short text\n", encoding="ascii")
    base, large = _readings(bench, small), _readings(bench, data)
    return [
        Row(
            f"  memory of the {process}, {when}",
            each[process]["all"],
            than[process]["all"],
            unit="MB",
            compared="difference",
            target=(most or {}).get((process, when)),
            note="by proportional share, zygotes included; "
            f"{_anonymous(each, than, process):+.1f} MB of the difference is no "
            "page of a file; floor: the same run over a text of one line",
        )
        for when, each, than in zip(_WHEN, large, base, strict=True)
        for process in ("host", "worker")
    ]


def _anonymous(each: _Reading, than: _Reading, process: str) -> float:
    return (each[process]["anonymous"] - than[process]["anonymous"]) / 1e6


def _readings(bench: Bench, data: Path) -> list[_Reading]:
    """From a fresh process, whose heap no other benchmark has stretched."""
    bench.endpoint.play([cell("1"), cell("len(context)"), cell('FINAL("done")')])
    command = [sys.executable, str(_SCRIPT), bench.endpoint.url, str(data)]
    done = subprocess.run(
        [*command, str(bench.folder / "runs")], check=True, stdout=subprocess.PIPE
    )
    readings: list[_Reading] = json.loads(done.stdout)
    return readings
