"""Equal sub-calls of a run are made once, where that was asked for."""

from __future__ import annotations

from pathlib import Path

from abyme import RLM, Limits, replay
from abyme.events import CallCached, CallStarted
from support.runs import cell, events_of, of_kind
from support.stub import Reply, Stub, StubRequest

TURNS = [
    cell("a = [llm_query('same') for _ in range(2)] + list(llm_query_batched(['same', 'other']))"),
    cell("b = [llm_query('same'), llm_query('same'), rlm_query('child', 'x')]"),
    cell("FINAL([a, b])"),
]


def script(request: StubRequest) -> Reply:
    if request.messages[0]["role"] != "system":
        return Reply(f"{request.prompt} {request.index}")
    if "Question:\nchild" in request.messages[1]["content"]:
        return Reply(cell("FINAL(llm_query('same'))"))
    return Reply(TURNS[sum(message["role"] == "assistant" for message in request.messages)])


def test_off_unless_asked_for(runs: Path) -> None:
    with Stub(script) as stub:
        answer = RLM("m", base_url=stub.url, runs=runs).completion("q", "text")
        a, b = answer.value
        assert len({*a, *b[:2]}) == 6
    assert not of_kind(events_of(runs, answer), CallCached)


def test_as_many_equal_calls_as_one_cell_makes_are_made(runs: Path) -> None:
    with Stub(script) as stub:
        limits = Limits(max_depth=2)
        rlm = RLM("m", base_url=stub.url, runs=runs, cache=True, limits=limits)
        answer = rlm.completion("q", "text")
        asked = [r.prompt for r in stub.requests if r.messages[0]["role"] != "system"]
    a, b = answer.value
    assert sorted(asked) == ["other", "same", "same", "same"]
    assert len(set(a)) == 4, "repeated in a cell, they are samples"
    assert b == [a[0], a[1], a[0]], "repeated in another cell or node, they are the same"
    events = events_of(runs, answer)
    started = {event.key for event in of_kind(events, CallStarted)}
    cached = of_kind(events, CallCached)
    assert len(cached) == 3 and {event.source for event in cached} <= started
    assert answer.usage.calls == len(stub.requests)
    assert replay(answer.run, runs=runs).identical


def test_a_run_that_goes_on_knows_its_replies(runs: Path) -> None:
    with Stub(script) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, cache=True)
        run = rlm.completion("q", "text").run
        before = len(stub.requests)
        rlm.fork(run, 2, question="q")
        asked = [r.prompt for r in stub.requests[before:] if r.messages[0]["role"] != "system"]
    assert "same" not in asked
