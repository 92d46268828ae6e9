"""What a sub-call costs: one after the other, and hundreds at once."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any, NamedTuple

from abyme.events import CellEnded, CellStarted, Event
from benchmarks import floor
from benchmarks.endpoint import SUB
from benchmarks.figures import Bench, Row, alternate, cell

_IN_TURN = 200
_AT_ONCE, _WIDTH, _LATENCY = 500, 64, 0.1

_PROMPT = "f'Part {number}: what does this paragraph say of boats? ' + 'The river ran on. ' * 20"

_SEQUENTIAL = f"""\
import time
seconds = []
cpu = time.process_time()
for number in range({_IN_TURN}):
    prompt = {_PROMPT}
    began = time.perf_counter()
    llm_query(prompt)
    seconds.append(time.perf_counter() - began)
FINAL({{"seconds": seconds, "cpu": time.process_time() - cpu}})"""

_BATCHED = f"""\
import time
prompts = [{_PROMPT} for number in range({_AT_ONCE})]
cpu = time.process_time()
began = time.perf_counter()
replies = llm_query_batched(prompts)
seconds = time.perf_counter() - began
assert all(str(reply) for reply in replies)
FINAL({{"seconds": [seconds], "cpu": time.process_time() - cpu}})"""


class _Took(NamedTuple):
    """``seconds`` of each request (or of all together), and the CPU of all of them."""

    seconds: list[float]
    host_cpu: float
    worker_cpu: float = 0.0

    @property
    def cpu(self) -> float:
        return self.host_cpu + self.worker_cpu


def sequential(bench: Bench) -> list[Row]:
    """``llm_query`` in a loop, against an endpoint that answers at once, and after 5 ms."""
    rows: list[Row] = []
    for latency in (0.0, 0.005):
        ours, raw = _compare(bench, _SEQUENTIAL, latency, bench.rounds(5), at_once=False)
        name = f"a sequential sub-call, {latency * 1000:.0f} ms latency"
        rows.append(
            Row(
                name,
                median(second for took in ours for second in took.seconds),
                median(second for took in raw for second in took.seconds),
                compared="difference",
                target=0.002,
                note="timed in the cell; the floor's request has the same body",
            )
        )
        rows.append(
            Row(
                f"  its CPU ({latency * 1000:.0f} ms latency)",
                median(took.cpu for took in ours) / _IN_TURN,
                median(took.cpu for took in raw) / _IN_TURN,
                compared="difference",
                note=f"worker {median(took.worker_cpu for took in ours) / _IN_TURN * 1e3:.2f} ms, "
                "the rest is the host's",
            )
        )
    return rows


def batch(bench: Bench) -> list[Row]:
    """``llm_query_batched`` of prompts that each take 100 ms, 64 in flight."""
    ours, raw = _compare(bench, _BATCHED, _LATENCY, bench.rounds(5), at_once=True)
    return [
        Row(
            f"{_AT_ONCE} batched calls of 100 ms, {_WIDTH} wide",
            median(took.seconds[0] for took in ours),
            median(took.seconds[0] for took in raw),
            compared="ratio",
            target=1.6,
            note=f"floor: {_WIDTH} connections, opened within the time",
        ),
        Row(
            "  CPU of one of them",
            median(took.cpu for took in ours) / _AT_ONCE,
            median(took.cpu for took in raw) / _AT_ONCE,
            compared="difference",
        ),
    ]


def _compare(
    bench: Bench, code: str, latency: float, rounds: int, *, at_once: bool
) -> tuple[list[_Took], list[_Took]]:
    endpoint = bench.endpoint
    rlm = bench.rlm(max_width=_WIDTH)
    replies = [cell(code)]
    bodies: list[dict[str, Any]] = []

    def ours() -> _Took:
        endpoint.play(replies, sub_latency=latency)
        cpu: list[float] = []

        def listen(event: Event) -> None:
            if isinstance(event, CellStarted | CellEnded):
                cpu.append(time.process_time())

        answer = rlm.start("What do they say?", "a short text", listen).future.result()
        assert answer.status == "complete", answer.reason
        arrivals = endpoint.take()
        bodies[:] = [arrival.body for arrival in arrivals if arrival.model == SUB]
        return _Took(answer.value["seconds"], cpu[1] - cpu[0], answer.value["cpu"])

    def raw() -> _Took:
        endpoint.play(replies, sub_latency=latency)
        cpu = time.process_time()
        if at_once:
            seconds = [asyncio.run(floor.at_once(endpoint.port, bodies, _WIDTH))]
        else:
            seconds = asyncio.run(floor.in_turn(endpoint.port, bodies))
        return _Took(seconds, time.process_time() - cpu)

    return alternate(rounds, ours, raw)
