"""`abyme show` of runs with children and jobs: the tree, each node's own turns, what came late."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from abyme import Limits
from abyme.cli.show import show, show_json
from abyme.config import ChildLimits
from abyme.errors import JournalError
from abyme.models.base import Request
from support.command import abyme
from support.runs import cell, scripted_rlm, settled

TEXT = "".join(f"line {i}: a kettle\n" for i in range(2000))
STYLE = re.compile(r"\x1b\[[0-9;]*m")
ROOT = (
    cell(
        "job = llm_start([f'is it so? {i}' for i in range(4)])\n"
        "r = rlm_query_batched(['count', 'deep'], [context[:18890], 'my own ' * 300])\nprint(r)"
    ),
    cell("print(len(job.results()))"),
    cell("r = rlm_query_batched([f'count {i}' for i in range(30)] + ['never'])\nprint(r.failed)"),
    cell("FINAL('done')"),
)
ACTS = {
    "count": (cell("print('THE CHILD PRINTED', len(context))"), cell("FINAL(7)")),
    "deep": (cell("FINAL(rlm_query('count below'))"),),
    "never": (cell("1/0"),),
}


def answer(request: Request) -> str:
    if request.messages[0].role != "system":
        return "it is so"
    turn = sum(message.role == "assistant" for message in request.messages)
    asked = request.messages[1].text
    replies = next((r for name, r in ACTS.items() if f"Question:\n{name}" in asked), ROOT)
    return replies[min(turn, len(replies) - 1)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with 34 children, on two levels."""
    runs = tmp_path_factory.mktemp("runs")
    limits = Limits(max_depth=3, max_seconds=60, children=(ChildLimits(max_turns=3),))
    done = scripted_rlm(runs, answer, limits=limits).completion("what is it?", TEXT)
    assert done.status == "complete", done.reason
    settled()
    return runs / done.run


def shown(folder: Path, **options: Any) -> list[str]:
    lines: list[str] = []
    show(folder, lines.append, **options)
    return [STYLE.sub("", line) for line in "\n".join(lines).split("\n")]


def test_the_tree_comes_first_with_each_child_below_the_cell_that_asked(told: Path) -> None:
    text = "\n".join(shown(told))
    tree, _, rest = text.partition("── turn 1")
    assert "── tree · 34 children, 2 levels deep, 1 failed" in tree
    assert re.search(r"^0 · 4 turns · \d+ calls · [\d,]+ tokens · \$0 · \d+\.\d\d s$", tree, re.M)
    assert "├─ cell 1, turn 1 · 2 children · 5 calls" in tree
    assert re.search(r"│  ├─ 0\.1 complete · 2 turns · 2 calls · [\d,]+ tokens · \$0", tree)
    assert "│  │    “count” · the text, bytes 0 to 18,890 of 38,890" in tree
    assert re.search(r"│  └─ 0\.2 complete · 1 turn · 3 calls", tree)
    assert "│     │ “deep” · 2.1 kB of text" in tree
    assert re.search(r"│        └─ 0\.2\.1 complete · 2 turns · 2 calls", tree)
    assert "└─ cell 3, turn 3 · 31 children · 1 failed" in tree
    assert "… 23 more · 46 calls" in tree and "0.33 partial · 3 turns" in tree
    assert "─ 0.20 " not in tree and len(tree.split("\n")) < 45
    assert "rlm_query → scripted · 31 children (1 failed)" in rest
    assert re.search(r"0\.1 “count” on the text, bytes 0 to 18,890 of 38,890 → “7”", rest)
    assert "THE CHILD PRINTED" not in rest and "── turn 4" in rest and "── turn 5" not in rest


def test_what_a_job_came_to_later_stands_where_it_was_begun(told: Path) -> None:
    text = "\n".join(shown(told))
    first, second = text.index("── turn 1"), text.index("── turn 2")
    turn = text[first:second]
    assert "└─ (4 prompts) → job 1" in turn
    assert "llm_query → scripted · 4 calls" in turn and turn.count("→ “it is so”") == 4
    assert "no reply is recorded" not in text
    assert re.search(r"job_wait · .*\n +└─ \(job 1, all\) → over: 0-3", text[second:])


@pytest.mark.parametrize("width", [40, 80, 132])
def test_it_fits_the_terminal(told: Path, width: int) -> None:
    lines = shown(told, width=width)
    assert max(map(cell_len, lines)) <= width
    assert any(line.startswith("├─ cell 1, turn 1") for line in lines)


def test_a_child_is_told_as_a_run_of_its_own(told: Path) -> None:
    text = "\n".join(shown(told, node="0.2"))
    assert "child: 0.2, asked by cell 1 of 0" in text and "data: 2.1 kB of text" in text
    assert "── tree · 1 child" in text and "0.2.1 complete" in text
    assert text.count("── turn") == 1 and "0.1 " not in text
    assert re.search(r"complete · 1 turn · 3 calls · [\d,]+ tokens · \$0 · \d", text)
    below = "\n".join(shown(told, node="0.1"))
    assert "> THE CHILD PRINTED 18890" in below and "── tree" not in below
    in_full = "\n".join(shown(told, node="0.1", turn=1))
    assert "the model was told:" in in_full and "Question:" in in_full
    failed = "\n".join(shown(told, node="0.33"))
    assert "── draft" in failed and "child 0.33 ended partial: max_turns" in failed
    with pytest.raises(JournalError, match=r"no node '0\.99'"):
        shown(told, node="0.99")
    with pytest.raises(JournalError, match="no turn 3"):
        shown(told, node="0.1", turn=3)


def test_json_of_a_node_and_of_the_roots_turns(told: Path) -> None:
    def events(**options: Any) -> list[dict[str, Any]]:
        lines: list[str] = []
        show_json(told, lines.append, **options)
        return [json.loads(line) for line in lines]

    assert {e.get("node", "0") for e in events(turn=4)} == {"0"}
    own = events(node="0.2")
    assert {e["node"] for e in own if "node" in e} == {"0.2", "0.2.1"}
    assert [e["event"] for e in own if e.get("node") == "0.2.1"] == ["NodeStarted", "NodeEnded"]
    assert len(events()) > 400
    with pytest.raises(JournalError, match="no node"):
        events(node="nobody")


def test_a_journal_cut_anywhere_is_shown_as_far_as_it_goes(told: Path, tmp_path: Path) -> None:
    lines = (told / "journal.jsonl").read_bytes().split(b"\n")[:-1]
    for count in range(1, len(lines), 7):
        folder = tmp_path / told.name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(told, folder)
        (folder / "journal.jsonl").write_bytes(b"\n".join(lines[:count]) + b"\n")
        text = "\n".join(shown(folder, width=80))
        assert "Traceback" not in text
        if b'"0.2.1"' in b"".join(lines[:count]):
            assert "0.2.1" in text and shown(folder, node="0.2")


def test_the_command(told: Path) -> None:
    done = abyme("show", told.name, "--node", "0.1", runs=told.parent)
    assert done.returncode == 0 and "child: 0.1" in done.stdout
    wrong = abyme("show", told.name, "--node", "7", runs=told.parent)
    assert wrong.returncode == 2 and "no node '7'" in wrong.stderr
