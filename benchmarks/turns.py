"""What the engine takes for a turn beside the model and the cell, and whether that grows.

A turn's time is the gap between two requests as the server sees them: it answers at once, so the
gap is the way of the reply, everything the engine does with it, the cell, and the way of the next
request. The floor's gap has the same requests (the history grows in both), the same ways, the same
time in the server, and the same cell executed in place. What is left when it is taken away is the
engine: parsing, ledger, journal, messages, HTTP client, and the cell's trip to the worker and back.
Both encode a history that grows, the floor with the ``json`` of the standard library.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from abyme.events import Event, TurnEnded
from benchmarks.endpoint import Arrival, Endpoint
from benchmarks.figures import Bench, Row, alternate, cell
from benchmarks.floor import Client

_CODE = "for number in range(5):\n    print(f'line {number}: ' + 'some words of output ' * 3)"
_ALL, _EARLY, _LATE = slice(None), slice(4, 15), slice(89, 99)
"""The gaps after turns 5–15 and 90–99: the last turn of a run has none."""


def turns(bench: Bench) -> list[Row]:
    """Runs of 20 and of 100 turns, between runs of the floor."""
    short, long = _compare(bench, 20, bench.rounds(12)), _compare(bench, 100, bench.rounds(12))
    early, late = (long.ours.median(part) - long.floor.median(part) for part in (_EARLY, _LATE))
    return [
        Row(
            "a turn, of 20",
            short.ours.median(),
            short.floor.median(),
            compared="difference",
            target=0.0015,
            note="gaps between requests; the floor (taken away) has the same requests and executes "
            "the same cell in place; of 19 gaps the first also waits for the worker",
        ),
        Row(
            "  its CPU in the host",
            short.ours.cpu,
            short.floor.cpu,
            compared="difference",
            note="less at the mercy of a busy machine than the gap; the worker's is not in it",
        ),
        Row("a turn, of 100", long.ours.median(), long.floor.median(), compared="difference"),
        Row("  its CPU in the host, of 100", long.ours.cpu, long.floor.cpu, compared="difference"),
        Row(
            "turns 90–99 against turns 5–15",
            late,
            early,
            compared="ratio",
            target=1.1,
            note="engine time: the floor's gaps of these turns are taken away; a tenth for noise",
        ),
    ]


class _Run(NamedTuple):
    """The gap after each turn, and the CPU of a turn, of one run; or the medians of many."""

    gaps: list[float]
    cpu: float

    def median(self, part: slice = _ALL) -> float:
        return median(self.gaps[part])

    @classmethod
    def typical(cls, runs: Sequence[_Run]) -> _Run:
        gaps = [median(each) for each in zip(*(run.gaps for run in runs), strict=True)]
        return cls(gaps, median(run.cpu for run in runs))


class _Both(NamedTuple):
    ours: _Run
    floor: _Run


def _compare(bench: Bench, count: int, rounds: int) -> _Both:
    """Runs of ``count`` turns, in turns with the floor's."""
    endpoint = bench.endpoint
    rlm = bench.rlm(max_turns=count + 1)
    replies = [*[cell(_CODE)] * (count - 1), cell('FINAL("done")')]
    bodies: list[dict[str, Any]] = []

    def ours() -> _Run:
        endpoint.play(replies)
        cpu: list[float] = []

        def listen(event: Event) -> None:
            if isinstance(event, TurnEnded):
                cpu.append(time.process_time())

        answer = rlm.start("What do the lines say?", "a short text", listen).future.result()
        assert answer.status == "complete", answer.reason
        arrivals = endpoint.take()
        bodies[:] = [arrival.body for arrival in arrivals]
        return _Run(_gaps(arrivals), (cpu[-1] - cpu[0]) / (count - 1))

    def floor() -> _Run:
        endpoint.play(replies)
        began = time.process_time()
        asyncio.run(_raw_run(endpoint, bodies))
        return _Run(_gaps(endpoint.take()), (time.process_time() - began) / count)

    return _Both(*(_Run.typical(runs) for runs in alternate(rounds, ours, floor)))


def _gaps(arrivals: Sequence[Arrival]) -> list[float]:
    return [after.at - before.at for before, after in pairwise(arrivals)]


async def _raw_run(endpoint: Endpoint, bodies: list[dict[str, Any]]) -> None:
    client = await Client.connect(endpoint.port)
    for body in bodies:
        reply = await client.ask(body)
        code = reply.removeprefix("```repl\n").removesuffix("\n```")
        if "FINAL" not in code:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, {})
    await client.close()
