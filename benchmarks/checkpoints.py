"""Checkpoints: what one costs, what the next cell waits for it, and what a restore saves."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

from abyme.context.load import load
from abyme.sandbox.base import Repl
from abyme.sandbox.process import ProcessSandbox
from benchmarks.figures import Bench, Row
from benchmarks.worker import Nobody

CELLS = {
    "100,000 strings": (
        "import hashlib\nrows = [hashlib.pbkdf2_hmac('sha256', b'%d' % i, b'', 20).hex()"
        " for i in range(100_000)]"
    ),
    "a dict of 50 MB": "rows = {i: str(i) * 90 for i in range(100_000)}",
}
"""The first takes about two seconds of CPU time, most of it for nothing."""


def checkpoints(bench: Bench) -> list[Row]:
    """Two workers beside each other: one that has the variables, one that gets them."""
    rows: list[Row] = []
    for name, code in CELLS.items():
        rows += asyncio.run(_of(bench, name, code))
    return rows


async def _of(bench: Bench, name: str, code: str) -> list[Row]:
    data = load("a short text", folder=bench.folder / f"checkpoint {len(code)}")
    rounds = bench.rounds(5)
    async with ProcessSandbox().workers() as workers:

        async def fresh(work: Callable[[Repl], Awaitable[Any]]) -> float:
            """Seconds that ``work`` takes in a fresh worker, whose start is part of it."""
            began = time.perf_counter()
            async with workers.open(data, Nobody(), ()) as repl:
                await work(repl)
                return time.perf_counter() - began

        async with workers.open(data, Nobody(), ()) as repl:
            await repl.run(1, code, 120.0)
            taken = await repl.checkpoint()  # what it imports is there from then on
            took = []
            for _ in range(rounds):
                began = time.perf_counter()
                await repl.checkpoint()
                took.append(time.perf_counter() - began)
            waits = [await _waits(repl, round_) for round_ in range(3 * rounds)]
        restored = [await fresh(lambda repl: repl.restore(taken)) for _ in range(rounds)]
        again = [await fresh(lambda repl: repl.run(1, code, 120.0)) for _ in range(rounds)]
    return [
        Row(
            f"a checkpoint of {name}",
            median(took),
            _pickled(code, rounds),
            compared="ratio",
            note=f"{len(taken) / 1e6:.1f} MB; floor: pickle.dumps in this process",
        ),
        Row(
            "  restored, with a fresh worker",
            median(restored),
            median(again),
            compared="ratio",
            note="floor: the same by running the cell again",
        ),
        Row("  given up: the next cell waits", max(waits), note="the longest of its waits"),
    ]


async def _waits(repl: Repl, number: int) -> float:
    taking = asyncio.create_task(repl.checkpoint())
    await asyncio.sleep(0.01 * number)
    began = time.perf_counter()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    return time.perf_counter() - began


def _pickled(code: str, rounds: int) -> float:
    names: dict[str, Any] = {}
    exec(code, names)
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        pickle.dumps(names["rows"], 5)
        took.append(time.perf_counter() - began)
    return median(took)
