"""Runs done again offline: the same, or the first difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, ConfigError, DataChanged, JournalError, Limits, replay
from abyme.events import CallEnded, CellEnded
from abyme.journal.writer import Journal
from abyme.sandbox.process import ProcessSandbox
from abyme.types import CellResult
from support.journals import started, write
from support.runs import ask, cell, events_of, of_kind, scripted_rlm
from support.stub import Status, Stub, StubRequest

KILL = "import os; os._exit(1)"


def test_all_of_a_run_comes_out_the_same(runs: Path) -> None:
    """Batches, failures, tools, a held answer, a cell that raises, two cells in one reply."""

    def note(text: str, times: int = 1) -> str:
        """Say it so often."""
        return text * times

    def sub(request: Any) -> str:
        text: str = request.messages[0].text
        if text == "bad":
            raise RuntimeError("no")
        return text.upper()

    replies = [
        cell("import random, time\nr = llm_query_batched(['a', 'bad', 'c'])\nprint(r[0], len(r))"),
        cell(
            "print(random.random(), random.choice('abcdef'), note('x', 3), note(times=2, text='y'))"
        )
        + "\n"
        + cell("left = budget()['calls']['left']\nprint(left, time.strftime('%F'))"),
        cell("1/0"),
        "no code at all",
        cell("print(search('text', 1)[0].text)\nFINAL('typed')"),
        cell("FINAL({'left': left, 'set': sorted({*r[0], 'q'})}, quotes=['some text'])"),
    ]
    answer = ask(runs, replies, sub=sub, tools=[note], context="this is some text")
    assert answer.status == "complete" and answer.quotes[0].verified
    done = replay(answer.run, runs=runs)
    assert done.identical, done.difference
    assert (done.turns, done.cells, done.calls, done.skipped) == (6, 6, 3, ())


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import os; print(os.urandom(8))", "output"),
        ("import uuid; x = str(uuid.uuid4()); llm_query(x)", "error"),
        ("import secrets; exec(f'v{secrets.randbits(30)} = 1')", "variables"),
    ],
)
def test_the_first_difference_is_named(runs: Path, code: str, what: str) -> None:
    answer = ask(runs, [cell("a = 1"), cell(code), cell("FINAL(a)")], sub=lambda request: "y")
    difference = replay(answer.run, runs=runs).difference
    assert difference is not None and (difference.turn, difference.cell) == (2, 2)
    assert difference.what in (what, "ended") and difference.before != difference.now


def test_cells_that_did_not_end_by_themselves_are_skipped(runs: Path) -> None:
    """What was lost with a worker is not there either when the run is done again."""
    replies = [
        cell("kept = 1"),
        cell("gone = 2\nwhile True: pass"),
        cell(KILL),
        cell("print('gone' in globals(), kept)"),
        cell("FINAL(kept)"),
    ]
    answer = ask(runs, replies, limits=Limits(cell_seconds=0.4, max_seconds=60))
    done = replay(answer.run, runs=runs)
    assert done.identical and done.skipped == (2, 3) and done.cells == 3


def test_runs_without_an_answer_are_replayed_as_far_as_they_went(runs: Path) -> None:
    limits = Limits(max_turns=2, max_seconds=60)
    answer = ask(runs, [cell("a = 1"), cell("b = a + 1"), "It is 2."], limits=limits)
    assert answer.status == "partial"
    done = replay(answer.run, runs=runs)
    assert done.identical and done.cells == 2


def test_an_answer_in_prose_is_held_against_the_variable(runs: Path) -> None:
    answer = ask(runs, [cell("v = [1, 2]"), "FINAL_VAR(v)"])
    assert answer.value == [1, 2] and replay(answer.run, runs=runs).identical


def test_changed_data_is_refused_unless_it_is_accepted(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("one two")
    answer = ask(runs, [cell("print(len(context))"), cell("FINAL(len(context))")], context=path)
    path.write_text("one two three")
    with pytest.raises(DataChanged, match=r"data\.txt"):
        replay(answer.run, runs=runs)
    difference = replay(answer.run, runs=runs, accept_changed=True).difference
    assert difference is not None and (difference.before, difference.now) == ("7\n", "13\n")


def test_a_folder_that_was_copied_elsewhere_is_replayed_there(runs: Path, tmp_path: Path) -> None:
    answer = ask(runs, [cell("FINAL(context.upper())")], context="handed over")
    copy = tmp_path / "elsewhere"
    (runs / answer.run).rename(copy)
    assert replay(str(copy), runs=runs).identical


def test_a_strangers_folder_has_no_file_read(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("mine alone")
    answer = ask(runs, [cell("FINAL(context)")], context=path)
    theirs = tmp_path / "theirs" / answer.run
    theirs.parent.mkdir()
    (runs / answer.run).rename(theirs)
    with pytest.raises(ConfigError, match=r"names files of this machine .*secret\.txt"):
        replay(str(theirs), runs=runs)
    assert replay(answer.run, runs=theirs.parent).identical, "named by its folder"


def test_a_run_without_its_texts_is_refused(runs: Path) -> None:
    answer = ask(runs, [cell("FINAL(1)")], redact=True)
    with pytest.raises(JournalError, match="--redact"):
        replay(answer.run, runs=runs)


def test_failures_in_any_order_are_the_same(runs: Path) -> None:
    """The last of the batch fails first."""

    def script(request: StubRequest) -> Any:
        if request.messages[0]["role"] == "system":
            turn = sum(message["role"] == "assistant" for message in request.messages)
            batch = cell("r = llm_query_batched(list('12345'))\nprint(len(r))")
            return cell("FINAL(1)") if turn else batch
        return Status(400, latency=0.03 * (5 - int(request.prompt)))

    with Stub(script) as stub:
        answer = RLM("m", base_url=stub.url, api_key="k", runs=runs).completion("q", "some text")
    failed = of_kind(events_of(runs, answer), CallEnded)
    assert [event.key for event in failed][1:] != sorted(event.key for event in failed)[1:]
    done = replay(answer.run, runs=runs)
    assert done.identical, done.difference


def test_a_session_is_replayed_whole(runs: Path) -> None:
    def root(request: Any) -> str:
        further = "asked: first?" in request.messages[1].text
        return cell("FINAL([a, history[0]['answer']])" if further else "a = 5\nFINAL(a)")

    rlm = scripted_rlm(runs, root)
    with rlm.session("some text") as session:
        assert session.ask("first?").value == 5
        assert session.ask("and then?").value == [5, 5]
        run = session.run
    done = replay(run, runs=runs)
    assert done.identical and done.cells == 2


def test_another_sandbox_can_be_asked_for(runs: Path) -> None:
    answer = ask(runs, [cell("FINAL(1)")])
    assert replay(answer.run, runs=runs, sandbox=ProcessSandbox(unsafe_local=True)).identical


def test_a_cell_that_ends_without_having_begun(runs: Path) -> None:
    ended = CellEnded("0", 1, 7, CellResult(ended="done"))
    folder = write(lambda: Journal(runs, "r"), started(), ended)
    with pytest.raises(JournalError, match="end of cell 7, not its beginning"):
        replay(str(folder))
