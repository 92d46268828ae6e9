"""The call that is kept back: it is made however long the conversation has become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, Limits
from abyme.config import ChildLimits
from abyme.events import CallRefused, MessageAdded, NodeEnded
from abyme.last_call import without_middle
from abyme.ledger import Account, Amount
from abyme.models.estimator import TokenEstimator
from abyme.models.prices import Price
from abyme.models.scripted import Scripted
from abyme.models.sizing import LEAST_HELD, Sizing
from abyme.types import Message
from support.command import abyme
from support.ledger import UNLIMITED
from support.runs import cell, events_of, of_kind
from support.stub import Reply, Stub, StubRequest

FINAL = "answered from what is known"
PRICE = (1.0, 4.0)


def spends_and_prints(request: StubRequest) -> Reply:
    """A root, or a child, whose turn uses the budget up and prints all that may be shown of it."""
    if request.messages[0]["role"] != "system":
        return Reply("word " * 100)
    if "No code will be run" in request.prompt:
        return Reply(FINAL)
    opening = request.messages[1]["content"]
    if "spawn" in opening and "child" not in opening:
        asks = "r = rlm_query_batched(['a child'], ['abc'])"
        return Reply(cell(f"{asks}\nFINAL(len(r.failed))"))
    asks = "r = llm_query_batched([f'{i} ' + 'word ' * 200 for i in range(700)])"
    return Reply(cell(f"{asks}\nprint('long output ' * 3000)"))


@pytest.mark.parametrize(
    "limits",
    [
        {"max_cost": 0.02},
        {"max_cost": 0.2},
        {"max_tokens": 60_000},
        {"max_input_tokens": 30_000},
        {"max_output_tokens": 9_000},
    ],
)
def test_it_is_made_after_a_turn_that_said_much(runs: Path, limits: dict[str, Any]) -> None:
    with Stub(spends_and_prints) as stub:
        rlm = RLM(
            "m", base_url=stub.url, runs=runs, limits=Limits(max_calls=5000, **limits), price=PRICE
        )
        answer = rlm.completion("q", "abc")
        billed = (stub.bill.input_tokens + 4 * stub.bill.output_tokens) / 1e6
    assert (answer.status, answer.text) == ("partial", FINAL)
    assert answer.reason.startswith(next(iter(limits)))
    assert billed <= limits.get("max_cost", 1e9)
    keys = [event.key for event in of_kind(events_of(runs, answer), CallRefused)]
    assert not [key for key in keys if key.startswith("0/final")]


def test_what_a_root_saw_last_goes_along(runs: Path) -> None:
    with Stub(spends_and_prints) as stub:
        limits = Limits(max_calls=5000, max_cost=0.5)
        answer = RLM("m", base_url=stub.url, runs=runs, limits=limits, price=PRICE).completion(
            "q", "abc"
        )
        (last,) = (r for r in stub.requests if "No code will be run" in r.prompt)
    told = of_kind(events_of(runs, answer), MessageAdded)
    *_, shown, request = [event.text for event in told if event.role == "user"]
    assert "long output" in shown and len(shown) > 10_000
    assert last.messages[-1]["content"] == f"{shown}\n\n{request}"


def test_a_child_makes_its_own(runs: Path) -> None:
    with Stub(spends_and_prints) as stub:
        limits = Limits(max_depth=2, max_calls=5000, children=(ChildLimits(max_cost=0.03),))
        answer = RLM("m", base_url=stub.url, runs=runs, limits=limits, price=PRICE).completion(
            "spawn", "abc"
        )
    (child,) = of_kind(events_of(runs, answer), NodeEnded)
    assert (child.status, child.text) == ("partial", FINAL)
    assert child.cost is not None and child.cost <= 0.03


MODEL = Scripted([])


def sizing(price: Price | None = None, **limits: Any) -> tuple[Account, Sizing]:
    account = Account(Limits(**{**UNLIMITED, **limits}))
    return account, Sizing(account, TokenEstimator(), lambda model: price)


@pytest.mark.parametrize("limit", ["max_tokens", "max_input_tokens", "max_cost"])
def test_the_length_that_it_may_have_is_paid_for_and_no_more(limit: str) -> None:
    price = Price(1.0, 0.1, 4.0)
    most = 0.02 if limit == "max_cost" else 10_000
    _, sizes = sizing(price, **{limit: most})
    length = sizes.last_characters(MODEL)
    tokens = -(-length * 10 // 28)  # 3.5 characters a token, a quarter of margin

    def needs(tokens: int) -> float:
        if limit == "max_cost":
            return (tokens + 4 * LEAST_HELD) / 1e6
        return tokens + (LEAST_HELD if limit == "max_tokens" else 0)

    assert needs(tokens - 2) <= most < needs(tokens + 3)


def test_there_is_none_where_not_even_the_reply_is_paid_for() -> None:
    _, sizes = sizing(max_tokens=LEAST_HELD - 1)
    assert sizes.last_characters(MODEL) == -1


def test_what_others_hold_and_have_in_flight_is_not_its_own() -> None:
    account, sizes = sizing(max_tokens=20_000)
    free = sizes.last_characters(MODEL)
    account.hold(Amount(4_000))
    assert sizes.last_characters(MODEL) == free
    account.child("0.1", Limits(**UNLIMITED)).hold(Amount(4_000))
    less = sizes.last_characters(MODEL)
    assert less == pytest.approx(free - 4_000 * 2.8, abs=5)


def test_of_a_conversation_that_is_too_long_the_ends_are_kept() -> None:
    history = [
        Message("system", "rules"),
        Message("user", "opening"),
        Message("assistant", "a" * 1_000),
        Message("user", "b" * 1_000),
        Message("assistant", "c" * 1_000),
        Message("user", "last"),
    ]
    assert without_middle(history, 10_000) == history
    for room in range(0, 3_100, 50):
        kept = without_middle(history, room)
        assert kept[:2] == history[:2] and kept[-1] == history[-1]
        assert sum(len(message.text) for message in kept) <= max(room, 16)
    some = without_middle(history, 1_700)
    assert [message.text[:1] for message in some[2:-1]] == ["b", "c"]
    assert "left out" in some[2].text and some[3] == history[4]


def test_a_run_that_went_on_without_what_was_refused_says_so(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("text")
    asks = "r = llm_query_batched([f'{i} ' + 'word ' * 400 for i in range(100)])"
    code = cell(f"{asks}\nFINAL(f'{{len(r.failed)}} of 100')")

    def script(request: StubRequest) -> Reply:
        return Reply(code if request.messages[0]["role"] == "system" else "word " * 100)

    with Stub(script) as stub:
        asked = ("ask", "q", data, "--model", "m", "--base-url", stub.url)
        done = abyme(*asked, "--price", "1,4", "--max-cost", "0.05", runs=runs)
    assert done.returncode == 0, done.stderr
    refused = int(done.stdout.split()[0])
    assert refused and f"{refused} calls were refused (max_cost)" in done.stderr
