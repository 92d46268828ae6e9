"""What the engine takes for a turn beside the model and the cell, and whether that grows.

A turn's time is the gap between two requests as the server sees them: it answers at once, so the
gap is the way of the reply, everything the engine does with it, the cell, and the way of the next
request. The floor's gap has the same requests (the history grows in both), the same ways, the same
time in the server, and the same cell executed in place. What is left when it is taken away is the
engine: parsing, ledger, journal, messages, HTTP client, and the cell's trip to the worker and back.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks.endpoint import Endpoint
from benchmarks.figures import Bench, Row, alternate, cell
from benchmarks.floor import Client

_CODE = "for number in range(5):\n    print(f'line {number}: ' + 'some words of output ' * 3)"
_EARLY, _LATE = slice(4, 15), slice(89, 99)
"""The gaps after turns 5–15 and 90–99: the last turn of a run has none."""


def turns(bench: Bench) -> list[Row]:
    """Runs of 20 and of 100 turns, between runs of the floor."""
    ours, floor = _gaps(bench, 20, bench.rounds(9))
    rows = [
        Row(
            "a turn, of 20",
            median(ours),
            median(floor),
            compared="difference",
            target=0.0015,
            note="gaps between requests; the floor (taken away) has the same requests and executes "
            "the same cell in place; the first gap, which waits for the worker, is one of 19",
        )
    ]
    ours, floor = _gaps(bench, 100, bench.rounds(6))
    early = median(ours[_EARLY]) - median(floor[_EARLY])
    late = median(ours[_LATE]) - median(floor[_LATE])
    return [
        *rows,
        Row("a turn, of 100", median(ours), median(floor), compared="difference"),
        Row(
            "turns 90–99 against turns 5–15",
            late,
            early,
            compared="ratio",
            target=1.1,
            note="engine time, the floor's taken away from both; one tenth is left to noise",
        ),
    ]


def _gaps(bench: Bench, count: int, rounds: int) -> tuple[list[float], list[float]]:
    """The median gap after each turn, ours and the floor's."""
    endpoint = bench.endpoint
    rlm = bench.rlm(max_turns=count + 1)
    replies = [*[cell(_CODE)] * (count - 1), cell('FINAL("done")')]
    bodies: list[dict[str, Any]] = []

    def ours() -> list[float]:
        endpoint.play(replies)
        answer = rlm.completion("What do the lines say?", "a short text")
        assert answer.status == "complete", answer.reason
        arrivals = endpoint.take()
        bodies[:] = [arrival.body for arrival in arrivals]
        return [after.at - before.at for before, after in pairwise(arrivals)]

    def floor() -> list[float]:
        endpoint.play(replies)
        asyncio.run(_raw_run(endpoint, bodies))
        return [after.at - before.at for before, after in pairwise(endpoint.take())]

    runs = alternate(rounds, ours, floor)
    ours_gaps, floor_gaps = ([median(gaps) for gaps in zip(*each, strict=True)] for each in runs)
    return ours_gaps, floor_gaps


async def _raw_run(endpoint: Endpoint, bodies: list[dict[str, Any]]) -> None:
    client = await Client.connect(endpoint.port)
    for body in bodies:
        reply = await client.ask(body)
        code = reply.removeprefix("```repl\n").removesuffix("\n```")
        if "FINAL" not in code:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(code, {})
    await client.close()
