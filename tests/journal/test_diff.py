"""Two runs beside each other: what they share, and where they first differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM
from abyme.journal.diff import Difference, diff
from abyme.journal.reader import read
from abyme.models.base import Request
from abyme.models.scripted import Scripted
from support.runs import cell, scripted_rlm

REPLIES = (
    cell("names = llm_query_batched(['a', 'b'])\nprint(names)"),
    cell("x = 1\nprint(x)"),
    cell("FINAL(f'{names} {x}')"),
)


def sub(request: Request) -> str:
    return f"name of {request.messages[-1].text[0]}"


def a_run(runs: Path, replies: Sequence[Any] = REPLIES, **options: Any) -> Path:
    context = options.pop("context", "some text")
    question = options.pop("question", "q?")
    rlm = scripted_rlm(runs, replies, options.pop("sub", sub), **options)
    return runs / rlm.completion(question, context).run


def compared(runs: Path, **other: Any) -> Difference:
    return diff(a_run(runs), a_run(runs, **other))


def test_the_same_twice(runs: Path) -> None:
    found = compared(runs)
    assert found.same and found.first is None and found.turns == 3
    assert found.lines == 0  # two runs have two ids, in their first lines
    assert found.a.run != found.b.run
    assert (found.a.turns, found.a.usage.calls, found.a.status) == (3, 5, "complete")
    assert found.a.answer == "['name of a', 'name of b'] 1"


@pytest.mark.parametrize(
    ("other", "where", "turns"),
    [
        ({"question": "r?"}, "the question", 0),
        ({"context": "other text"}, "the data", 0),
        ({"context": "some tezt"}, "the data", 0),
        ({"replies": (*REPLIES[:1], cell("x = 2"), REPLIES[2])}, "the reply of turn 2", 1),
        ({"sub": lambda r: "who?"}, "the reply of a call of llm_query in cell 1 of turn 1", 0),
        ({"replies": REPLIES[:2]}, "the reply of turn 3", 2),
    ],
)
def test_the_first_difference(runs: Path, other: dict[str, Any], where: str, turns: int) -> None:
    found = compared(runs, **other)
    assert not found.same and found.first is not None
    assert (found.first.where, found.turns) == (where, turns)
    assert found.first.a != found.first.b


def test_output_that_differs_by_chance(runs: Path) -> None:
    replies = (cell("import random\nprint(random.random())"), cell("FINAL(1)"))
    found = diff(a_run(runs, replies), a_run(runs, replies))
    assert found.first is not None and found.first.where == "the output of cell 1 of turn 1"


def test_a_fork_shares_its_first_lines(runs: Path) -> None:
    parent = a_run(runs)
    other = (*REPLIES[:2], cell("FINAL('another way')"))
    model = Scripted(list(other), sub, name="another")
    answer = scripted_rlm(runs, REPLIES, sub).fork(parent.name, 2)
    same = diff(parent, runs / answer.run)
    assert same.same and same.turns == 3 and same.lines > 20
    answer = RLM(model, runs=runs).fork(parent.name, 2)
    found = diff(parent, runs / answer.run)
    assert found.first is not None and found.first.where == "the reply of turn 3"
    assert (found.turns, found.lines) == (2, same.lines)
    assert (found.a.model, found.b.model) == ("scripted", "another")
    assert found.b.run == answer.run and found.b.usage.calls == 1
    assert found.first.b == other[2]


def test_without_texts_hashes_are_compared(runs: Path) -> None:
    told, hidden = a_run(runs), a_run(runs, redact=True)
    assert diff(told, hidden).same and diff(hidden, told).same
    other = a_run(runs, (*REPLIES[:2], cell("FINAL('other')")), redact=True)
    found = diff(told, other)
    assert found.first is not None and found.first.where == "the reply of turn 3"
    assert found.first.a is not None and found.first.a.startswith("[redacted: ")


def test_a_run_that_was_cut_off(runs: Path) -> None:
    whole, cut = a_run(runs), a_run(runs)
    journal = cut / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    ended = [record.seq for record in read(cut) if type(record.event).__name__ == "CellStarted"]
    journal.write_bytes(b"".join(lines[: ended[1] + 1]))
    found = diff(whole, cut)
    assert found.first is not None and found.first.where == "the end of cell 2 of turn 2"
    assert (found.first.b, found.b.status) == ("it never ended", "unfinished")
