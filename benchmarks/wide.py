"""What thousands of sub-calls cost, and what long ones do."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any

import aiohttp

from benchmarks.calls import batched, compare
from benchmarks.figures import Bench, Row

_CALLS, _LATENCY = 2000, 0.1
_NARROW, _WIDE = 64, 500
_SHORT = "f'Part {number}: what does this paragraph say of boats? ' + 'The river ran on. ' * 20"
_LONG = "f'Part {number}: ' + 'The river ran on past the town. ' * 6250"
_LONG_CALLS = 200


def wide(bench: Bench) -> list[Row]:
    """2,000 calls of 100 ms: 64 at once, 500 at once, and as many as the engine finds out."""
    code = batched(_SHORT, _CALLS)
    rounds = bench.rounds(5)
    narrow = compare(bench, code, rounds, latency=_LATENCY, width=_NARROW)
    explicit = compare(bench, code, rounds, latency=_LATENCY, width=_WIDE, raw=bare)
    adaptive = compare(bench, code, rounds, latency=_LATENCY, width=None, raw=bare, fresh=True)
    rows = []
    for name, (ours, raw), target, note in (
        (f"{_CALLS:,} calls of 100 ms, {_NARROW} wide", narrow, 1.5, "floor: raw connections"),
        (f"{_CALLS:,} calls of 100 ms, {_WIDE} wide", explicit, 2.0, "floor: bare aiohttp"),
        (
            f"{_CALLS:,} calls of 100 ms, no width said",
            adaptive,
            2.0,
            f"begins with 16 at once; floor: bare aiohttp at {_WIDE}",
        ),
    ):
        rows.append(
            Row(
                name,
                median(took.seconds[0] for took in ours),
                median(took.seconds[0] for took in raw),
                compared="ratio",
                target=target,
                note=note,
            )
        )
        rows.append(
            Row(
                "  CPU of one of them",
                median(took.cpu for took in ours) / _CALLS,
                median(took.cpu for took in raw) / _CALLS,
                compared="difference",
                note=f"worker {median(took.worker_cpu for took in ours) / _CALLS * 1e3:.3f} ms",
            )
        )
    return rows


def long(bench: Bench) -> list[Row]:
    """200 prompts of 200 kB, as many at once as raw connections: 64."""
    code = batched(_LONG, _LONG_CALLS)
    ours, raw = compare(
        bench,
        code,
        bench.rounds(5),
        latency=_LATENCY,
        width=_NARROW,
        sub_model="gpt-4.1-mini",  # known to have room for them
    )
    return [
        Row(
            f"{_LONG_CALLS} prompts of 200 kB, {_NARROW} wide",
            median(took.seconds[0] for took in ours),
            median(took.seconds[0] for took in raw),
            compared="ratio",
            target=2.0,
            note="100 ms each",
        ),
        Row(
            "  CPU of one of them",
            median(took.cpu for took in ours) / _LONG_CALLS,
            median(took.cpu for took in raw) / _LONG_CALLS,
            compared="difference",
            note=f"worker {median(took.worker_cpu for took in ours) / _LONG_CALLS * 1e3:.2f} ms",
        ),
    ]


def bare(port: int, bodies: list[dict[str, Any]]) -> list[float]:
    """Seconds until aiohttp alone has asked all, 500 at once."""
    return [asyncio.run(_bare(port, bodies))]


async def _bare(port: int, bodies: list[dict[str, Any]]) -> float:
    rest = iter(bodies)
    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def work(session: aiohttp.ClientSession) -> None:
        for body in rest:
            async with session.post(url, json=body) as response:
                reply = await response.json()
                assert reply["choices"][0]["message"]["content"]

    began = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(work(session) for _ in range(_WIDE)))
        return time.perf_counter() - began
