"""Runs that ask for ten times what they may spend, against a server that writes its own bill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, ChildLimits, ConfigError, Limits
from abyme.events import CallRefused, LimitReached
from abyme.models.scripted import Scripted
from support.command import abyme
from support.runs import cell, events_of, of_kind, scripted_rlm, told
from support.stub import Reply, Stub, StubRequest

WASTEFUL = """
from concurrent.futures import ThreadPoolExecutor
refused = []
def one(number):
    try:
        return llm_query(f"{number} " + "word " * 400)
    except BudgetExceeded as error:
        refused.append(str(error))
with ThreadPoolExecutor(16) as pool:
    list(pool.map(one, range(150)))
results = llm_query_batched([f"b{number} " + "word " * 400 for number in range(150)])
print(len(refused), len(results.failed), refused[:1])
"""
OUTPUT_TOKENS = 500


def spendthrift(request: StubRequest) -> Reply:
    """A root that asks and asks; sub-calls whose replies are as long as they may be."""
    most = request.body.get("max_completion_tokens") or request.body.get("max_tokens") or 10_000
    if request.messages[0]["role"] != "system":
        return Reply("word" * min(OUTPUT_TOKENS, most), latency=0.005)
    if "no code will be run" in request.prompt.lower():
        return Reply("what is known")
    return Reply(cell(WASTEFUL))


def dollars(stub: Stub) -> float:
    """The stub's own bill at a price of 1 and 4."""
    return (stub.bill.input_tokens + 4 * stub.bill.output_tokens) / 1e6


def tokens(stub: Stub) -> int:
    return stub.bill.input_tokens + stub.bill.output_tokens


@pytest.mark.parametrize(
    "limits",
    [
        {"max_cost": 0.05},
        {"max_tokens": 30_000},
        {"max_input_tokens": 20_000},
        {"max_output_tokens": 10_000},
        {"max_calls": 30},
    ],
)
def test_the_servers_own_bill_stays_within_the_limit(runs: Path, limits: dict[str, Any]) -> None:
    name, most = next(iter(limits.items()))
    with Stub(spendthrift) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(**limits), price=(1.0, 4.0))
        answer = rlm.completion("q", "text")
        billed = {
            "max_cost": dollars(stub),
            "max_tokens": tokens(stub),
            "max_input_tokens": stub.bill.input_tokens,
            "max_output_tokens": stub.bill.output_tokens,
            "max_calls": stub.bill.replies,
        }[name]
    assert answer.status == "partial" and answer.reason.startswith(f"{name}: ")
    assert 0.3 * most < billed <= most, "it is used, and not passed"
    events = events_of(runs, answer)
    assert [event.limit for event in of_kind(events, LimitReached)] == [name]
    assert of_kind(events, CallRefused)
    assert answer.usage.calls == stub.bill.replies, "what was refused costs nothing"
    assert answer.cost == pytest.approx(dollars(stub))


def test_the_command_ends_partial_at_the_limit_and_says_which(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("text")
    with Stub(spendthrift) as stub:
        url = ("--base-url", stub.url, "--model", "m", "--max-cost", "0.05")
        done = abyme("ask", "q?", data, *url, "--price", "1,4", "--json", runs=runs)
        billed = dollars(stub)
    assert done.returncode == 3, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["text"]) == ("partial", "what is known")
    assert answer["reason"].startswith("max_cost: $") and "--max-cost" in answer["reason"]
    assert 0.3 * 0.05 < billed <= 0.05
    assert "limit reached: max_cost" in done.stderr


# -- a price that is not known -------------------------------------------------------------------


