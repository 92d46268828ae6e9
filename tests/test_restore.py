"""A worker that is gone is rebuilt by re-running its cells; nothing is asked or done twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from abyme import Limits
from abyme.events import CallStarted, HostCalled, WorkerEnded, WorkerRestored
from abyme.node_worker import assigned_names
from abyme.sandbox.process import ProcessSandbox
from support.runs import ask, cell, events_of, of_kind, told

UNCONFINED = ProcessSandbox(unsafe_local=True)
"""For cells that leave a mark on disk, to be told apart when they are run again."""

KILL = "import os; os._exit(1)"


def test_calls_tools_and_budget_are_answered_from_the_journal(runs: Path) -> None:
    told_to_tool: list[str] = []
    asked: list[str] = []

    def note(text: str) -> int:
        """Write something down."""
        told_to_tool.append(text)
        return len(told_to_tool)

    def sub(request: Any) -> str:
        asked.append(request.messages[0].text)
        return f"{request.messages[0].text} #{len(asked)}"

    gather = (
        "import asyncio\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool: many = list(pool.map(llm_query, 'abcdefgh'))\n"
        "same = llm_query_batched(['s', 's', 's'])\n"
        "more = await asyncio.gather(*[allm_query(x) for x in 'xyz'])"
    )
    replies = [
        cell(gather),
        cell(
            "n = note('one'); m = note('one'); left = budget()['calls']['left']\nprint(n, m, left)"
        ),
        cell("try: llm_query('q' * 9_000_000)\nexcept PromptTooLong as e: why = str(e)"),
        cell("before = (many, list(same), more, n, m, left, why)\n1/0"),
        cell(KILL),
        cell("FINAL(before == (many, list(same), more, n, m, left, why))"),
    ]
    answer = ask(runs, replies, sub=sub, tools=[note])
    assert (answer.status, answer.value) == ("complete", True)
    assert len(asked) == 8 + 3 + 3 and told_to_tool == ["one", "one"]
    events = events_of(runs, answer)
    assert len({event.key for event in of_kind(events, CallStarted)}) == 6 + 14
    assert len(of_kind(events, HostCalled)) == 3
    restored = of_kind(events, WorkerRestored)
    assert restored == [WorkerRestored("0", (1, 2, 3, 4), ("os",), ())]
    assert of_kind(events, WorkerEnded)[0].how.startswith("its process ended with status 1")


def test_a_cell_that_the_deadline_ended_is_not_re_run_and_its_names_are_lost(runs: Path) -> None:
    replies = [
        cell("kept = 1"),
        cell("half = 2\nimport time\nwhile True: time.sleep(0.01)"),
        cell("print(half)"),
        cell(KILL),
        cell("print('half' in globals(), kept)"),
        cell("FINAL(kept)"),
    ]
    answer = ask(runs, replies, limits=Limits(cell_seconds=0.5, max_seconds=60))
    assert answer.value == 1
    messages = told(events_of(runs, answer))
    assert "stopped at its time limit" in messages[2]
    assert "2" in messages[3], "interrupted: the state was still there"
    assert "Lost: half, os, time" in messages[4]
    assert "did not do the same the second time: 3" in messages[4]
    assert "False 1" in messages[5]


def test_a_killed_worker_again_and_again(runs: Path) -> None:
    replies = [cell("n = 1")]
    for _ in range(3):
        replies += [cell(KILL), cell("n += 1")]
    answer = ask(runs, [*replies, cell("FINAL(n)")])
    assert answer.value == 4


def test_a_cell_that_only_dies_when_it_is_re_run_leaves_an_empty_repl(
    runs: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    once = (
        f"import pathlib, os\np = pathlib.Path({str(mark)!r})\n"
        "if p.exists(): os._exit(9)\np.touch()"
    )
    answer = ask(
        runs,
        [cell("a = 1"), cell(once), cell(KILL), cell("FINAL('a' in globals())")],
        sandbox=UNCONFINED,
    )
    assert answer.value is False
    messages = told(events_of(runs, answer))
    assert "The REPL is new and empty" in messages[3] and "Lost: a, os, p, pathlib" in messages[3]


def test_a_re_run_call_that_was_never_made_is_not_made_now(runs: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    first = (
        f"import pathlib\np = pathlib.Path({str(mark)!r})\n"
        "q = 'b' if p.exists() else 'a'\np.touch()\nr = llm_query(q)"
    )
    answer = ask(
        runs,
        [cell(first), cell(KILL), cell("FINAL('r' in globals())")],
        sub=["one"],
        sandbox=UNCONFINED,
    )
    assert answer.value is False
    assert answer.usage.calls == 4, "three turns and the one sub-call"


def test_assigned_names() -> None:
    code = """
import os.path, numpy as np
from a import b as c
x, (y, *z) = 1, (2, 3)
for i in []: w = 1
def f(): inner = 1
class K: attr = 2
with open('f') as h: pass
(n := 5); q: int = 3; s += 1
[t for t in range(3)]; lambda l: 1
{a: b for a, b in {}.items() for a in [d for d in ()]}; any((u := e) for e in x if (v := e))
match x:
    case [g, *j] | {"k": g, **j}: pass
"""
    names = assigned_names(code)
    assert names >= {"os", "np", "c", "x", "y", "z", "i", "w", "f", "K", "h", "n", "q", "s"}
    assert names >= {"u", "v", "g", "j"}
    assert not names & {"inner", "attr", "l", "t", "a", "b", "d", "e"}
    assert assigned_names("not python (") == set()


def test_a_batch_that_was_refused_is_refused_again(runs: Path) -> None:
    code = (
        "try: llm_query_batched(['x'] * 20); flag = 'sent'\n"
        "except BudgetExceeded as e: flag = f'refused: {e}'"
    )
    again = "FINAL([flag, 'print' in globals()])"
    limits = Limits(max_calls=10, max_seconds=60)
    answer = ask(runs, [cell(code), cell(KILL), cell(again)], limits=limits)
    assert answer.value[0].startswith("refused: 20 prompts, but only 8 calls are left")


def test_a_refusal_reads_the_same_when_it_is_replayed(runs: Path) -> None:
    code = "try: llm_query('y z ' * 100_000)\nexcept BudgetExceeded as e: print(e); said = str(e)"
    limits = Limits(max_tokens=60_000, max_seconds=60)
    answer = ask(runs, [cell(code), cell(KILL), cell("FINAL(said)")], limits=limits)
    events = events_of(runs, answer)
    assert of_kind(events, WorkerRestored)[0].differing == ()
    assert "--max-tokens" not in answer.text and answer.text in told(events)[1]
