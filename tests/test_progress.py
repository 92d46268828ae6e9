"""How far a run has come, told to a function in the thread or loop of whoever waits."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from abyme import Limits, Progress
from abyme.events import (
    CallEnded,
    CallRefused,
    CallsAsked,
    CallStarted,
    CellEnded,
    CellStarted,
    DataLoaded,
    LimitReached,
    QuestionAsked,
    RunForked,
    RunResumed,
    RunStarted,
    Terms,
)
from abyme.progress import Tally
from abyme.types import CellResult, Usage
from support import tree
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


TERMS = Terms(version="1", model="m", sub_model="m", base_url="", limits={"max_turns": 4})


def killed_in_a_batch() -> Tally:
    """A tally of a run that was killed with one reply and one of two sub-calls."""
    tally = Tally()
    events = [
        RunStarted("r", "0.1", "q", "m", "m", "", LIMITS, 1),
        CallStarted("0/turn1", "0", 0, "root", "m"),
        CallEnded("0/turn1", "x", Usage(10, 5, calls=1), cost=0.25),
        CellStarted("0", 1, 1, "code"),
        CallStarted("0/1/a/0", "0", 1, "llm_query", "m"),
        CallStarted("0/1/b/0", "0", 1, "llm_query", "m"),
        CallEnded("0/1/a/0", "x", Usage(1, 1, calls=1), cost=0.25),
    ]
    tally.recall(events, 100.0)
    return tally


def test_what_was_spent_before_counts() -> None:
    tally = killed_in_a_batch()
    assert tally.progress.seconds >= 100
    tally.take(RunResumed(terms=TERMS, in_flight=("0/1/b/0",), charged_tokens=7, charged_cost=0.1))
    now = tally.progress
    assert (now.calls, now.usage.tokens, now.usage.calls) == (3, 24, 3)
    assert now.cost == pytest.approx(0.6) and now.limits == {"max_turns": 4}
    assert (now.sub_calls_in_flight, now.sub_calls_done, now.turn) == (0, 1, 1)
    tally.take(CallStarted("0/1/b/0", "0", 1, "llm_query", "m"))
    tally.take(CallEnded("0/1/b/0", "x", Usage(1, 1, calls=1), cost=0.1))
    assert (tally.progress.sub_calls_done, tally.progress.calls) == (2, 4)


def test_a_reply_that_is_asked_for_again_is_one_turn() -> None:
    tally = Tally()
    for _ in range(2):
        tally.take(CallStarted("0/turn1", "0", 0, "root", "m"))
    assert tally.progress.turn == 1


def test_a_fork_has_spent_nothing_and_a_question_has_its_own_turns() -> None:
    tally = killed_in_a_batch()
    tally.take(RunForked(run="f", parent="r", turn=1, terms=TERMS))
    now = tally.progress
    assert (now.run, now.calls, now.cost, now.usage, now.turn) == ("f", 0, 0.0, Usage(), 1)
    assert now.seconds < 100
    tally.take(QuestionAsked(question="q", number=2, turns=1, terms=TERMS))
    tally.take(CallStarted("0/turn2", "0", 0, "root", "m"))
    assert (tally.progress.turn, tally.progress.earlier_turns, tally.progress.used) == (2, 1, 0)


def test_who_resumes_is_told_of_what_was_before(runs: Path) -> None:
    replies = [cell("print(1)"), cell("print(2)"), cell("FINAL(3)")]
    told: list[Progress] = []
    first = scripted_rlm(runs, replies, limits=Limits(max_turns=2)).completion("q", "some text")
    assert first.status == "partial"
    rlm = scripted_rlm(runs, replies)
    answer = rlm.resume(first.run, progress=told.append)
    assert answer.status == "complete"
    assert (told[-1].turn, told[-1].usage) == (3, answer.usage)
    assert all(now.turn >= 2 and now.run == first.run for now in told)
    told.clear()
    fork = rlm.fork(first.run, 1, progress=told.append)
    assert told[-1].usage == fork.usage and told[-1].turn == 3


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


def test_children_are_counted_apart_and_the_roots_own_stays_its_own() -> None:
    tally = Tally()
    for event in tree.at_work():
        tally.take(event)
    now = tally.progress
    assert (now.stage, now.turn, now.limit_reached) == ("running", 1, "")
    children = (now.children_done, now.children_failed, now.children_at_work, now.children_waiting)
    assert children == (1, 1, 1, 2)
    assert (now.sub_calls_done, now.sub_calls_in_flight, now.sub_calls_waiting) == (2, 1, 0)
    assert (now.calls, now.usage.tokens) == (6, 88)
    tally.take(CallRefused("0/1/c4/0", "0", 1, "rlm_query", "your own question", "ChildFailed"))
    assert tally.progress.children_waiting == 1
    tally.take(CellEnded("0", 1, 1, CellResult("done")))
    assert (tally.progress.stage, tally.progress.children_waiting) == ("thinking", 0)


def test_a_job_waits_and_works_between_cells_until_all_of_it_is_fetched() -> None:
    tally = Tally()
    for event in (*tree.at_work(), *tree.job()):
        tally.take(event)
    tally.take(CellEnded("0", 1, 1, CellResult("done")))
    tally.take(CallStarted("0/1/p0/0", "0", 1, "llm_query", "m"))
    assert (tally.progress.jobs, tally.progress.sub_calls_waiting) == (1, 3)
    for event in tree.look("0-1"):
        tally.take(event)
    assert tally.progress.jobs == 1
    for event in tree.look("3,2", after=2):
        tally.take(event)
    assert tally.progress.jobs == 0
