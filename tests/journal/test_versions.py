"""Runs of earlier formats: read, shown, listed, verified and gone on with by this one.

``fixtures/v1`` was written by the last version of format 1: a batch with a retried call, a tool
whose value looks like a text of the journal's own, a held answer, a cell that raised, long texts, a
quote.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from abyme import Limits, replay
from abyme.cli.runs import show_runs
from abyme.cli.show import show
from abyme.events import (
    AttemptFailed,
    CallCached,
    CallEnded,
    CellEnded,
    DocumentLoaded,
    FinishHeld,
    HostAnswered,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from abyme.journal.reader import read
from abyme.journal.summary import summarise
from abyme.journal.tape import Tape
from abyme.journal.verify import verify
from abyme.journal.writer import Journal
from support.journals import LONG, events_in, message, write
from support.runs import cell, of_kind, scripted_rlm

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def folder(runs: Path) -> Path:
    """A run of format 1, to be changed."""
    return copied("v1", runs)


def copied(version: str, runs: Path) -> Path:
    (found,) = (FIXTURES / version).iterdir()
    return Path(shutil.copytree(found, runs / found.name))


def test_it_is_read(folder: Path) -> None:
    events = events_in(folder)
    assert len(events) == 48
    (started,) = of_kind(events, RunStarted)
    assert started.format == 1 and started.prices == {} and not started.redacted
    (document,) = of_kind(events, DocumentLoaded)
    assert (document.owned, document.bom, document.measures) == (False, 0, None)
    assert [len(of_kind(events, kind)) for kind in (AttemptFailed, FinishHeld, CallEnded)] == [
        1,
        1,
        7,
    ]
    assert [event.result.ended for event in of_kind(events, CellEnded)] == [
        "done",
        "done",
        "raised",
        "done",
    ]
    values = [event.value for event in of_kind(events, HostAnswered)]
    assert values[0] == {"noted": 3, "$blob": "the user's own key"}
    (ended,) = of_kind(events, RunEnded)
    assert ended.answer.value == 121 and ended.answer.quotes[0].verified
    tape = Tape(read(folder))
    assert tape.ended == ended.answer and len(tape.root.past) > 1 and not tape.in_flight


def note(number: int) -> None:
    """What the run had a tool for."""


def test_it_is_replayed_and_asked_on(folder: Path, runs: Path) -> None:
    done = replay(str(folder), runs=runs)
    assert done.identical, done.difference
    rlm = scripted_rlm(runs, [cell("FINAL(history[0]['answer'])")], tools=[note])
    with rlm.session(run=str(folder)) as session:
        assert session.ask("what was it?").value == 121


def test_it_is_shown_listed_and_verified(folder: Path, runs: Path) -> None:
    lines: list[str] = []
    show(folder, lines.append)
    assert any("How many kettles?" in line for line in lines)
    lines.clear()
    show_runs(runs, lines.append, lines.append)
    assert folder.name in lines[0]
    summary = summarise(folder)
    assert (summary.status, summary.turns, summary.version) == ("complete", 4, "0.1.0")
    found = verify(folder, "2564a00ee67f8db8bb8061fa1f0f993c")
    assert found.whole and found.compared == "same" and found.format == 1
    assert (found.documents, found.hashed, found.quotes) == (1, 1, 1)


def test_it_goes_on_and_can_be_forked(folder: Path, runs: Path) -> None:
    before = events_in(folder)
    write(lambda: Journal.reopen(folder), message(9, LONG))
    assert events_in(folder) == [*before, message(9, LONG)]
    fork = write(lambda: Journal.fork(folder, runs, "f", 31), message(9, LONG))
    assert events_in(fork) == [*before[:31], message(9, LONG)]
    assert verify(folder).whole and verify(fork).whole


def test_a_run_of_format_2(runs: Path) -> None:
    """A session: a batch, a tool, a held answer, a quote, a further question; a compressed text."""
    folder = copied("v2", runs)
    assert any(path.suffix == ".z" for path in folder.rglob("*")) and verify(folder).whole
    tape = Tape(read(folder))
    assert tape.ended is not None and tape.ended.value == [31, {"total": 31}]
    assert [exchange.question for exchange in tape.root.earlier] == ["How many kettles?"]
    assert tape.terms is not None and tape.terms.parameters == {"note": ("number",)}
    done = replay(str(folder), runs=runs)
    assert done.identical, done.difference


def test_a_run_of_format_3(runs: Path) -> None:
    """Children by reference and over a text that code made, a job, a reply that was kept."""
    folder = copied("v3", runs)
    assert verify(folder).whole
    events = events_in(folder)
    assert [event.node for event in of_kind(events, NodeStarted)] == [
        "0", "0.1", "0.2", "0.3", "0.4",
    ]  # fmt: skip
    given = [event.given for event in of_kind(events, NodeStarted)]
    assert [each and each.parts for each in given] == [None, ((0, 1),), ((1, 1),), ((2, 1),), ()]
    assert len(of_kind(events, CallCached)) == 1
    done = replay(str(folder), runs=runs)
    assert done.identical and done.cells == 10, done.difference
    rlm = scripted_rlm(runs, [cell("FINAL([kettles[0], said])")], limits=Limits(max_depth=2))
    with rlm.session(run=str(folder)) as session:
        assert session.ask("and then?").value == [400, ["one was asked", "two was asked"]]
