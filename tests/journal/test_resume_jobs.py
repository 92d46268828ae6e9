"""Runs with jobs that live across cells: killed anywhere they go on, and ask nothing twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, Answer, Limits, replay
from abyme.engine import engine
from abyme.events import (
    PASSING,
    CallEnded,
    CallStarted,
    Event,
    RunEnded,
    WorkerRestored,
)
from abyme.journal.reader import read
from abyme.models.scripted import Scripted
from support.forked import in_a_child
from support.runs import cell, events_of, of_kind, scripted_rlm, told
from support.stub import Reply, Status, Stub, StubRequest

STEP = 5
"""Of the events at which a run is killed; each takes a second. All of them pass."""

TURNS = (
    cell(
        "job = llm_start([f'item {i}' for i in range(8)])\n"
        "given_up = llm_start([f'other {i}' for i in range(3)], schema='str')\n"
        "print(job)"
    ),
    cell(
        "first = next(as_completed(job))\nprint(first, job)\ngiven_up.cancel()\n"
        "print(given_up.results())"
    ),
    cell("rest = job.so_far()\nprint(len(rest), job.progress())\nn = llm_query('beside')"),
    cell("r = job.results()\nprint(r)"),
    cell("FINAL([list(r), first, n, len(rest), [str(x) for x in given_up.results()]])"),
)


def answering() -> Callable[[StubRequest], Any]:
    def answer(request: StubRequest) -> Any:
        if request.messages[0]["role"] == "system":
            turn = sum(message["role"] == "assistant" for message in request.messages)
            return Reply(TURNS[turn], latency=0.01)
        number = request.prompt.split()[1][:1] if request.prompt[:4] == "item" else "0"
        latency = 0.005 + 0.015 * int(number)
        return Reply(f"{request.prompt[:9]} was request {request.index}", latency=latency)

    return answer


def an_rlm(runs: Path, url: str) -> RLM:
    return RLM("m", base_url=url, api_key="k", runs=runs, limits=Limits(max_seconds=60))


def killed_at(runs: Path, url: str, number: int) -> int:
    """Do the run in a process that kills itself at event ``number`` of those it writes."""

    def work() -> None:
        seen = 0

        def listener(event: Event) -> None:
            nonlocal seen
            if not isinstance(event, PASSING):
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        an_rlm(runs, url).start("q", "some text", listener).future.result()

    return in_a_child(work)


def resumed(runs: Path, url: str, run: str) -> Answer:
    """The answer of the run, gone on with here: in another process than the one that was killed."""
    return an_rlm(runs, url).resume(run)


def events_in(folder: Path) -> list[Event]:
    return [record.event for record in read(folder)]


@pytest.mark.slow
def test_killed_at_any_event_it_goes_on(tmp_path: Path) -> None:
    number, times = 8, 0
    while True:
        runs = tmp_path / str(number)
        with Stub(answering()) as stub:
            ended = killed_at(runs, stub.url, number)
            (folder,) = runs.glob("2*")
            if ended == 0:
                break
            assert ended == -signal.SIGKILL
            before = events_in(folder)
            if not of_kind(before, RunEnded):
                replied = {e.key for e in of_kind(before, CallEnded) if not e.error}
                prompts = {e.key: e.prompt for e in of_kind(before, CallStarted)}
                asked = len(stub.requests)
                answer = resumed(runs, stub.url, folder.name)
                again = [request.prompt for request in stub.requests[asked:]]
                assert not {prompts[key] for key in replied if prompts[key]} & {*again}, number
                check(answer, events_in(folder), number)
                assert replay(folder.name, runs=runs).identical, number
                times += 1
        number += STEP
    assert times > 10


def check(answer: Answer, events: list[Event], number: int) -> None:
    assert (answer.status, answer.reason) == ("complete", ""), number
    replies = {e.text for e in of_kind(events, CallEnded) if not e.error}
    got, first, beside, rest, others = answer.value
    assert [text.partition(" was")[0] for text in got] == [f"item {i}" for i in range(8)]
    assert {*got, beside} <= replies, number
    assert first[1] == got[first[0]] and 1 <= rest <= 8, number
    for text in others:
        assert text in replies or "cancelled with its job" in text, number


def test_a_worker_that_dies_leaves_its_jobs_going(runs: Path) -> None:
    """What the cells had seen they see again; no item is asked a second time."""
    asked: list[str] = []

    def sub(request: Any) -> str:
        asked.append(request.messages[0].text)
        return f"to {asked[-1]}"

    answer = scripted_rlm(
        runs,
        [
            cell("job = llm_start([str(i) for i in range(40)])\nprint(next(as_completed(job)))"),
            cell("import os\nos._exit(3)"),
            cell("seen = len(job.so_far())\nFINAL([seen, list(job.results())])"),
        ],
        sub,
    ).completion("q", "some text")
    assert answer.value[1] == [f"to {i}" for i in range(40)] and answer.value[0] >= 1
    assert sorted(asked, key=int) == [str(i) for i in range(40)]
    (restored,) = of_kind(events_of(runs, answer), WorkerRestored)
    assert restored.cells == (1,) and not restored.differing
    assert replay(answer.run, runs=runs).identical


def test_what_no_cell_holds_any_more_is_cancelled(runs: Path) -> None:
    """The cell that began the job is not run again: nobody has its number."""
    model = Scripted(
        [
            cell("job = llm_start(['a', 'b'])\nimport os\nos._exit(3)"),
            cell("FINAL('job' in globals())"),
        ],
        lambda request: "x",
        latency=0.05,
    )
    answer = RLM(model, runs=runs).completion("q", "some text")
    assert answer.value is False
    assert not [line for line in told(events_of(runs, answer))[2:] if "job 1" in line]


def test_a_limit_closes_the_job_and_a_higher_one_lets_it_go_on(runs: Path) -> None:
    asked: list[str] = []

    def sub(request: Any) -> str:
        asked.append(request.messages[0].text)
        return f"to {asked[-1]}"

    begin = cell("job = llm_start(list('abcdef'))\nprint(next(as_completed(job)))")

    def root(request: Any) -> str:
        turn = sum(message.role == "assistant" for message in request.messages)
        if "This is the last message" in request.messages[-1].text:
            return "no answer yet"
        return begin if turn == 0 else cell("FINAL(list(job.results()))")

    class Slow(Scripted):
        async def complete(self, request: Any, on_text: Any = None) -> Any:
            if request.purpose == "sub" and request.messages[0].text in "def":
                import asyncio

                await asyncio.sleep(0.0 if go_on else 30)
            return await super().complete(request, on_text)

    go_on: list[bool] = []
    limits = Limits(max_turns=1, max_seconds=60)
    answer = RLM(Slow(root, sub), runs=runs, limits=limits).completion("q", "some text")
    assert answer.status == "partial"
    assert (
        "max_turns" in answer.reason and "job 1 (llm_start, cell 1): 3 of 6 done" in answer.reason
    )
    before = sorted(asked)
    go_on.append(True)
    again = RLM(Slow(root, sub), runs=runs).resume(answer.run)
    assert again.value == [f"to {letter}" for letter in "abcdef"]
    assert before == ["a", "b", "c"] and sorted(asked) == list("abcdef")


def test_what_failed_in_a_job_that_was_closed_stays_so(runs: Path) -> None:
    """A look that is on record told of an item which failed, and which nobody asks again."""
    begin = "import time\njob = llm_start(['a', 'bad'])\ntime.sleep(0.5)\nFINAL(1)"
    look = "r = job.results()\nx = llm_query('beside')\nFINAL([r[0], r.failed, x])"

    def script(request: StubRequest) -> Any:
        if request.messages[0]["role"] == "system":
            return cell(look if "second" in request.messages[1]["content"] else begin)
        return Status(400, "no") if request.prompt == "bad" else f"to {request.prompt}"

    with Stub(script) as stub:

        def work() -> None:
            def listener(event: Event) -> None:
                if isinstance(event, CallStarted) and event.prompt == "beside":
                    os.kill(os.getpid(), signal.SIGKILL)

            sitting = engine().sit(an_rlm(runs, stub.url)._spec_of("", "some text"))
            for question in ("the first", "the second"):
                sitting.ask(question, listener).future.result()

        assert in_a_child(work) == -signal.SIGKILL
        (folder,) = runs.glob("2*")
        answer = resumed(runs, stub.url, folder.name)
    assert (answer.status, answer.value) == ("complete", ["to a", [1], "to beside"])
