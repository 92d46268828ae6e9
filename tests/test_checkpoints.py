"""A worker that is gone is rebuilt from a checkpoint where there is one, and re-run where not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abyme import Limits
from abyme.cli.show.fold import parts
from abyme.cli.show.values import Turn
from abyme.events import (
    CallStarted,
    CellEnded,
    Checkpointed,
    CheckpointRefused,
    WorkerEnded,
    WorkerRestored,
)
from abyme.journal.reader import read
from abyme.sandbox.process import ProcessSandbox
from support.runs import ask, cell, events_of, of_kind, told

PATIENT = ProcessSandbox(grace_seconds=20)
KILL = "import os; os._exit(1)"
TOKEN = "import secrets; token = secrets.token_hex(); print(token)"
"""Prints something else each time it runs."""


@pytest.fixture(autouse=True)
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abyme.checkpoints.DUE_SECONDS", 0.0)


def once(runs: Path, events: int, code: str) -> Callable[[Any], str]:
    """A reply that comes when so many checkpoints were taken or refused."""

    def reply(_: Any) -> str:
        deadline = time.monotonic() + 30
        while _said(runs) < events:
            assert time.monotonic() < deadline, "no checkpoint was taken"
            time.sleep(0.01)
        return cell(code)

    return reply


def _said(runs: Path) -> int:
    texts = [path.read_text() for path in runs.glob("*/journal.jsonl")]
    return sum(text.count('"event":"Checkpoint') for text in texts)


def outputs(events: list[Any]) -> list[str]:
    return [event.result.output for event in of_kind(events, CellEnded)]


def test_cells_before_a_checkpoint_are_not_run_again(runs: Path) -> None:
    told_to_tool: list[str] = []

    def note(text: str) -> int:
        """Write something down."""
        told_to_tool.append(text)
        return len(told_to_tool)

    replies = [
        cell(f"{TOKEN}\nn = note('one')\ndef f(): return n + x\ndef h(): return len(context)"),
        once(runs, 1, f"x = 1\nafter = llm_query('a')\n{KILL}"),
        once(runs, 1, "x = 2\nlater = llm_query('b')"),
        cell("import os\nos._exit(2)"),
        cell("print(token)\nprint([n, f(), later, h(), 'after' in globals()])"),
        cell("FINAL(f())"),
    ]
    answer = ask(runs, replies, sub=["A", "B"], tools=[note], context="abc", sandbox=PATIENT)
    events = events_of(runs, answer)
    assert (answer.status, answer.value) == ("complete", 3)
    said = outputs(events)
    assert said[4] == said[0] + "[1, 3, 'B', 3, False]\n"
    assert told_to_tool == ["one"]
    assert len([event for event in of_kind(events, CallStarted) if event.cell]) == 2
    restored = of_kind(events, WorkerRestored)
    assert restored[0] == WorkerRestored("0", (), ("after", "os", "x"), (), (1,))
    assert restored[-1].saved[0] == 1 and restored[-1].differing == ()
    shown = [part for part in parts(read(runs / answer.run)) if isinstance(part, Turn)]
    notes = "\n".join(note.text for turn in shown for note in turn.after)
    assert "checkpoint of all up to cell 1: 0.0 MB in " in notes
    assert "re-ran 0 earlier cells; 1 cell came from a checkpoint; lost: after" in notes
    assert "A fresh worker has what cells up to 1 had made. Lost: after" in told(events)[2]


def test_what_an_interrupted_cell_made_is_in_it(runs: Path) -> None:
    replies = [
        cell("half = 2\nimport time\nwhile True: time.sleep(0.01)"),
        once(runs, 1, KILL),
        cell("FINAL(half)"),
    ]
    limits = Limits(cell_seconds=0.5, max_seconds=60)
    answer = ask(runs, replies, limits=limits, sandbox=PATIENT)
    assert answer.value == 2
    events = events_of(runs, answer)
    assert of_kind(events, WorkerRestored) == [WorkerRestored("0", (), ("os",), (), (1,))]


@pytest.mark.parametrize(
    "code, reason",
    [
        ("g = (i for i in range(3))", "g: PicklingError: a generator"),
        ("import textwrap; textwrap.dedent = len", "a cell changed a module: textwrap.dedent"),
    ],
)
def test_where_there_is_none_the_cells_are_run_again(runs: Path, code: str, reason: str) -> None:
    replies = [
        cell(f"a = 1\n{code}"),
        once(runs, 1, KILL),
        cell("FINAL(a)"),
    ]
    answer = ask(runs, replies, sandbox=PATIENT)
    events = events_of(runs, answer)
    assert answer.value == 1
    refused = of_kind(events, CheckpointRefused)[0]
    assert refused.cell == 1 and refused.reason.startswith(reason)
    assert not of_kind(events, Checkpointed)
    assert of_kind(events, WorkerRestored)[0].cells == (1,)


ODD = "class Odd:\n    def __reduce__(self): return {}\nodd = Odd()"
"""What happens when it is loaded."""


@pytest.mark.parametrize(
    "loading, reason",
    [
        ("(int, ('x',))", "ValueError: invalid literal"),
        ("(exec, ('import os; os._exit(5)',))", "the worker ended"),
        ("(llm_query, ('never',))", "CallError: this call was not made"),
    ],
)
def test_one_that_cannot_be_loaded_is_passed_over(runs: Path, loading: str, reason: str) -> None:
    asked: list[str] = []

    def sub(request: Any) -> str:
        asked.append(request.messages[0].text)
        return "x"

    replies = [cell("a = 1\n" + ODD.format(loading)), once(runs, 1, KILL), cell("FINAL(a)")]
    answer = ask(runs, replies, sub=sub, sandbox=PATIENT)
    events = events_of(runs, answer)
    assert answer.value == 1 and asked == []
    assert of_kind(events, WorkerRestored)[0].cells == (1,)
    refused = of_kind(events, CheckpointRefused)
    assert f"it cannot be loaded: {reason}" in refused[0].reason


def test_one_that_was_altered_is_passed_over(runs: Path) -> None:
    def alter(request: Any) -> str:
        reply = once(runs, 1, KILL)(request)
        found = [
            path for path in runs.glob("*/checkpoints/*/*") if path.read_bytes()[:5] == b"abyme"
        ]
        assert len(found) == 1 and found[0].stat().st_mode & 0o077 == 0
        found[0].write_bytes(found[0].read_bytes() + b"x")
        return reply

    answer = ask(runs, [cell("a = 1"), alter, cell("FINAL(a)")], sandbox=PATIENT)
    events = events_of(runs, answer)
    assert answer.value == 1
    assert of_kind(events, WorkerRestored) == [WorkerRestored("0", (1,), ("os",))]


def test_where_the_rest_cannot_be_run_again_the_checkpoint_is_kept(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    only_once = (
        f"import pathlib, os\np = pathlib.Path({str(mark)!r})\nlate = 1\n"
        "if p.exists(): os._exit(9)\np.touch()"
    )

    def no_more(request: Any) -> str:
        monkeypatch.setattr("abyme.checkpoints.Checkpoints.thinking", lambda *_: None)
        return once(runs, 1, only_once)(request)

    box = ProcessSandbox(unsafe_local=True, grace_seconds=20)
    replies = [cell(TOKEN), no_more, cell(KILL), cell("print(token)\nFINAL('late' in globals())")]
    answer = ask(runs, replies, sandbox=box)
    events = events_of(runs, answer)
    assert answer.value is False
    said = outputs(events)
    assert said[0] == said[-1]
    restored = of_kind(events, WorkerRestored)
    assert restored == [WorkerRestored("0", (), ("late", "os", "p", "pathlib"), (), (1,))]


def test_one_in_which_no_cell_ever_ends_is_forgotten(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be loaded, and whatever is run then ends the worker."""

    def no_more(request: Any) -> str:
        reply = once(runs, 1, KILL)(request)
        monkeypatch.setattr("abyme.checkpoints.Checkpoints.thinking", lambda *_: None)
        return reply

    at_run = "import builtins; builtins.compile = lambda *a, **k: __import__('os')._exit(5)"
    deadly = f"(exec, ({at_run!r},))"
    cells = [cell(code) for code in ("a = 1\n" + ODD.format(deadly), "b = 2", "c = 3", "FINAL(a)")]
    answer = ask(runs, [cells[0], no_more, *cells[1:]], sandbox=PATIENT)
    assert answer.value == 1
    events = events_of(runs, answer)
    ended = [event.result.ended for event in of_kind(events, CellEnded)]
    assert ended == ["done", "died", "died", "died", "done"]
    restored = [(event.saved, event.cells) for event in of_kind(events, WorkerRestored)]
    assert restored == [((1,), ()), ((1,), ()), ((), (1,))]


