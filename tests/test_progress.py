"""How far a run has come, told to a function in the thread or loop of whoever waits."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from abyme import Progress
from abyme.events import (
    CallEnded,
    CallRefused,
    CallsAsked,
    CallStarted,
    CellEnded,
    CellStarted,
    DataLoaded,
    LimitReached,
    RunStarted,
)
from abyme.progress import Tally
from abyme.types import CellResult, Usage
from support.runs import cell, scripted_rlm

LIMITS = {"max_turns": 30, "max_calls": 10, "max_cost": 1.0, "max_tokens": None}


def test_events_add_up() -> None:
    tally = Tally()
    assert tally.progress.stage == "loading" and tally.progress.used == 0
    tally.take(RunStarted("r", "0.1", "q", "m", "m", "", LIMITS, 1))
    tally.take(DataLoaded("documents", 3, 999))
    tally.take(CallStarted("0/turn1", "0", 0, "root", "m"))
    assert (tally.progress.stage, tally.progress.turn) == ("thinking", 1)
    tally.take(CallEnded("0/turn1", "x", Usage(10, 5, calls=1), cost=0.25))
    tally.take(CellStarted("0", 1, 1, "code"))
    tally.take(CallsAsked("0", 1, 4))
    for name in "ab":
        tally.take(CallStarted(f"0/1/{name}/0", "0", 1, "llm_query", "m"))
    tally.take(CallRefused("0/1/c/0", "0", 1, "llm_query", "too long", "WindowExceeded"))
    tally.take(CallEnded("0/1/a/0", "x", Usage(1, 1, calls=1), cost=0.25))
    now = tally.progress
    assert (now.stage, now.documents, now.bytes) == ("running", 3, 999)
    assert (now.sub_calls_done, now.sub_calls_in_flight, now.sub_calls_waiting) == (1, 1, 1)
    assert (now.calls, now.usage.tokens, now.cost) == (2, 17, 0.5)
    assert now.used == 0.5  # of the dollars, which are scarcer than calls and turns
    tally.take(CallEnded("0/1/b/0", error="no"))
    tally.take(CellEnded("0", 1, 1, CellResult("done")))
    tally.take(LimitReached("0", "max_cost", "spent"))
    now = tally.progress
    assert (now.sub_calls_failed, now.sub_calls_in_flight, now.sub_calls_waiting) == (1, 0, 0)
    assert (now.stage, now.limit_reached) == ("thinking", "max_cost")


def test_an_unknown_price_is_not_nothing() -> None:
    tally = Tally()
    tally.take(RunStarted("r", "0.1", "q", "m", "m", "", LIMITS, 1, priced=False))
    tally.take(CallEnded("0/turn1", "x", Usage(1, 1, calls=1)))
    assert tally.progress.cost is None


def test_completion_calls_in_its_own_thread_and_once_at_the_end(runs: Path) -> None:
    seen: list[Progress] = []
    threads: set[threading.Thread] = set()

    def progress(now: Progress) -> None:
        seen.append(now)
        threads.add(threading.current_thread())

    replies = [cell("import time\ntime.sleep(0.5)\nprint(llm_query('a?'))"), cell("FINAL('x')")]
    rlm = scripted_rlm(runs, replies, ["yes"])
    answer = rlm.completion("q", "some text", progress=progress)
    assert answer.status == "complete"
    assert threads == {threading.current_thread()}
    assert any(now.stage == "running" and now.turn == 1 for now in seen)
    last = seen[-1]
    assert (last.stage, last.turn, last.calls, last.run) == ("ended", 2, 3, answer.run)
    assert last.usage == answer.usage and last.cost == answer.cost


def test_what_progress_raises_ends_the_run(runs: Path) -> None:
    def progress(now: Progress) -> None:
        raise RuntimeError("no more")

    rlm = scripted_rlm(runs, [cell("import time\ntime.sleep(30)")])
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="no more"):
        rlm.completion("q", "some text", progress=progress)
    assert time.monotonic() - began < 20
    assert all(
        (folder / "journal.jsonl").read_text().count("RunEnded") for folder in runs.iterdir()
    )


def test_acompletion_calls_in_the_loop(runs: Path) -> None:
    seen: list[Progress] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def progress(now: Progress) -> None:
            assert asyncio.get_running_loop() is loop
            seen.append(now)

        rlm = scripted_rlm(runs, [cell("import time\ntime.sleep(0.3)"), cell("FINAL('x')")])
        await rlm.acompletion("q", "some text", progress=progress)

    asyncio.run(main())
    assert len(seen) > 1 and seen[-1].stage == "ended"


def test_a_slow_function_does_not_slow_the_run(runs: Path) -> None:
    answer = scripted_rlm(runs, [*[cell("1")] * 20, cell("FINAL('x')")]).completion(
        "q", "some text", progress=lambda now: time.sleep(1.0)
    )
    assert answer.seconds < 1.0 or answer.turns == 21  # it went on meanwhile
    assert answer.status == "complete"
