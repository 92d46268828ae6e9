"""Children under a budget, under a deadline, cancelled, killed: nothing is passed, nothing left."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, Answer, Limits, replay
from abyme.config import ChildLimits
from abyme.context import handing
from abyme.events import (
    DocumentLoaded,
    LimitReached,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunForked,
    WorkerEnded,
    WorkerRestored,
)
from abyme.subcalls import jobs
from support.left import eventually, tasks, workers
from support.runs import cell, events_of, of_kind, settled
from support.stub import Hang, Reply, Stub, StubRequest

GREEDY = """
refused, said = [], []
for number in range(40):
    try:
        said += rlm_query_batched([f"greedy {number} {i} " + "word " * 50 for i in range(8)])
        said.append(llm_query(f"{number} " + "word " * 400))
    except CallError as error:
        refused.append(str(error))
print(len(refused), refused[:1])
"""


def greedy(request: StubRequest) -> Reply:
    """Nodes of every depth that ask and ask; replies are as long as they may be."""
    most = request.body.get("max_completion_tokens") or request.body.get("max_tokens") or 10_000
    if request.messages[0]["role"] != "system":
        return Reply("word" * min(300, most), latency=0.005)
    if "no code will be run" in request.prompt.lower():
        return Reply("what is known")
    return Reply(cell(GREEDY))


@pytest.mark.parametrize(
    "limits",
    [{"max_cost": 0.05}, {"max_tokens": 60_000}, {"max_output_tokens": 10_000}, {"max_calls": 40}],
)
def test_children_cannot_spend_more_than_their_run_has(runs: Path, limits: dict[str, Any]) -> None:
    name, most = next(iter(limits.items()))
    with Stub(greedy) as stub:
        rlm = RLM(
            "m",
            base_url=stub.url,
            runs=runs,
            limits=Limits(max_depth=3, max_seconds=100, **limits),
            price=(1.0, 4.0),
        )
        answer = rlm.completion("q", "text")
        billed = {
            "max_cost": (stub.bill.input_tokens + 4 * stub.bill.output_tokens) / 1e6,
            "max_tokens": stub.bill.input_tokens + stub.bill.output_tokens,
            "max_output_tokens": stub.bill.output_tokens,
            "max_calls": stub.bill.replies,
        }[name]
    assert answer.status == "partial" and answer.reason.startswith(f"{name}: "), answer.reason
    assert 0.3 * most < billed <= most
    assert answer.usage.calls == stub.bill.replies
    events = events_of(runs, answer)
    assert {event.depth for event in of_kind(events, NodeStarted)} >= {0, 1}
    started = [event.node for event in of_kind(events, NodeStarted)]
    assert sorted(started) == sorted(["0", *(e.node for e in of_kind(events, NodeEnded))])


def test_a_childs_own_limit_ends_the_child_alone(runs: Path) -> None:
    root = cell("r = rlm_query_batched(['greedy', 'greedy'])\nFINAL([x.error.status for x in r])")

    def script(request: StubRequest) -> Reply:
        first = request.messages[1]["content"] if len(request.messages) > 1 else ""
        return Reply(root) if "Question:\nq\n" in first else greedy(request)

    children = (ChildLimits(max_calls=6),)
    with Stub(script) as stub:
        limits = Limits(max_depth=2, max_seconds=100, max_calls=200, children=children)
        answer = RLM("m", base_url=stub.url, runs=runs, limits=limits).completion("q", "text")
    assert answer.value == ["partial", "partial"]
    events = events_of(runs, answer)
    assert [event.usage.calls for event in of_kind(events, NodeEnded)] == [6, 6]
    reached = {(event.node, event.limit) for event in of_kind(events, LimitReached)}
    assert reached == {("0.1", "max_calls"), ("0.2", "max_calls")}


def nested(depth: int) -> Any:
    """A root and children that ask children, down to sub-calls that never return."""

    def script(request: StubRequest) -> Any:
        if request.messages[0]["role"] != "system":
            return Hang()
        if "no code will be run" in request.prompt.lower():
            return Reply("what is known")
        return Reply(cell("answer['content'] = 'draft'\nr = rlm_query_batched(['a', 'b', 'c'])"))

    return script


def test_cancelling_leaves_no_child_behind(runs: Path) -> None:
    with Stub(nested(3)) as stub:
        limits = Limits(max_depth=3, max_width=100)
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=limits)

        async def main() -> None:
            running = asyncio.create_task(rlm.acompletion("q", "text"))
            async with asyncio.timeout(60):
                while len(stub.requests) < 1 + 3 + 9 + 27:
                    await asyncio.sleep(0.01)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(main())
        settled()
        assert not workers()
        assert not tasks()
        assert eventually(lambda: stub.open_connections <= 1 + 3 + 9)
    (folder,) = runs.iterdir()
    events = events_of(runs, Answer("", "", "failed", run=folder.name))
    assert isinstance(events[-1], RunEnded)
    assert [event.status for event in of_kind(events, NodeEnded)] == ["cancelled"] * 12


def test_a_deadline_ends_the_tree_and_the_root_answers(runs: Path) -> None:
    with Stub(nested(3)) as stub:
        limits = Limits(max_depth=3, max_seconds=4)
        started = time.monotonic()
        answer = RLM("m", base_url=stub.url, runs=runs, limits=limits).completion("q", "text")
        assert time.monotonic() - started < 40
    assert (answer.status, answer.text) == ("partial", "what is known")
    assert answer.reason.startswith("max_seconds")
    settled()
    assert not workers() and not tasks()


def test_an_interrupted_tree_gives_its_draft(runs: Path) -> None:
    with Stub(nested(2)) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2))
        handle = rlm.start("q", "text")
        assert eventually(lambda: len(stub.requests) >= 1 + 3)
        handle.interrupt()
        answer = handle.future.result(timeout=60)
    assert (answer.status, answer.reason) == ("partial", "interrupted")
    assert not workers()


def one_child(child: list[str], root: str = "FINAL(rlm_query('child', context[:9]))") -> Any:
    def script(request: StubRequest) -> Any:
        turn = sum(message["role"] == "assistant" for message in request.messages)
        if request.messages[0]["role"] != "system":
            return Reply("leaf")
        if "Question:\nchild" in request.messages[1]["content"]:
            return Reply(child[turn])
        return Reply(cell(root))

    return script


def test_a_childs_dead_worker_is_replaced_and_the_child_goes_on(runs: Path) -> None:
    child = [
        cell("said = llm_query('x') + context"),
        cell("import os; os._exit(3)"),
        cell("FINAL(said)"),
    ]
    with Stub(one_child(child)) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2))
        answer = rlm.completion("q", "some text")
        assert len([r for r in stub.requests if r.prompt == "x"]) == 1
    assert answer.value == "leafsome text"
    events = events_of(runs, answer)
    assert [e.node for e in of_kind(events, WorkerEnded)] == ["0.1"]
    assert [e.cells for e in of_kind(events, WorkerRestored)] == [(1,)]


def test_a_parents_dead_worker_asks_no_child_again(runs: Path) -> None:
    root = "import os\ns = rlm_query('child', context)"
    script = one_child([cell("FINAL('from the child')")], root)
    then = [cell("os._exit(3)"), cell("FINAL(s)")]

    def both(request: StubRequest) -> Any:
        turn = sum(message["role"] == "assistant" for message in request.messages)
        asked = request.messages[1]["content"] if len(request.messages) > 1 else ""
        return (
            Reply(then[turn - 1]) if turn and "Question:\nchild" not in asked else script(request)
        )

    with Stub(both) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2))
        answer = rlm.completion("q", "some text")
    assert answer.value == "from the child"
    events = events_of(runs, answer)
    assert len(of_kind(events, NodeStarted)) == 2 and len(of_kind(events, WorkerRestored)) == 1


def test_a_run_without_texts_may_have_children(runs: Path) -> None:
    made = "FINAL(rlm_query('child', 'a secret of my own ' * 500))"
    with Stub(one_child([cell("FINAL(len(context))")], made)) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2), redact=True)
        answer = rlm.completion("q", "some text")
    assert answer.value == "9500"
    settled()
    for path in (runs / answer.run).rglob("*"):
        assert not path.is_file() or b"secret of my own" not in path.read_bytes()


def test_a_session_and_a_fork_with_children(runs: Path) -> None:
    child = [cell("FINAL(len(context))")]
    with Stub(
        one_child(child, "n = rlm_query('child', context[:7], schema=int)\nFINAL(n)")
    ) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2))
        with rlm.session("some text") as session:
            assert [session.ask("q").value, session.ask("and again?").value] == [7, 7]
            run = session.run
        answer = rlm.fork(run, 0, question="once more?")
        assert answer.value == 7
    events = events_of(runs, Answer("", "", "failed", run=run))
    assert [e.node for e in of_kind(events, NodeEnded)] == ["0.1", "0.2"]
    assert of_kind(events_of(runs, answer), RunForked)


@pytest.mark.slow
def test_two_hundred_children_of_one_cell(runs: Path) -> None:
    root = (
        "n = len(context) // 200\nparts = [context[i * n:(i + 1) * n] for i in range(200)]\n"
        "r = rlm_query_batched('child', parts, schema=int)\nFINAL([sum(r), r.failed])"
    )
    with Stub(one_child([cell("FINAL(len(context))")], root)) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2))
        text = "".join(f"{i} of the lines\n" for i in range(200_000))[:2_000_000]
        answer = rlm.completion("q", text)
    assert answer.value == [2_000_000, []]
    assert not workers()


def test_data_that_changes_under_a_child_ends_the_run(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("some text\n" * 2000)

    def script(request: StubRequest) -> Any:
        if "Question:\nchild" in request.messages[1]["content"]:
            data.write_text("other text\n" * 1000)
            return Reply(cell("FINAL(context[:4])"))
        return Reply(
            cell("try: rlm_query('child', context[:9000])\nexcept CallError: pass\nFINAL(1)")
        )

    with Stub(script) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2))
        answer = rlm.completion("q", data)
    assert answer.status == "partial" and "changed while the run was using it" in answer.reason


def test_a_batch_of_more_children_than_calls_are_left_is_refused_whole(runs: Path) -> None:
    root = "try: rlm_query_batched(['child'] * 50)\nexcept BudgetExceeded as e: FINAL(str(e))"
    with Stub(one_child([cell("FINAL(1)")], root)) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2, max_calls=20))
        answer = rlm.completion("root", "some text")
    assert answer.text.startswith("50 children, but only 18 calls are left: none was sent")
    assert len(of_kind(events_of(runs, answer), NodeStarted)) == 1
    assert replay(answer.run, runs=runs).identical


def test_a_child_that_could_make_no_call_is_not_begun(runs: Path) -> None:
    root = (
        "whys = []\nfor i in range(9):\n"
        "    try: rlm_query('child', [f'{i}' * 50_000])\n"
        "    except BudgetExceeded as e: whys.append(str(e))\n"
        "FINAL([len(whys), whys[-1]])"
    )
    with Stub(one_child([cell("FINAL(1)")], root)) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2, max_calls=6))
        answer = rlm.completion("root", "some text")
    refused, why = answer.value
    assert refused == 6 and why.startswith("max_calls: 1 of 6 calls are left")
    events = events_of(runs, answer)
    assert len(of_kind(events, NodeStarted)) == 4
    assert len(of_kind(events, DocumentLoaded)) == 4, "what nobody reads is not kept"
    assert replay(answer.run, runs=runs).identical


@pytest.mark.parametrize(
    "ask", ["rlm_start(['child'], ['x' * 900 + str(i)])", "rlm_query('child', 'x' * 9000 + str(i))"]
)
def test_what_code_makes_for_children_is_bounded(
    runs: Path, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    monkeypatch.setattr(jobs, "MAX_CHARACTERS", 5_000)
    monkeypatch.setattr(handing, "MOST_MADE", 50_000)
    root = f"try:\n    kept = [{ask} for i in range(20)]\nexcept CallError as e: FINAL(str(e))"
    with Stub(one_child([cell("FINAL(1)")], root)) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2, max_seconds=60))
        answer = rlm.completion("root", "some text")
    assert "over 5,000 characters" in answer.text or "over 50,000 bytes" in answer.text
