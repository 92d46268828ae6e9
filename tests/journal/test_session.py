"""Sessions: further questions in the same REPL, under one budget, kept in one journal."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, ConfigError, DataError, Limits, Session, replay
from abyme.events import (
    PASSING,
    CellStarted,
    Event,
    NodeStarted,
    OutputAdded,
    QuestionAsked,
    RunEnded,
    WorkerStarted,
)
from abyme.journal.verify import verify
from abyme.spec import GoesOn
from support.runs import cell, events_of, of_kind, scripted_rlm


def script(**answers: str) -> Callable[[Any], str]:
    """A root that answers each question with the code given for it."""

    def root(request: Any) -> str:
        asked = request.messages[1].text.partition("Question:\n")[2].split("\n")[0]
        return cell(answers[asked])

    return root


def test_variables_and_exchanges_are_there(runs: Path) -> None:
    rlm = scripted_rlm(
        runs,
        script(
            first="n = len(context)\nFINAL(n, quotes=['some'])",
            second="n += 1\nFINAL({'n': n, 'was': history[0]['answer']})",
            third="FINAL([h['question'] for h in history] + [history[1]['text'], n])",
        ),
    )
    with rlm.session("some text") as session:
        first, second = session.ask("first"), session.ask("second")
        assert (first.value, second.value) == (9, {"n": 10, "was": 9})
        assert session.ask("third").value == ["first", "second", second.text, 10]
        assert first.run == second.run == session.run and first.head != second.head
        assert second.usage.calls == 2 and second.turns == 2, "the session's"
    events = events_of(runs, first)
    assert len(of_kind(events, NodeStarted)) == 1 and len(of_kind(events, RunEnded)) == 3
    assert [e.number for e in of_kind(events, QuestionAsked)] == [2, 3]
    assert [e.cell for e in of_kind(events, CellStarted)] == [1, 2, 3]
    with pytest.raises(ConfigError, match="turn 2 is the last one"):
        rlm.fork(session.run, 2)
    assert replay(session.run, runs=runs).identical and verify(runs / session.run).whole


def test_a_further_question_is_told_what_there_is(runs: Path) -> None:
    """The same in a session that goes on and in one that was closed and is opened again."""
    answers = {
        "first": "n = len(context)\nrows = [1, 2]\nFINAL(rows)",
        "second": "rows = 'xy'\nFINAL(n)",
        "third": "FINAL(n)",
        "fourth": "FINAL(n)",
    }
    openings: dict[str, str] = {}

    def root(request: Any) -> str:
        told = request.messages[1].text
        asked = told.partition("Question:\n")[2].split("\n")[0]
        openings[asked] = told
        return cell(answers[asked])

    rlm = scripted_rlm(runs, root)
    with rlm.session("some text") as session:
        session.ask("first")
        session.ask("second")
    with rlm.session(run=session.run) as again:
        again.ask("third")
        again.ask("fourth")
    assert "history" not in openings["first"] and "Variables" not in openings["first"]
    assert "the last changed first: rows: list (2 items); n: int\n" in openings["second"]
    assert "counted on from 2." in openings["second"]
    for asked, number in (("third", 3), ("fourth", 4)):
        assert "first: rows: str (2 characters); n: int\n" in openings[asked]
        assert f"counted on from {number}." in openings[asked]
        assert "`history[1]` asked: second\nThe answer:\n```\n9\n```\n" in openings[asked]


def test_what_ends_one_question_ends_no_other(runs: Path) -> None:
    asked: list[str] = []
    go_on = threading.Event()

    def root(request: Any) -> str:
        asked.append(request.messages[1].text.partition("Question:\n")[2].split("\n")[0])
        if asked[-1] == "slow":
            go_on.wait(30)
        return cell(f"FINAL({asked[-1]!r})")

    with scripted_rlm(runs, root).session("some text") as session:
        over = session.stream("first")
        assert over.answer.value == "first"
        slow, waiting = session.stream("slow"), session.stream("queued")
        closing = threading.Thread(target=waiting.close)  # while it waits for its turn
        closing.start()
        over.close()
        session._sitting._engine.submit(asyncio.sleep(0)).result(30)  # both were heard
        go_on.set()
        closing.join(30)
        assert (slow.answer.status, slow.answer.value) == ("complete", "slow")
        assert waiting.answer.reason == "interrupted" and asked == ["first", "slow"]
        assert session.ask("last").value == "last"


def test_a_question_that_waited_while_the_session_was_closed(runs: Path) -> None:
    session = scripted_rlm(runs, script(first="FINAL(1)")).session("some text")
    session.ask("first")
    closing = session._sitting.close()
    late = session._sitting.ask("second")
    closing.result(30)
    with pytest.raises(ConfigError, match="is closed"):
        late.future.result(30)


def test_it_is_gone_on_with_later(runs: Path) -> None:
    rlm = scripted_rlm(
        runs,
        script(
            first="n = 4\nFINAL(n)",
            second="n += 1\nFINAL([n, history[0]['answer']])",
            third="FINAL([n, history[1]['answer'], len(history)])",
        ),
    )
    run = rlm.completion("first", "some text").run
    with rlm.session(run=run) as session:
        assert session.ask("second").value == [5, 4]
        assert session.run == run
    with rlm.session(run=run) as session:
        assert session.ask("third").value == [5, [5, 4], 2]
    assert replay(run, runs=runs).identical


def test_limits_bind_the_session_and_turns_each_question(runs: Path) -> None:
    openings: list[str] = []

    def root(request: Any) -> str:
        openings.append(request.messages[1].text)
        if "This is the last message" in request.messages[-1].text:
            return "no more"
        return cell("print(1)")

    limits = Limits(max_turns=2, max_calls=5, max_seconds=60)
    with scripted_rlm(runs, root, limits=limits).session("some text") as session:
        first = session.ask("q")
        assert (first.reason.split(":")[0], first.usage.calls) == ("max_turns", 3)
        second = session.ask("and?")
        assert (second.reason.split(":")[0], second.usage.calls) == ("max_calls", 5)
        assert "perhaps not whole (max_turns: " in openings[-1] and "no more" in openings[-1]
        third = session.ask("and?")
        assert third.status == "failed" and "max_calls" in third.reason
        assert third.usage.calls == 5


def test_its_clock_stands_still_between_questions(runs: Path) -> None:
    rlm = scripted_rlm(runs, script(q="FINAL(1)", r="FINAL(2)"))
    with rlm.session("some text") as session:
        first = session.ask("q")
        threading.Event().wait(0.6)
        assert session.ask("r").seconds - first.seconds < 0.6


@pytest.mark.parametrize("kind", [CellStarted, OutputAdded])
def test_an_interrupted_question_does_not_end_it(runs: Path, kind: type[Event]) -> None:
    """Before its cell can have begun, and while it runs: the worker is the same."""
    rlm = scripted_rlm(
        runs,
        script(
            p="n = 1\nFINAL(n)",
            q="n = 2\nprint(n)\nimport time; time.sleep(60)",
            r="FINAL(n)",
        ),
    )
    with rlm.session("some text") as session:
        session.ask("p")
        with session.stream("q") as stream:
            for event in stream:
                if isinstance(event, kind):
                    break
        assert stream.answer.reason == "interrupted"
        answer = session.ask("r")
        assert answer.value == 2 if kind is OutputAdded else answer.value in (1, 2)
    assert len(of_kind(events_of(runs, answer), WorkerStarted)) == 1


def test_questions_wait_for_each_other_and_work_in_a_loop(runs: Path) -> None:
    rlm = scripted_rlm(
        runs, script(a="n = 1\nFINAL(n)", b="n += 1\nFINAL(n)", c="n += 1\nFINAL(n)")
    )

    async def main() -> list[Any]:
        async with rlm.session("some text") as session:
            answers = await asyncio.gather(*(session.aask(question) for question in "abc"))
            return [answer.value for answer in answers]

    assert asyncio.run(main()) == [1, 2, 3]


def test_what_is_wrong_is_said(runs: Path, tmp_path: Path) -> None:
    rlm = scripted_rlm(runs, script(q="FINAL(1)"))
    with pytest.raises(ConfigError, match="give one"):
        rlm.session()
    with pytest.raises(ConfigError, match="give one"):
        rlm.session("text", run="x")
    session = rlm.session(tmp_path / "missing")
    with pytest.raises(DataError):
        session.ask("q")
    session.close()
    with pytest.raises(ConfigError, match="closed"):
        session.ask("q")
    with rlm.session("some text") as other, pytest.raises(ConfigError, match="empty"):
        other.ask(" ")
    assert isinstance(other, Session) and other.run == ""


def test_killed_in_a_further_question_it_is_resumed(runs: Path) -> None:
    """At every event of it; the earlier question's cells are there, and nothing of it is done."""
    answers = script(first="n = 4\nFINAL(n)", second="m = [n, llm_query('x')]\nFINAL(m)")
    rlm = scripted_rlm(runs, answers, sub=lambda request: "sub")
    number = 0
    while True:
        run = rlm.completion("first", "some text").run
        pid = os.fork()
        if pid == 0:
            _killed(runs, answers, run, number)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 0:
            break
        answer = _resume(rlm, run)
        assert answer is None or answer.value == [4, "sub"], number
        number += 1
    assert number > 12


def _resume(rlm: RLM, run: str) -> Any:
    """The answer; None where the run had been left before or after the further question."""
    try:
        return rlm.resume(run)
    except ConfigError as error:
        assert "complete" in str(error)
        return None


def _killed(runs: Path, answers: Callable[[Any], str], run: str, number: int) -> None:
    seen = 0

    def listener(event: Event) -> None:
        nonlocal seen
        if not isinstance(event, PASSING):
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    status = 1
    try:
        rlm = scripted_rlm(runs, answers, sub=lambda request: "sub")
        goes_on = GoesOn(folder=runs / run, how="ask")
        rlm.start_from(goes_on, "second", listener).future.result()
        status = 0
    finally:
        os._exit(status)
