"""Forks: they share what is before them, and go their own way from there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from abyme import Answer, ConfigError, Limits, replay
from abyme.events import CallStarted, QuestionAsked, RunForked, RunStarted
from abyme.journal.verify import verify
from support.runs import ask, cell, events_of, of_kind, scripted_rlm, settled

LONG = "a text of the journal's own " * 300


def root(request: Any) -> str:
    turn = sum(message.role == "assistant" for message in request.messages)
    cells = (f"n = 1\nprint({LONG!r})", "n += llm_query_batched(['a', 'b']).count('sub')\nprint(n)")
    return cell("FINAL(n)") if turn >= 2 else cell(cells[turn])


def other(request: Any) -> str:
    """Goes on otherwise, from whatever turn."""
    return cell("FINAL(['forked', globals().get('n')])")


@pytest.mark.parametrize(("turn", "n", "kept"), [(0, None, 0), (1, 1, 0), (2, 3, 2)])
def test_it_goes_on_from_a_turn(runs: Path, turn: int, n: int | None, kept: int) -> None:
    answer = _ask(runs, sub=lambda request: "sub")
    rlm = scripted_rlm(runs, other, sub=_not_to_be_asked)
    fork = rlm.fork(answer.run, turn)
    assert (fork.status, fork.value, fork.turns) == ("complete", ["forked", n], turn + 1)
    assert fork.run != answer.run
    assert fork.usage.calls == 1, "what it shares costs nothing"
    events, before = events_of(runs, fork), events_of(runs, answer)
    (place,) = [at for at, event in enumerate(events) if isinstance(event, RunForked)]
    assert events[:place] == before[:place]
    forked = events[place]
    assert isinstance(forked, RunForked)
    assert (forked.run, forked.parent, forked.turn) == (fork.run, answer.run, turn)
    subs = [e for e in of_kind(events, CallStarted) if e.kind == "llm_query"]
    assert len(subs) == kept
    assert replay(fork.run, runs=runs).identical and replay(answer.run, runs=runs).identical


def test_it_needs_nothing_of_its_parent(runs: Path) -> None:
    answer = _ask(runs, sub=lambda request: "sub", context="handed over " * 400)
    settled()
    fork = scripted_rlm(runs, other).fork(answer.run, 2)
    mine, parents = (
        {path.stat().st_ino for path in (runs / run).rglob("*") if path.is_file()}
        for run in (fork.run, answer.run)
    )
    assert mine & parents, "texts and data are there once"
    settled()
    shutil.rmtree(runs / answer.run)
    assert verify(runs / fork.run).whole and replay(fork.run, runs=runs).identical
    again = scripted_rlm(runs, other).fork(fork.run, 1)
    assert again.value == ["forked", 1], "a fork can be forked"
    assert len(of_kind(events_of(runs, again), RunStarted)) == 1


def test_with_another_question(runs: Path) -> None:
    answer = _ask(runs, sub=lambda request: "sub")

    def further(request: Any) -> str:
        told = request.messages[1].text
        assert "Question:\nanother one" in told and "asked: what is it?" in told
        return cell("FINAL([n, history[0]['answer'], len(history[0]['messages'])])")

    rlm = scripted_rlm(runs, further)
    fork = rlm.fork(answer.run, 2, "another one")
    assert fork.value == [3, None, 6]
    last = rlm.fork(answer.run, 3, "another one")
    assert last.value == [3, None, 7], "its last turn, too"
    assert of_kind(events_of(runs, last), QuestionAsked)[0].number == 2


def test_turns_that_are_not_there(runs: Path) -> None:
    answer = _ask(runs, sub=lambda request: "sub")
    rlm = scripted_rlm(runs, other)
    before = sorted(path.name for path in runs.iterdir())
    with pytest.raises(ConfigError, match="turn 3 is the last one"):
        rlm.fork(answer.run, 3)
    with pytest.raises(ConfigError, match=r"no turn 4 .* turns 1 to 3"):
        rlm.fork(answer.run, 4)
    with pytest.raises(ConfigError, match="no turn -1"):
        rlm.fork(answer.run, -1)
    for turn in (True, "1", 1.0):
        with pytest.raises(ConfigError, match="a turn is a number"):
            rlm.fork(answer.run, turn)  # type: ignore[arg-type]
    assert sorted(path.name for path in runs.iterdir()) == before


def test_a_run_that_ended_at_a_limit_is_forked_before_it(runs: Path) -> None:
    limits = Limits(max_turns=2, max_seconds=60)
    replies = [cell("n = 1"), cell("n = 2"), "so far: 2"]
    answer = ask(runs, replies, limits=limits)
    assert answer.status == "partial"
    fork = scripted_rlm(runs, other).fork(answer.run, 1)
    assert fork.value == ["forked", 1]
    assert scripted_rlm(runs, other).fork(answer.run, 2).value == ["forked", 2]


def _ask(runs: Path, sub: Any, context: str = "some text") -> Answer:
    return scripted_rlm(runs, root, sub).completion("what is it?", context)


def _not_to_be_asked(request: Any) -> str:
    raise AssertionError("this was asked before")
