"""Children that share one budget: they wait for each other, and it is used nearly to its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, Limits
from abyme.events import CallRefused, NodeEnded, NodeStarted
from abyme.journal.reader import read
from support.command import abyme
from support.runs import cell, of_kind
from support.stub import Reply, Stub, StubRequest


def bill(stub: Stub, price: tuple[float, float]) -> float:
    """What the endpoint's own count costs, in dollars."""
    return (stub.bill.input_tokens * price[0] + stub.bill.output_tokens * price[1]) / 1e6


def asked(request: StubRequest) -> str:
    """What kind of call it is."""
    if request.messages[0]["role"] != "system":
        return "sub-call"
    if "no code will be run" in request.prompt.lower():
        return "last"
    return "child" if "CHILD" in request.messages[1]["content"] else "root"


def few(children: int) -> Any:
    """A root with so many children at once, of one turn and one sub-call each."""
    code = (
        f"rs = rlm_query_batched([f'CHILD {{i}}' for i in range({children})])\n"
        "FINAL([list(rs), rs.failed])"
    )

    def script(request: StubRequest) -> Reply:
        return {
            "sub-call": Reply("leaf", latency=0.01),
            "last": Reply("what is known"),
            "child": Reply(cell("FINAL(llm_query('hi'))"), latency=0.01),
            "root": Reply(cell(code)),
        }[asked(request)]

    return script


@pytest.mark.parametrize(
    ("children", "price", "most"),
    [
        (6, (1.0, 4.0), 0.05),
        (20, (1.0, 4.0), 0.1),
        (20, (15.0, 75.0), 5.0),
        pytest.param(200, (3.0, 15.0), 5.0, marks=pytest.mark.slow),
    ],
)
def test_children_that_need_little_all_have_their_share(
    runs: Path, children: int, price: tuple[float, float], most: float
) -> None:
    with Stub(few(children)) as stub:
        limits = Limits(max_depth=2, max_cost=most)
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=limits, price=price)
        answer = rlm.completion("q?", "abc")
    assert answer.status == "complete", answer.reason
    assert answer.value == [["leaf"] * children, []]
    assert bill(stub, price) == pytest.approx(answer.cost) and bill(stub, price) < most
    assert stub.bill.replies == 1 + 2 * children


ASKS_MUCH = """
r = []
for k in range(50):
    r += llm_query_batched([f'{k} {i} ' + 'word ' * 300 for i in range(10)])
FINAL(len(r))
"""
ASKS_MANY = """
rs = rlm_query_batched([f'CHILD {i}' for i in range(6)])
print(len(rs.failed))
"""


def much(request: StubRequest) -> Reply:
    """A root that asks six children in each turn, each of which wants 500 calls."""
    most = request.body.get("max_completion_tokens") or request.body.get("max_tokens") or 10_000
    return {
        "sub-call": Reply("w " * min(200, most // 2), latency=0.01),
        "last": Reply("what is known"),
        "child": Reply(cell(ASKS_MUCH)),
        "root": Reply(cell(ASKS_MANY)),
    }[asked(request)]


def test_a_tree_that_wants_more_ends_partial_with_the_budget_nearly_used(
    runs: Path, tmp_path: Path
) -> None:
    data = tmp_path / "pots.txt"
    data.write_text("a pot\n" * 5000)
    with Stub(much) as stub:
        url = ("--base-url", stub.url, "--model", "m", "--max-depth", "2", "--max-cost", "0.05")
        done = abyme("ask", "q?", data, *url, "--price", "1,4", "--json", runs=runs)
        spent = bill(stub, (1.0, 4.0))
    assert done.returncode == 3, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"] == "partial" and answer["reason"].startswith("max_cost: $")
    assert 0.7 * 0.05 < spent <= 0.05
    (folder,) = (path for path in runs.iterdir() if path.name == answer["run"])
    events = [record.event for record in read(folder)]
    assert len(of_kind(events, NodeStarted)) == 1 + len(of_kind(events, NodeEnded)) > 2
    children = [event for event in of_kind(events, CallRefused) if event.kind == "rlm_query"]
    assert children and {event.error_type for event in children} == {"BudgetExceeded"}
