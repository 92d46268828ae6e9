"""Fifty runs at once in one process: their time, their memory, and that nothing crosses over."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.endpoint import ROOT
from benchmarks.figures import Bench, Row, cell
from benchmarks.floor import Client

_RUNS, _LATENCY = 50, 0.05
_TURNS = (
    cell(
        "secret, count = context.split()\n"
        "prompts = [f'{secret} asks {number}' for number in range(int(count))]\n"
        "try:\n"
        "    replies = llm_query_batched(prompts)\n"
        "except CallError as error:\n"
        "    replies = []\n"
        "print(secret, len(replies))"
    ),
    cell("assert all(secret in reply for reply in replies)\nFINAL(f'{secret} {len(replies)}')"),
)
_SCRIPT = Path(__file__).parent / "scripts" / "fifty.py"


def fifty(bench: Bench) -> list[Row]:
    """Two turns and four sub-calls each, 50 ms a call; one of them wants more than it may."""
    ours = _ours(bench)
    arrivals = [arrival.body for arrival in bench.endpoint.take()]
    raw = [_floor(bench, arrivals) for _ in range(bench.rounds(5))]
    took = median(each["seconds"] for each in ours["rounds"])
    floor = median(raw)
    slowest = median(max(each["runs"]) / median(each["runs"]) for each in ours["rounds"])
    rows = [
        Row(
            f"{_RUNS} runs at once, 50 ms a call",
            took,
            floor,
            target=2.0,
            note="from the first start to the last answer, in a process of its own after one run "
            f"and {_RUNS} more; each had its own data, output, budget and journal (checked); "
            f"{took / floor:.1f} times the floor, raw connections with the same requests; "
            f"the slowest run took {slowest:.2f} times the median one",
        ),
        Row("  CPU of the host for one", median(each["cpu"] for each in ours["rounds"]) / _RUNS),
    ]
    if ours["memory"]:
        note = "host and all workers at their highest, by proportional share, files included"
        rows.append(
            Row("  their memory", float(ours["memory"]), unit="MB", target=300e6, note=note)
        )
    return rows


def _ours(bench: Bench) -> dict[str, Any]:
    bench.endpoint.play(_TURNS, sub_latency=_LATENCY, root_latency=_LATENCY, echo=True)
    given = [bench.endpoint.url, str(bench.folder / "fifty"), str(_RUNS), str(bench.rounds(5))]
    command = [sys.executable, str(_SCRIPT), *given]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=300)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _floor(bench: Bench, arrivals: list[dict[str, Any]]) -> float:
    """Seconds for as many conversations of the same requests, each on connections of its own."""
    roots = [body for body in arrivals if body["model"] == ROOT]
    subs = [body for body in arrivals if body["model"] != ROOT][:4]
    pair = [next(body for body in roots if _turn(body) == turn) for turn in (0, 1)]
    bench.endpoint.play(_TURNS, sub_latency=_LATENCY, root_latency=_LATENCY, echo=True)
    began = time.perf_counter()
    asyncio.run(_raw(bench.endpoint.port, pair, subs))
    return time.perf_counter() - began


def _turn(body: dict[str, Any]) -> int:
    return sum(message["role"] == "assistant" for message in body["messages"])


async def _raw(port: int, pair: list[dict[str, Any]], subs: list[dict[str, Any]]) -> None:
    async def once(body: dict[str, Any]) -> None:
        client = await Client.connect(port)
        await client.ask(body)
        await client.close()

    async def run() -> None:
        await once(pair[0])
        await asyncio.gather(*map(once, subs))
        await once(pair[1])

    await asyncio.gather(*(run() for _ in range(_RUNS)))
