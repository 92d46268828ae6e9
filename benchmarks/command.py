"""Workers behind a command: how long they take to start, what a cell costs, how fast data comes.

Beside the ``process`` sandbox, which is the floor here. Nothing of Docker or Podman: their starts
are those of their daemons.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from functools import partial
from statistics import median

from abyme.context.documents import Data
from abyme.context.load import load
from abyme.sandbox.base import Sandbox
from abyme.sandbox.command import bubblewrap, command
from abyme.sandbox.process import ProcessSandbox
from benchmarks.figures import Bench, Row, alternate
from benchmarks.worker import one_worker

_MB = 100


def commands(bench: Bench) -> list[Row]:
    """Rows for each sandbox that can be had here."""
    boxes: dict[str, Sandbox] = {"its code sent": command((), python=sys.executable)}
    if shutil.which("bwrap") is not None:
        boxes = {"bubblewrap": bubblewrap(), **boxes}
    short = load("a short text", folder=bench.folder / "command")
    rows = []
    for name, box in boxes.items():
        ours, floor = alternate(
            bench.rounds(15), partial(_cold, box, short), partial(_cold, ProcessSandbox(), short)
        )
        note = "until its first cell has run; floor: the process sandbox, its zygote not warm"
        rows.append(Row(f"a worker, {name}, cold", median(ours), median(floor), note=note))
        cells, floor = alternate(
            3,
            partial(_cell, box, short, bench.rounds(600)),
            partial(_cell, ProcessSandbox(), short, bench.rounds(600)),
        )
        note = "interrupts come as frames: a thread reads while it runs"
        rows.append(Row("  a cell: `1`", median(cells), median(floor), note=note))
    large = load(bench.text(_MB), folder=bench.folder / "large-command")
    pulled, passed = alternate(
        bench.rounds(5),
        partial(_touch, boxes["its code sent"], large),
        partial(_touch, ProcessSandbox(), large),
    )
    note = f"{_MB / median(pulled):,.0f} MB/s, decoding included; floor: passed by descriptor"
    rows.append(Row(f"len(context) of {_MB} MB, pulled", median(pulled), median(passed), note=note))
    return rows


def _cold(box: Sandbox, data: Data) -> float:
    async def start() -> float:
        began = time.perf_counter()
        async with one_worker(data, box) as repl:
            await repl.run(1, "1", 10)
            return time.perf_counter() - began

    return asyncio.run(start())


def _cell(box: Sandbox, data: Data, count: int) -> float:
    async def trips() -> float:
        took = []
        async with one_worker(data, box) as repl:
            for number in range(1, count):
                began = time.perf_counter()
                await repl.run(number, "1", 10.0)
                took.append(time.perf_counter() - began)
        return median(took)

    return asyncio.run(trips())


def _touch(box: Sandbox, data: Data) -> float:
    async def touch() -> float:
        async with one_worker(data, box) as repl:
            await repl.run(1, "1", 10)
            began = time.perf_counter()
            result = await repl.run(2, "len(context)", 60)
            assert result.ok, result.error
            return time.perf_counter() - began

    return asyncio.run(touch())
