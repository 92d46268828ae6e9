"""The kit catches sandboxes that break a promise, and none of its checks holds for nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from abyme.conformance import Report, SandboxConformance, check
from abyme.conformance.report import sentences
from abyme.conformance.suite import AREAS
from abyme.sandbox.process import ProcessSandbox
from conformance import wrong

PAIRS = [
    (wrong.ForgetsState, "a name stays from cell to cell"),
    (wrong.ForgetsState, "imports stay"),
    (wrong.TwoDicts, "comprehensions see the names"),
    (wrong.TwoDicts, "older functions see redefinitions"),
    (wrong.RollsBack, "what a cell assigned before it raised is kept"),
    (wrong.NoProtection, "come back when overwritten"),
    (wrong.ShowsNothing, "the value of a last expression is shown"),
    (wrong.OneCallAtATime, "in flight at once from threads"),
    (wrong.FewCallsAtOnce, "in flight at once from to thread"),
    (wrong.FewCallsAtOnce, "in flight at once from coroutines"),
    (wrong.ReordersReplies, "answers find their calls"),
    (wrong.OneKindOfFailure, "a failed call is an exception of its kind"),
    (wrong.HidesThreads, "the host is told that another thread asks"),
    (wrong.SwallowsFailures, "a failed call is an exception of its kind"),
    (wrong.SwallowsFailures, "a fault of the host fails the call"),
    (wrong.LosesSurrogates, "every kind of text can be asked with"),
    (wrong.StopsAtNul, "every kind of text can be asked with"),
    (wrong.JoinsHalves, "every kind of text can be asked with"),
    (wrong.CutsLongTexts, "thirty megabytes come through both ways"),
    (wrong.CutsLongTexts, "ten megabytes of text"),
    (wrong.RoundsNumbers, "numbers come through exactly"),
    (wrong.SwallowsExceptions, "an exception is told"),
    (wrong.HidesTracebacks, "a traceback names cell and line"),
    (wrong.ShowsItsFrames, "a traceback hides what runs the cell"),
    (wrong.RaisesForDeath, "os exit ends the worker"),
    (wrong.ExitIsDeath, "exits end the cell and keep the state"),
    (wrong.NeverInterrupts, "a busy loop is interrupted"),
    (wrong.NeverInterrupts, "an event loop of its own is interrupted"),
    (wrong.ClockNeverStops, "the clock stops while the cell waits"),
    (wrong.CannotBeCancelled, "a cancelled run is over at once"),
    (wrong.LooksByRunning, "a look runs no code"),
    (wrong.DropsOutput, "what was printed before a cell failed"),
    (wrong.DropsTheTail, "long output is cut in the middle"),
    (wrong.WrongLength, "long output is cut in the middle"),
    (wrong.CutsNothing, "a flood of output hurts nobody"),
    (wrong.CutsNothing, "long output is cut in the middle"),
    (wrong.StripsOutput, "prints and errors come in their order"),
    (wrong.NeverStreams, "output is shown while the cell runs"),
    (wrong.AlwaysStreams, "nothing is sent to a host that does not listen"),
    (wrong.AnswersAreText, "every way to finish hands over its value"),
    (wrong.RestoresNothing, "a checkpoint makes a fresh worker the same"),
    (wrong.RestoresNothing, "what is no checkpoint restores nothing"),
    (wrong.QuotesInCharacters, "quotes come with offsets"),
    (wrong.DecodesAsItLikes, "texts are what their bytes decode to"),
    (wrong.LosesADocument, "a thousand documents are one mapping"),
    (wrong.KeepsAWorker, "a fresh worker has nothing of the last"),
    (wrong.KeepsAWorker, "workers at the same time do not see each other"),
    (wrong.PassesTheEnvironment, "the hosts environment is not there"),
    (wrong.SameSeed, "workers draw different random numbers"),
    (wrong.HasNoSeed, "random numbers hang on the seed"),
    (wrong.SeedsAtTheFirstCell, "random numbers hang on the seed"),
    (wrong.SameSeed, "random numbers hang on the seed"),
    (wrong.HasOneClock, "has the time at which it began"),
    (wrong.StopsTheClock, "has the time at which it began"),
    (wrong.StaysInThePast, "a live cell has the true time"),
    (wrong.ReplacesDatetime, "are values like all others"),
    (wrong.BindsByCells, "bound values are variables"),
    (wrong.BindsByCells, "what cannot be bound is refused"),
    (wrong.BindsByCells, "a checkpoint holds no bound value"),
    (wrong.BindsShortTexts, "bound values may be longer"),
    (wrong.LeavesItsWorker, "nothing is left of workers that worked"),
    (wrong.LeavesItsWorker, "the process goes when the scope is left"),
    (wrong.LeavesATask, "nothing is left of workers that worked"),
    (wrong.LeavesADescriptor, "nothing is left of workers that worked"),
]


def only(report: Report) -> Any:
    """The outcome of the one check that was made."""
    (outcome,) = report.outcomes
    return outcome


@pytest.mark.parametrize(
    ("broken", "sentence"), PAIRS, ids=lambda each: getattr(each, "__name__", None)
)
def test_a_broken_promise_is_caught(broken: type[wrong.Wrong], sentence: str) -> None:
    report = check(broken, (sentence,), patience=0.2)
    assert only(report).verdict == "broken", str(report)
    assert only(report).said and not report.ok


def test_no_check_holds_of_a_sandbox_that_does_nothing() -> None:
    report = check(wrong.DoesNothing, patience=0.02)
    assert [outcome.check for outcome in report.outcomes if outcome.verdict != "broken"] == []


@pytest.mark.parametrize("broken", [wrong.Hangs, wrong.WaitsForEver, wrong.NoDeadline])
def test_a_sandbox_that_hangs_fails_and_the_kit_goes_on(broken: type[wrong.Wrong]) -> None:
    report = check(broken, ("a busy loop is interrupted",), patience=0.02)
    assert only(report).verdict == "broken"
    assert "not over within" in only(report).said
    assert check(ProcessSandbox(), ("a name stays",)).ok


def test_a_sandbox_that_cannot_start_fails_every_check() -> None:
    def none() -> ProcessSandbox:
        raise OSError("there is none")

    report = check(none, ("namespace",))
    assert len(report.broken) == len(report.outcomes) > 10
    assert {outcome.said for outcome in report.outcomes} == {"OSError: there is none"}


def test_what_cannot_be_tried_is_said() -> None:
    report = check(wrong.Wrong, ("too large for a str",))
    assert only(report).verdict == "not tried" and "sandbox_with" in only(report).said
    assert not report.ok, "nothing was tried"


def test_every_check_is_a_sentence_with_a_specification_and_none_hides_another() -> None:
    checks = list(sentences())
    names = [name for _, name, _ in checks]
    assert len(names) == len(set(names)) > 100
    assert {area for area, _, _ in checks} == set(AREAS)
    for name in names:
        method = getattr(SandboxConformance, name)
        assert method.__doc__, f"{name} does not say what it asks"
        assert list(inspect.signature(method).parameters) == ["self"]


def run_kit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "abyme.conformance", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)


def test_the_command_says_a_line_a_check(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from abyme.sandbox.process import ProcessSandbox\n"
        "class Bad(ProcessSandbox, frozen=True):\n    name = ''\n"
        "def make(): return ProcessSandbox()\n"
    )
    good = run_kit(tmp_path, "mine:make", "describes itself", "a name stays")
    assert good.returncode == 0, good.stderr
    assert good.stdout.splitlines() == [
        "holds      namespace: a name stays from cell to cell",
        "holds      isolation: a sandbox describes itself",
        "2 hold, 0 broken, 0 not tried",
    ]
    bad = run_kit(tmp_path, "mine:Bad", "describes itself")
    assert bad.returncode == 1
    assert bad.stdout.startswith("broken     isolation: a sandbox describes itself — its name: ''")
    for wrong_place in ("mine", "nosuch:x", "mine:nosuch"):
        assert run_kit(tmp_path, wrong_place).returncode == 2