def test_a_limit_of_dollars_that_could_not_bind_refuses_to_start(
    runs: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.txt"
    data.write_text("text")
    with Stub([cell("FINAL(1)")] * 3) as stub:
        url = ("--base-url", stub.url, "--model", "m")
        for limit in ("0.05", "5"):
            done = abyme("ask", "q?", data, *url, "--max-cost", limit, runs=runs)
            assert done.returncode == 2 and stub.requests == []
            assert f"a limit of ${limit} is set and could not bind" in done.stderr
            assert "--price 1,4" in done.stderr and "abyme.toml" in done.stderr
        child = abyme("ask", "q?", data, *url, "--child-cost", "1", runs=runs)
        assert child.returncode == 2 and "a limit of $1 is set" in child.stderr
        assert "or without --child-cost" in child.stderr
        for more in ((), ("--max-cost", "none"), ("--max-cost", "5", "--price", "0,0")):
            assert abyme("ask", "q?", data, *url, *more, runs=runs).returncode == 0


def test_from_python_too(runs: Path) -> None:
    url: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1", "runs": runs}
    with pytest.raises(
        ConfigError, match=r"limit of \$2 .* price of openai:m is not .*--price 1,4"
    ):
        RLM("m", limits=Limits(max_cost=2.0), **url)
    with pytest.raises(ConfigError, match=r"price of openai:s .*--sub-price 1,4"):
        RLM("m", "s", limits=Limits(max_cost=2.0), price=(1, 4), **url)
    with pytest.raises(ConfigError, match=r"limit of \$1 "):
        child = ChildLimits(max_cost=1.0)
        RLM("m", limits=Limits(max_cost=None, children=(child,)), **url)
    RLM("m", limits=Limits(max_cost=2.0), price=(0, 0), **url)
    RLM("m", limits=Limits(max_turns=2), **url)
    RLM(Scripted([]), limits=Limits(max_cost=2.0), runs=runs)


# -- more spent than was reserved ------------------------------------------------------------------

MOST = 200_000


def test_a_reply_that_costs_far_more_than_reserved_interrupts_the_cell_and_what_is_in_flight(
    runs: Path,
) -> None:
    """What the sub-call used leaves little more than the last call needs; another one hangs."""

    def script(request: StubRequest) -> Reply:
        if "no code will be run" in request.prompt.lower():
            return Reply("what is known")
        if request.messages[0]["role"] == "system":
            code = (
                "import threading, time\n"
                "threading.Thread(target=lambda: llm_query('hangs'), daemon=True).start()\n"
                "time.sleep(0.2)\n"
                "llm_query('dear')\n"
                "time.sleep(100)"
            )
            return Reply(cell(code))
        if request.prompt == "hangs":
            return Reply("late", latency=100)
        prompt = stub.bill.input_tokens
        rest = MOST - tokens(stub) - int(1.3 * prompt) - 2500
        return Reply("dear", usage={"prompt_tokens": 10, "completion_tokens": rest})

    with Stub(script) as stub:
        limits = Limits(max_tokens=MOST, cell_seconds=90, max_seconds=80)  # these would end it else
        answer = RLM("m", base_url=stub.url, runs=runs, limits=limits).completion("q", "text")
    assert answer.status == "partial" and answer.reason.startswith("max_tokens: ")
    assert [event.limit for event in of_kind(events_of(runs, answer), LimitReached)] == [
        "max_tokens"
    ]


# -- what the model is told ----------------------------------------------------------------------


def test_the_model_is_told_from_half_of_a_limit_on_and_can_ask(runs: Path) -> None:
    look = cell("b = budget()\nprint(b['calls'], b['input_tokens']['used'] > -1)")
    rlm = scripted_rlm(
        runs,
        [look, cell("llm_query('x'); llm_query('y')"), cell("llm_query('z')"), cell("FINAL(1)")],
        sub=lambda request: "ok",
        limits=Limits(max_calls=8, max_seconds=None),
    )
    events = events_of(runs, rlm.completion("q", "some text"))
    first, after_look, half, scarce = told(events)
    assert "Budget:" not in first and "Budget:" not in after_look
    assert "'limit': 8" in after_look and "'node': '0'" in after_look and "True" in after_look
    assert half.endswith(
        "Budget: 50 % of the calls are used: keep to what the answer needs, and put more into "
        "each call."
    )
    assert "Budget: 75 % of the calls" in scarce
