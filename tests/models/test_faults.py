"""Runs against endpoints that refuse, fail, drop, hang, go away and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from abyme import RLM, Answer, Limits
from abyme.events import AttemptFailed, CallEnded
from abyme.sandbox.process import ProcessSandbox
from support.faults import Faulty
from support.runs import cell, events_of, of_kind
from support.stub import Action, Hang, Stub, StubRequest

ROOT = "root"
Script = Callable[[StubRequest], "Action | str"]


def rlm(url: str, runs: Path, **limits: float | None) -> RLM:
    return RLM(
        ROOT,
        sub_model="sub",
        base_url=url,
        api_key="",
        runs=runs,
        sandbox=ProcessSandbox(grace_seconds=0.5),
        limits=Limits(**{"max_seconds": 60, **limits}),  # type: ignore[arg-type]
    )


def turns(*replies: str) -> Callable[[StubRequest], str]:
    """The root says these in order, by how many it has said; any other model echoes."""

    def script(request: StubRequest) -> str:
        if request.body["model"] != ROOT:
            return f"echo {request.prompt}"
        said = sum(message["role"] == "assistant" for message in request.messages)
        return str(replies[said])

    return script


BATCH = """\
replies = llm_query_batched([f"part {n}" for n in range(200)])
assert not replies.failed, replies.failed
FINAL([str(reply) for reply in replies])"""


@pytest.mark.slow
@pytest.mark.parametrize("max_width", [None, 64])
def test_a_batch_of_200_gives_200_results_whatever_befalls_its_calls(
    runs: Path, max_width: int | None
) -> None:
    faulty = Faulty(turns(cell(BATCH)), latency=0.005)
    with Stub(faulty) as stub:
        answer = rlm(stub.url, runs, call_seconds=20, max_width=max_width).completion("?", "text")
    assert answer.status == "complete", answer.reason
    assert answer.value == [f"echo part {n}" for n in range(200)]
    assert set(faulty.seen) == {"429", "500", "Drop", "Hang", "Reply"}
    assert faulty.seen["Reply"] == 201, "nothing is asked twice that was answered"
    assert faulty.seen["429"] >= 40
    ended = of_kind(events_of(runs, answer), CallEnded)
    assert len(ended) == 201 and not any(event.error for event in ended)


@pytest.mark.slow
def test_root_turns_survive_the_same(runs: Path) -> None:
    count = 60
    replies = [cell(f"total = {n}\nprint(total)") for n in range(count)]
    faulty = Faulty(turns(*replies, cell("FINAL(total)")), seed=3)
    with Stub(faulty) as stub:
        asked = rlm(stub.url, runs, call_seconds=8, max_turns=count + 1)
        answer = asked.completion("?", "text")
    assert (answer.status, answer.value, answer.turns) == ("complete", count - 1, count + 1)
    assert faulty.seen["429"] and faulty.seen["500"] and faulty.seen["Drop"]


# -- away ----------------------------------------------------------------------------------------


@contextmanager
def going_away(
    script: Script, away: Callable[[StubRequest], bool], seconds: float
) -> Iterator[tuple[str, list[int]]]:
    """An endpoint that ends when ``away`` says so of a request, and is back ``seconds`` later."""
    port: list[int] = []
    down, over = threading.Event(), threading.Event()
    accepted: list[int] = []

    def first(request: StubRequest) -> Action | str:
        if away(request):
            down.set()
            return Hang()  # cut off with the connection
        return script(request)

    def serve() -> None:
        with Stub(first) as stub:
            port.append(stub.port)
            down.wait(60)
        time.sleep(seconds)
        if not over.is_set():
            with Stub(script, port=port[0]) as stub:
                over.wait(60)
                accepted.append(stub.accepted)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        while not port:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{port[0]}/v1", accepted
    finally:
        down.set()
        over.set()
        thread.join()


def test_an_endpoint_that_is_away_for_a_while_is_waited_for(runs: Path) -> None:
    count = iter(range(1000))
    script = turns(cell(BATCH))

    def away(request: StubRequest) -> bool:
        return request.body["model"] != ROOT and next(count) >= 50

    with going_away(script, away, seconds=2.0) as (url, accepted):
        answer = rlm(url, runs, call_seconds=40, max_width=8).completion("?", "text")
    assert answer.status == "complete", answer.reason
    assert answer.value == [f"echo part {n}" for n in range(200)]
    assert accepted and accepted[0] > 0
    refused = [
        event
        for event in of_kind(events_of(runs, answer), AttemptFailed)
        if "connection refused" in event.error
    ]
    assert refused


def test_a_root_turn_waits_for_it_too(runs: Path) -> None:
    def away(request: StubRequest) -> bool:
        return len(request.messages) > 2

    script = turns(cell("x = 21\nprint(x)"), cell("FINAL(x * 2)"))
    with going_away(script, away, seconds=1.5) as (url, _):
        answer = rlm(url, runs, call_seconds=40).completion("?", "text")
    assert (answer.status, answer.value) == ("complete", 42)


def test_an_endpoint_that_was_never_there_is_not_waited_for(runs: Path) -> None:
    with Stub(turns()) as stub:
        url = stub.url
    answer = rlm(url, runs, call_seconds=600, max_seconds=600).completion("?", "text")
    assert answer.status == "failed"
    assert "connection refused; is the server running?" in answer.reason


@pytest.mark.parametrize("limits", [{"call_seconds": 1.5}, {"max_seconds": 3.0}])
def test_one_that_does_not_come_back_ends_the_run_with_what_was_paid_for(
    runs: Path, limits: dict[str, float]
) -> None:
    code = "parts = llm_query_batched(['a', 'b'])\nprint(answer := list(map(str, parts)))"

    def away(request: StubRequest) -> bool:
        return len(request.messages) > 2

    with Stub(lambda request: Hang() if away(request) else turns(cell(code))(request)) as stub:
        answer = rlm(stub.url, runs, **limits).completion("?", "text")
    assert answer.status == "partial"
    paid_for(answer, runs)


def paid_for(answer: Answer, runs: Path) -> None:
    """What the answer says was used is what its calls used, those that were cut off included."""
    ended = of_kind(events_of(runs, answer), CallEnded)
    assert answer.usage.tokens == sum(event.usage.tokens for event in ended)
    answered = [event for event in ended if not event.error]
    assert len(answered) >= 3
    assert all(event.usage.tokens for event in answered)


def test_a_hung_call_is_cut_by_what_its_siblings_took_and_charged(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far from the deadline, which is ten minutes away."""
    monkeypatch.setattr("abyme.models.patience.LEAST_SECONDS", 0.2)
    monkeypatch.setattr("abyme.models.caller.LEAST_SECONDS", 0.2)
    hung: list[str] = []

    def script(request: StubRequest) -> Action | str:
        if request.prompt == "part 60" and not hung:
            hung.append(request.prompt)
            return Hang()
        return turns(cell(BATCH))(request)

    with Stub(script) as stub:
        answer = rlm(stub.url, runs, call_seconds=600).completion("?", "text")
    assert answer.status == "complete", answer.reason
    assert answer.value == [f"echo part {n}" for n in range(200)]
    events = events_of(runs, answer)
    (failed,) = of_kind(events, AttemptFailed)
    (ended,) = (each for each in of_kind(events, CallEnded) if each.key == failed.key)
    assert ended.charged and ended.usage.estimated and ended.attempts == 2
