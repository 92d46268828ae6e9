"""Children with a REPL of their own: twenty, beside raw connections; and two hundred at once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from statistics import median
from typing import Any, NamedTuple

from abyme.events import CellEnded, CellStarted, Event
from abyme.sandbox.memory import most_of_this_machine
from benchmarks.figures import Bench, Row, alternate, cell
from benchmarks.floor import Client
from benchmarks.processes import memory_of, started_by, watching

_FEW, _MANY, _LATENCY = 20, 200, 0.05
_SIZE = 4_000
_QUESTION = "Part of a log: how many boats?"
_CHILD = (cell("found = context.count('boat')\nprint(found)"), cell("FINAL(str(found))"))
_PARENT = f"""\
import time
parts = [context[start:start + {_SIZE}] for start in range(0, len(context), {_SIZE})]
began = time.perf_counter()
found = rlm_query_batched({_QUESTION!r}, parts)
FINAL({{"seconds": time.perf_counter() - began, "found": [str(each) for each in found]}})"""


class _Took(NamedTuple):
    seconds: float
    cpu: float
    memory: int = 0
    """Bytes of the workers at the moment when they took most; 0 where nobody looked."""


def children(bench: Bench) -> list[Row]:
    """Two turns each, 50 ms a call; each answer is checked against its part of the text."""
    few, few_raw = _compare(bench, _FEW, bench.rounds(9))
    many, many_raw = _compare(bench, _MANY, bench.rounds(3))
    rows = []
    for count, ours, raw, target in ((_FEW, few, few_raw, 2.0), (_MANY, many, many_raw, None)):
        rows += [
            Row(
                f"{count} two-turn children, 50 ms a call",
                median(took.seconds for took in ours),
                median(took.seconds for took in raw),
                compared="ratio",
                target=target,
                note=f"all right; floor: {count} connections with the same requests",
            ),
            Row(
                "  CPU of the host for one",
                median(took.cpu for took in ours) / count,
                median(took.cpu for took in raw) / count,
                compared="difference",
            ),
        ]
    return [*rows, *_memory(bench)]


def _memory(bench: Bench) -> list[Row]:
    """What the workers of all children take, by proportional share. Linux, and root, only."""
    if not os.path.exists("/proc/self/smaps_rollup"):  # noqa: PTH110
        return []
    took = max(_ours(bench, _MANY, [], look=True).memory for _ in range(bench.rounds(3)))
    cap = most_of_this_machine()
    return [
        Row(
            f"memory of {_MANY} children's workers",
            took,
            cap,
            unit="MB",
            compared="ratio",
            target=1.0,
            note=f"at once, at their highest: {took / _MANY / 1e6:.1f} MB each, zygotes included; "
            "floor: what the workers of one run may take together on this machine",
        )
    ]


def _compare(bench: Bench, count: int, rounds: int) -> tuple[list[_Took], list[_Took]]:
    conversations: list[list[dict[str, Any]]] = []

    def floor() -> _Took:
        bench.endpoint.play([], sub_latency=_LATENCY, children=(_QUESTION, _CHILD))
        cpu, began = time.process_time(), time.perf_counter()
        asyncio.run(_raw(bench.endpoint.port, conversations))
        return _Took(time.perf_counter() - began, time.process_time() - cpu)

    return alternate(rounds, lambda: _ours(bench, count, conversations), floor)


def _ours(
    bench: Bench, count: int, conversations: list[list[dict[str, Any]]], *, look: bool = False
) -> _Took:
    """One run whose cell asks ``count`` children; ``conversations`` gets their requests."""
    endpoint = bench.endpoint
    endpoint.play([cell(_PARENT)], sub_latency=_LATENCY, children=(_QUESTION, _CHILD))
    rlm = bench.rlm(max_depth=2, max_calls=10_000, max_width=512)
    parts = [("boat " * (number + 1)).ljust(_SIZE, ".") for number in range(count)]
    cpu: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, CellStarted | CellEnded) and event.node == "0":
            cpu.append(time.process_time())

    watch = watching(lambda: _of_workers(endpoint.pid)) if look else nullcontext([0])
    with watch as seen:
        answer = rlm.start("What do they say?", "".join(parts), listen).future.result()
    assert answer.status == "complete", answer.reason
    assert answer.value["found"] == [str(number + 1) for number in range(count)], answer.value
    turns: dict[int, list[dict[str, Any]]] = {}
    for arrival in endpoint.take():
        if _QUESTION in arrival.body["messages"][1]["content"]:
            turns.setdefault(len(arrival.body["messages"]), []).append(arrival.body)
    first, second = (turns[length] for length in sorted(turns))
    conversations[:] = [list(pair) for pair in zip(first, second, strict=True)]
    return _Took(answer.value["seconds"], cpu[1] - cpu[0], max(seen))


def _of_workers(endpoint: int) -> int:
    return sum(map(memory_of, started_by(os.getpid(), but=endpoint)))


async def _raw(port: int, conversations: Sequence[Sequence[dict[str, Any]]]) -> None:
    async def ask(bodies: Sequence[dict[str, Any]]) -> None:
        client = await Client.connect(port)
        for body in bodies:
            await client.ask(body)
        await client.close()

    await asyncio.gather(*map(ask, conversations))
