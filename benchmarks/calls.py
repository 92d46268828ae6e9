"""What a sub-call costs: one after the other, and hundreds at once."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from abyme import RLM
from abyme.events import CellEnded, CellStarted, Event
from benchmarks import floor
from benchmarks.endpoint import ROOT, SUB
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


class Took(NamedTuple):
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
        ours, raw = compare(
            bench, _SEQUENTIAL, bench.rounds(5), latency=latency, width=_WIDTH, raw=in_turn
        )
        name = f"a sequential sub-call, {latency * 1000:.0f} ms latency"
        rows.append(
            Row(
                name,
                median(second for took in ours for second in took.seconds),
                median(second for took in raw for second in took.seconds),
                compared="difference",
                target=0.0015,
                note="timed in the cell; the floor's request has the same body",
            )
        )
        rows.append(
            Row(
                f"  its CPU ({latency * 1000:.0f} ms latency)",
                median(took.cpu for took in ours) / _IN_TURN,
                median(took.cpu for took in raw) / _IN_TURN,
                compared="difference",
                target=0.0015,
                note=f"worker {median(took.worker_cpu for took in ours) / _IN_TURN * 1e3:.2f} ms, "
                "the rest is the host's",
            )
        )
    return rows


def in_turn(port: int, bodies: list[dict[str, Any]]) -> list[float]:
    """The floor of calls one after the other."""
    return asyncio.run(floor.in_turn(port, bodies))


def batch(bench: Bench) -> list[Row]:
    """``llm_query_batched`` of prompts that each take 100 ms, 64 in flight."""
    ours, raw = compare(bench, _BATCHED, bench.rounds(5), latency=_LATENCY, width=_WIDTH)
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


def batched(prompt: str, count: int) -> str:
    """A cell that asks ``count`` prompts, each the expression ``prompt`` of its ``number``."""
    return f"""\
import time
prompts = [{prompt} for number in range({count})]
cpu = time.process_time()
began = time.perf_counter()
replies = llm_query_batched(prompts)
seconds = time.perf_counter() - began
assert not replies.failed, replies.failed
FINAL({{"seconds": [seconds], "cpu": time.process_time() - cpu}})"""


_BATCHED = batched(_PROMPT, _AT_ONCE)


def compare(
    bench: Bench,
    code: str,
    rounds: int,
    *,
    latency: float,
    width: int | None,
    raw: Callable[[int, list[dict[str, Any]]], list[float]] | None = None,
    fresh: bool = False,
    sub_model: str = SUB,
) -> tuple[list[Took], list[Took]]:
    """A run of ``code`` beside the same requests with no framework, in turns.

    ``latency``: seconds until a sub-call is answered. ``width``: the run's ``max_width``, None for
    what it finds out by itself. ``raw``: seconds for the bodies on a port; else ``width`` raw
    connections. ``fresh``: each run finds an endpoint that it knows nothing of.
    """
    endpoint = bench.endpoint
    replies = [cell(code)]
    bodies: list[dict[str, Any]] = []
    paths = (f"run{number}/v1" for number in itertools.count())

    def rlm_at(path: str) -> RLM:
        limits = {} if width is None else {"max_width": width}
        return bench.rlm(sub_model=sub_model, path=path, max_calls=10_000, **limits)

    rlm = rlm_at("v1")

    def ours() -> Took:
        endpoint.play(replies, sub_latency=latency)
        cpu: list[float] = []

        def listen(event: Event) -> None:
            if isinstance(event, CellStarted | CellEnded):
                cpu.append(time.process_time())

        asked = rlm_at(next(paths)) if fresh else rlm
        answer = asked.start("What do they say?", "a short text", listen).future.result()
        assert answer.status == "complete", answer.reason
        arrivals = endpoint.take()
        bodies[:] = [arrival.body for arrival in arrivals if arrival.model != ROOT]
        return Took(answer.value["seconds"], cpu[1] - cpu[0], answer.value["cpu"])

    def floor_of() -> Took:
        endpoint.play(replies, sub_latency=latency)
        cpu = time.process_time()
        if raw is not None:
            seconds = raw(endpoint.port, bodies)
        else:
            seconds = [asyncio.run(floor.at_once(endpoint.port, bodies, width or _WIDTH))]
        return Took(seconds, time.process_time() - cpu)

    return alternate(rounds, ours, floor_of)