def test_the_newest_is_kept_and_none_of_a_run_that_has_its_answer(runs: Path) -> None:
    def kept() -> int:
        blobs = [path.read_bytes() for path in runs.glob("*/checkpoints/*/*")]
        return sum(blob.startswith(b"abyme checkpoint") for blob in blobs)

    def second(request: Any) -> str:
        reply = once(runs, 2, "FINAL(a)")(request)
        deadline = time.monotonic() + 30
        while kept() != 1:  # the one before is removed when the new one has been told of
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return reply

    replies = [cell("a = 1"), once(runs, 1, "a = 2"), second]
    answer = ask(runs, replies, sandbox=PATIENT)
    assert answer.value == 2 and kept() == 0
    assert len(of_kind(events_of(runs, answer), Checkpointed)) == 2


def test_a_worker_that_would_not_give_one_up_is_replaced_before_the_next_cell(runs: Path) -> None:
    begun = threading.Event()

    def begin() -> None:
        """Called while the checkpoint is being made."""
        begun.set()

    stubborn = (
        "import time\nclass K:\n    def __reduce__(self):\n        while True:\n"
        "            try: begin(); time.sleep(60)\n"
        "            except BaseException: pass\nk = K()\na = 1"
    )

    def later(_: Any) -> str:
        assert begun.wait(30)
        return cell("FINAL(a)")

    answer = ask(runs, [cell(stubborn), later], tools=[begin])
    events = events_of(runs, answer)
    assert answer.value == 1
    assert of_kind(events, WorkerEnded) and of_kind(events, WorkerRestored)[0].cells == (1,)


def test_none_is_taken_of_cells_that_cost_little(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abyme.checkpoints.DUE_SECONDS", 1000.0)

    def later(_: Any) -> str:
        time.sleep(0.3)
        return cell("FINAL(a)")

    answer = ask(runs, [cell("a = sum(range(10**6))"), later])
    assert answer.status == "complete" and _said(runs) == 0
