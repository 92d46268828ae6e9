"""What is folded from journals of runs with children: the root's is the root's alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abyme import Limits, replay
from abyme.beginning import lines_until
from abyme.cli.replay import run as replay_told
from abyme.events import MessageAdded, NodeStarted, TurnEnded
from abyme.journal.diff import diff
from abyme.journal.find import find_runs
from abyme.journal.reader import read
from abyme.journal.summary import summarise
from abyme.journal.verify import verify
from abyme.sandbox.process import ProcessSandbox
from support.runs import cell, events_of, of_kind, scripted_rlm, settled

TEXT = "".join(f"line {i}: a kettle\n" for i in range(2000))
ROOT = (
    cell(
        "half = context.index('line 1000:')\n"
        "parts = [context[:half], context[half:]]\nprint(len(parts))"
    ),
    cell("r = rlm_query_batched(['count 0', 'count 1'], parts)\nprint(list(r))"),
    cell("FINAL(sum(int(n) for n in r))"),
)
COUNT = (
    cell("n = context.count('kettle')\nprint(n)"),
    cell("print(llm_query('is it so?'))"),
    cell("FINAL(n)"),
)


def acting(root: tuple[str, ...] = ROOT, **children: tuple[str, ...]) -> Callable[[Any], Any]:
    """A model that acts by its question: a child's are by the last word of it."""

    def answer(request: Any) -> Any:
        if request.messages[0].role != "system":
            return "it is so"
        turn = sum(message.role == "assistant" for message in request.messages)
        asked = request.messages[1].text
        if "what is it?" in asked:
            return root[min(turn, len(root) - 1)]
        replies = next((r for name, r in children.items() if f"count {name[1:]}" in asked), COUNT)
        return replies[min(turn, len(replies) - 1)]

    return answer


def a_run(runs: Path, act: Callable[[Any], Any] | None = None, context: Any = TEXT) -> Path:
    rlm = scripted_rlm(runs, act or acting(), limits=Limits(max_depth=2, max_seconds=60))
    answer = rlm.completion("what is it?", context)
    assert answer.status == "complete", answer.reason
    settled()
    return runs / answer.run


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(tmp_path_factory.mktemp("runs"))


def test_a_fork_is_from_a_turn_of_the_root(told: Path) -> None:
    records = list(read(told))
    for turn in (1, 2):
        lines = lines_until(records, turn, further=False)
        last = records[lines - 1].event
        assert isinstance(last, MessageAdded) and last.node == "0"
        over = [r.event for r in records[:lines] if isinstance(r.event, TurnEnded)]
        assert [event.turn for event in over if event.node == "0"] == list(range(1, turn + 1))
    rlm = scripted_rlm(told.parent, acting(), limits=Limits(max_depth=2, max_seconds=60))
    before, after = rlm.fork(told.name, 1), rlm.fork(told.name, 2)
    assert before.value == after.value == 2000
    counts = [len(of_kind(events_of(told.parent, fork), NodeStarted)) for fork in (before, after)]
    assert counts == [3, 3]
    assert (before.turns, before.usage.calls) == (3, 10) and after.usage.calls == 1
    assert replay(before.run, runs=told.parent).identical


def test_a_summary_is_that_of_the_whole_tree(told: Path) -> None:
    found = summarise(told)
    assert (found.status, found.turns, found.documents) == ("complete", 3, ("text",))
    assert found.usage is not None and found.usage.calls == 11
    assert [run.run for run in find_runs(told.parent).runs if run.run == told.name]
    runs = find_runs(told.parent).runs
    assert next(run for run in runs if run.run == told.name).turns == 3


def test_the_same_tree_twice_and_what_a_child_did_otherwise(told: Path, runs: Path) -> None:
    same = diff(told, a_run(runs))
    assert same.same and same.turns == 3 and (same.a.turns, same.a.usage.calls) == (3, 11)
    otherwise = (*COUNT[:1], cell("print(llm_query('is it not?'))"), *COUNT[2:])
    found = diff(told, a_run(runs, acting(_1=otherwise)))
    assert found.first is not None and found.turns == 1
    where = "the reply of turn 2 of a child asked in cell 2 of turn 2"
    assert found.first.where.startswith(where) and "0.2" in found.first.where
    assert "is it so?" in (found.first.a or "") and "is it not?" in (found.first.b or "")
    fewer = (*ROOT[:1], ROOT[1].replace("parts)", "[parts[0], 'a kettle'])"), *ROOT[2:])
    assert not diff(told, a_run(runs, acting(fewer))).same


def test_a_quote_stands_in_the_users_text_not_in_what_code_made(runs: Path) -> None:
    root = (
        cell("r = rlm_query('count 0', 'a kettle of my own, ' * 200)\nprint(r)"),
        cell("FINAL(r, quotes=['line 7: a kettle'])"),
    )
    folder = a_run(runs, acting(root))
    found = verify(folder)
    assert found.whole and found.quotes == 1, found.problems
    assert found.documents == 2 and not found.notes


def test_a_difference_names_its_node(runs: Path) -> None:
    chance = (cell("import os\nn = os.urandom(9).hex()\nprint(n)"), cell("FINAL(3)"))
    folder = a_run(runs, acting(_1=chance))
    done = replay(folder.name, runs=runs)
    assert done.difference is not None and done.nodes == 3
    assert (done.difference.node, done.difference.turn, done.difference.cell) == ("0.2", 1, 1)
    lines, code = replay_told(folder, runs, ProcessSandbox(), accept_changed=False, as_json=False)
    assert code == 1 and "in child 0.2, in turn 1, cell 1, another output than then" in lines[0]
    assert "of 3 nodes before" in lines[0]


def test_a_cell_of_a_child_that_was_stopped_is_named_with_its_node(runs: Path) -> None:
    dies = (cell("import os; os._exit(3)"), cell("FINAL(4)"))
    done = replay(a_run(runs, acting(_0=dies)).name, runs=runs)
    assert done.identical and done.skipped == ("0.1/1",)
