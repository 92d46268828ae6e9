"""Runs that were killed, interrupted or ended by a limit go on, and ask nothing a second time."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, Answer, ConfigError
from abyme.events import (
    PASSING,
    CallEnded,
    CallStarted,
    Event,
    HostAnswered,
    RunEnded,
    RunResumed,
)
from abyme.journal.reader import read
from support.runs import cell, of_kind
from support.stub import Reply, Status, Stub, StubRequest

TURNS = (
    cell(
        "import random, time\nr = llm_query_batched([f'item {i}' for i in range(4)])\n"
        "n = note(len(r))\nprint(n, random.random(), budget()['turns']['used'])"
    ),
    cell("t = time.strftime('%F')\ns = [llm_query(f'again {t} {x}') for x in r[:2]]")
    + "\n\n"
    + cell("seen = sorted([*r, *s])\nprint(seen)"),
    "I shall think about it.",
    cell("print(s[0])\nFINAL('typed out')"),
    cell("FINAL([list(r), s, n, seen, random.random()])"),
)


def answering() -> Callable[[StubRequest], Any]:
    """A stub that numbers its replies in the order of the requests, and refuses each item once."""
    refused: set[str] = set()

    def answer(request: StubRequest) -> Any:
        if request.messages[0]["role"] == "system":
            return TURNS[sum(message["role"] == "assistant" for message in request.messages)]
        if request.prompt.startswith("item") and request.prompt not in refused:
            refused.add(request.prompt)
            return Status(429, headers={"Retry-After": "0"})
        return Reply(f"{request.prompt[:9]} was request {request.index}", latency=0.005)

    return answer


def note(x: int) -> int:
    """Add one, and leave a mark for each time that it is done."""
    with Path(os.environ["NOTED"]).open("a") as file:
        file.write("x")
    return x + 1


def an_rlm(runs: Path, url: str, **options: Any) -> RLM:
    return RLM("m", base_url=url, api_key="k", runs=runs, tools=[note], **options)


def in_a_child(work: Callable[[], object]) -> int:
    """Do ``work`` in a forked process, in which the engine is started anew; how that ended."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


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
    """The answer of the run, gone on with in another process."""

    def work() -> None:
        answer = an_rlm(runs, url).resume(run)
        (runs / "answer.json").write_text(json.dumps([answer.status, answer.value, answer.reason]))

    assert in_a_child(work) == 0
    status, value, reason = json.loads((runs / "answer.json").read_text())
    return Answer(text="", value=value, status=status, reason=reason)


def replies(events: list[Event]) -> dict[str, str]:
    """What came back, by key: of a call that was made again, the last."""
    return {e.key: e.text for e in of_kind(events, CallEnded) if not e.error}


def events_in(folder: Path) -> list[Event]:
    return [record.event for record in read(folder)]


@pytest.mark.slow
def test_kill_at_every_event_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the journal has is asked or done again, and the answer is made of it."""
    number, ended, kinds = 0, -signal.SIGKILL, set()
    while ended == -signal.SIGKILL:
        runs = tmp_path / str(number)
        runs.mkdir()
        monkeypatch.setenv("NOTED", str(runs / "noted"))
        with Stub(answering()) as stub:
            ended = killed_at(runs, stub.url, number)
            (folder,) = runs.glob("2*")
            before = events_in(folder)
            kinds.add(type(before[-1]).__name__)
            if ended == 0:
                break
            asked = len(stub.requests)
            prompts = {e.key: e.prompt for e in of_kind(before, CallStarted)}
            known = replies(before)
            if isinstance(before[-1], RunEnded):
                with pytest.raises(ConfigError, match="complete"):
                    an_rlm(runs, stub.url).resume(folder.name)
                break
            if not any(type(event).__name__ == "DataLoaded" for event in before):
                number += 1
                continue
            answer = resumed(runs, stub.url, folder.name)
            assert (answer.status, answer.reason) == ("complete", ""), number
            again = {request.prompt for request in stub.requests[asked:]}
            assert not again & {prompts[key] for key in known if prompts[key]}, number
        events = events_in(folder)
        now, asked_for = replies(events), {e.key: e.prompt for e in of_kind(events, CallStarted)}
        assert {key: now[key] for key in known} == known, number
        r, s, n, seen, _ = answer.value
        of_prompts = {asked_for[key]: text for key, text in now.items() if asked_for[key]}
        assert r == [of_prompts[f"item {i}"] for i in range(4)], number
        assert all(text in of_prompts.values() for text in s) and seen == sorted([*r, *s]), number
        assert n == 5
        answered = [e for e in of_kind(before, HostAnswered) if e.value == 5]
        noted = len((runs / "noted").read_text())
        assert noted == 1 or (noted == 2 and not answered), number
        if in_flight := set(prompts) - {e.key for e in of_kind(before, CallEnded)}:
            assert set(of_kind(events, RunResumed)[0].in_flight) == in_flight, number
        number += 1
    assert {"CallStarted", "CallEnded", "AttemptFailed", "FinishHeld", "CellStarted"} <= kinds
    assert {"HostCalled", "HostAnswered", "TurnEnded", "MessageAdded", "DocumentHashed"} <= kinds
