"""Calls and limits in a journal, as its specification says that they are counted and ordered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, Limits
from abyme.events import (
    AttemptFailed,
    CallEnded,
    CallGivenUp,
    CallRefused,
    CellEnded,
    CellStarted,
    DocumentHashed,
    LimitReached,
    TurnEnded,
)
from support.runs import cell, events_of, of_kind
from support.stub import Drop, Reply, Status, Stub, StubRequest

CALLS = cell(
    "for prompt in ('plain', 'retried', 'dropped', 'refused', 'x' * 900_000, ['b'] * 50):\n"
    "    try: (llm_query if isinstance(prompt, str) else llm_query_batched)(prompt)\n"
    "    except Exception as error: print(type(error).__name__)"
)


def test_how_calls_are_counted(runs: Path) -> None:
    seen: set[str] = set()

    def answer(request: StubRequest) -> Any:
        if request.messages[0]["role"] == "system":
            return cell("FINAL(1)") if len(request.messages) > 2 else CALLS
        again = request.prompt in seen
        seen.add(request.prompt)
        if request.prompt == "retried" and not again:
            return Status(429, headers={"Retry-After": "0"})
        if request.prompt == "dropped" and not again:
            return Drop()
        return Status(400) if request.prompt == "refused" else "fine"

    with Stub(answer) as stub:
        rlm = RLM("m", base_url=stub.url, api_key="k", runs=runs, limits=Limits(max_calls=30))
        result = rlm.completion("q", "text")
    events = events_of(runs, result)
    ended = of_kind(events, CallEnded)
    told = [(call.usage.calls, call.attempts, call.charged, bool(call.error)) for call in ended]
    once, retried, dropped = (1, 1, False, False), (1, 2, False, False), (1, 2, True, False)
    assert told == [once, once, retried, dropped, (0, 1, False, True), once]
    assert len(of_kind(events, AttemptFailed)) == 2 == len(of_kind(events, CallRefused))
    assert result.usage.calls == sum(call.usage.calls for call in ended) == 5
    assert result.usage.tokens == sum(call.usage.tokens for call in ended)
    assert of_kind(events, CellEnded)[0].result.calls == 5, "the batch was refused whole"


ENDING = ["LimitReached", "MessageAdded", "CallStarted", "CallEnded", "MessageAdded", "RunEnded"]


@pytest.mark.parametrize(
    ("limits", "before"),
    [
        (Limits(max_turns=2), ["CellEnded", "TurnEnded", "MessageAdded"]),
        (Limits(max_calls=4), ["TurnEnded", "MessageAdded", "CallRefused"]),
        pytest.param(
            Limits(max_seconds=5),
            ["CallStarted", "CallEnded", "CallEnded"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_order_of_events_at_a_limit(runs: Path, limits: Limits, before: list[str]) -> None:
    slow = limits.max_seconds == 5
    code = cell(f"try: llm_query_batched({['a', 'b'] if slow else ['a']})\nexcept: pass")

    def answer(request: StubRequest) -> Any:
        if request.messages[0]["role"] == "system":
            return code
        return Reply("fine", latency=20.0 if slow else 0.0)

    with Stub(answer) as stub:
        rlm = RLM("m", base_url=stub.url, api_key="k", runs=runs, limits=limits)
        result = rlm.completion("q", "text")
    assert result.status == "partial"
    beside = (DocumentHashed, CallGivenUp)  # which come when they come
    events = [event for event in events_of(runs, result) if not isinstance(event, beside)]
    names = [type(event).__name__ for event in events]
    assert names[-9:] == [*before, *ENDING]
    (limit,) = of_kind(events, LimitReached)
    assert getattr(limits, limit.limit) is not None
    assert [call.charged for call in of_kind(events, CallEnded)[-3:-1]] == [slow, slow]
    cut_off = len(of_kind(events, CellStarted)) - len(of_kind(events, CellEnded))
    assert cut_off == slow
    assert len(of_kind(events, TurnEnded)) == len(of_kind(events, CellEnded))
