"""What moves on a terminal, and what stays: the tree fed with events, drawn into a text."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import pytest
from rich.console import Console

from abyme.cli.ask.live import LiveTree
from abyme.events import (
    AttemptFailed,
    CallEnded,
    CallsAsked,
    CallStarted,
    CellEnded,
    CellStarted,
    DataLoaded,
    DataLoading,
    DocumentLoaded,
    Event,
    OutputAdded,
    RunStarted,
    TurnEnded,
    WorkerStarted,
)
from abyme.types import CellResult, Usage
from support import tree

LIMITS = {"max_cost": 5.0, "max_seconds": 1800.0, "max_calls": 1000, "max_turns": 30}


def opening() -> list[Event]:
    """A run up to the reply of its first turn."""
    return [
        RunStarted("20260131-1", "0.1", "q?", "m", "m", "", LIMITS, 1),
        DocumentLoaded(0, "a", "/a", 3, 1, 1, "latin-1", ""),
        DataLoaded("documents", 2, 3_000_000, {"binary": 1}),
        WorkerStarted("0", 1, "process", ()),
        CallStarted("0/turn1", "0", 0, "root", "m"),
    ]


def ended(key: str, text: str = "", **fields: object) -> CallEnded:
    return CallEnded(key, text, usage=Usage(1000, 10, calls=1), cost=0.01, **fields)  # type: ignore[arg-type]


class Screen:
    """A terminal of 80 columns that remembers everything ever drawn."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self.file = io.StringIO()
        console = Console(
            file=self.file, force_terminal=True, width=width, height=height, highlight=False
        )
        self.tree = LiveTree(console)

    def take(self, events: Sequence[Event]) -> None:
        for event in events:
            self.tree.take(event)

    def frame(self) -> list[str]:
        """The lines of a frame drawn now."""
        before = len(self.file.getvalue())
        self.tree._drawn = 0.0
        self.tree.tick()
        return self.lines(before)

    def lines(self, since: int = 0) -> list[str]:
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.file.getvalue()[since:])
        return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_what_is_loaded_is_counted_as_it_comes(screen: Screen) -> None:
    assert "loading the data …" in screen.frame()[-1]
    screen.take([DataLoading(12_000, 34_000_000)])
    assert "loading: 12,000 documents, 34.0 MB" in screen.frame()[-1]


def test_notices_stay_above(screen: Screen) -> None:
    screen.take(opening())
    lines = screen.lines()
    assert "run 20260131-1 · m" in lines
    assert "may spend: $5, 30 min, 1,000 calls, 30 turns" in lines
    assert any(
        line.startswith("data: 2 documents, 3.0 MB, ≈ 857 k tokens; not UTF-8: 1 (latin-1)")
        for line in lines
    )
    assert any("not confined" in line for line in lines)


def test_code_as_it_runs_output_and_sub_calls(screen: Screen) -> None:
    screen.take(opening())
    assert "turn 1 · the model writes" in screen.frame()[0]
    reply = "I count the lines.\n```repl\nfor line in context:\n    print(line)\n```"
    screen.take([ended("0/turn1", reply), CellStarted("0", 1, 1, "for line in context:\n    pass")])
    screen.take([OutputAdded("0", 1, "line one\nline two\n"), CallsAsked("0", 1, 40)])
    screen.take(
        [CallStarted(f"0/1/x/{i}", "0", 1, "llm_query", "m") for i in range(10)]
        + [ended(f"0/1/x/{i}", "ok") for i in range(4)]
        + [ended("0/1/x/4", error="it broke")]
    )
    frame = "\n".join(screen.frame())
    assert "turn 1 · cell 1 runs" in frame
    assert "├── I count the lines." in frame
    assert "├── for line in context:\n│       pass" in frame
    assert "> line two" in frame
    assert "sub-calls: 4 done · 5 in flight · 30 waiting · 1 failed" in frame
    assert "6,060 tokens · $0.06 of $5 · 6 of 1,000 calls" in frame and "of 30 min" in frame


def test_a_finished_turn_is_a_branch_and_the_last_one_closes_the_tree(screen: Screen) -> None:
    screen.take(opening())
    for number in (1, 2):
        if number > 1:
            screen.take([CallStarted(f"0/turn{number}", "0", 0, "root", "m")])
        screen.take([ended(f"0/turn{number}", "I look.\n```repl\n1\n```")])
        screen.take([CellStarted("0", number, number, "1")])
        screen.take([CellEnded("0", number, number, CellResult("raised"))])
        screen.take([TurnEnded("0", number)])
    screen.tree.close()
    lines = screen.lines()
    assert any(re.match(r"├── turn 1 · 1 cell \(raised\) · \d\.\d s  I look\.", at) for at in lines)
    assert re.match(r"└── turn 2 · 1 cell \(raised\) · \d\.\d s  I look\.", lines[-1])


def test_a_turn_that_the_end_came_upon_is_a_branch_too(screen: Screen) -> None:
    screen.take(opening())
    screen.take([ended("0/turn1", "I look."), CellStarted("0", 1, 1, "1")])
    screen.frame()
    screen.tree.close()
    assert screen.lines()[-1].startswith("└── turn 1 · 1 cell · ")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (30, 8), (200, 60)])
def test_nothing_is_wider_or_higher_than_the_terminal(width: int, height: int) -> None:
    screen = Screen(width, height)
    screen.take(opening())
    long = "x = 1  # " + "very long " * 50
    screen.take([ended("0/turn1", "I explain " * 100 + "\n```repl\n1\n```")])
    screen.take([CellStarted("0", 1, 1, "\n".join([long] * 100))])
    screen.take([OutputAdded("0", 1, "y" * 5000 + "\n" + "漢字" * 500)])
    frame = screen.frame()
    assert len(frame) <= height
    from rich.cells import cell_len

    assert max(map(cell_len, frame)) <= width - 3  # room for an echoed ^C


def test_nothing_that_data_or_models_say_acts_on_the_terminal(screen: Screen) -> None:
    screen.take(opening())
    hostile = "\x1b]0;owned\x07\x1b[2J[bold red]x[/] \u202egnp.exe"
    screen.take([ended("0/turn1", f"{hostile}\n```repl\n1\n```")])
    screen.take([CellStarted("0", 1, 1, f"print('{hostile}')"), OutputAdded("0", 1, hostile)])
    screen.take([AttemptFailed("0/turn1", 1, hostile)])
    screen.frame()
    screen.take([TurnEnded("0", 1)])
    screen.tree.close()
    drawn = screen.file.getvalue()
    assert "\x1b]0" not in drawn and "\x1b[2J" not in drawn and "\u202e" not in drawn
    assert "[bold red]x[/]" in drawn


def test_a_dead_endpoint_is_not_a_thousand_lines(screen: Screen) -> None:
    screen.take(opening())
    screen.take([AttemptFailed("0/turn1", n, "no", wait=1.0) for n in range(100)])
    assert sum("failed: no" in line for line in screen.lines()) == 20
    assert any("counted, not shown" in line for line in screen.lines())


def test_children_have_lines_of_their_own_and_theirs_are_not_the_roots(screen: Screen) -> None:
    screen.take(tree.at_work())
    frame = "\n".join(screen.frame())
    assert "turn 1 · cell 1 runs" in frame
    assert "1 child at work, 2 waiting, 1 done · 1 failed" in frame
    assert re.search(r"0\.3 · turn 1 · \d\.\d s · how many in part 3\?", frame)
    assert "I ask children." in frame and "the_roots_own = 1" in frame
    assert "sub-calls: 2 done · 1 in flight" in frame
    drawn = "\n".join(screen.lines())
    assert "the child printed" not in drawn and "I am a child." not in drawn
    assert "the_childs_own" not in drawn
    assert "child 0.2: its worker ended (SIGKILL); a fresh one is rebuilt" in drawn
    assert "child 0.2 ended partial: max_turns" in drawn and "limit reached" not in drawn
    screen.take([tree.over(3), CellEnded("0", 1, 1, CellResult("done")), TurnEnded("0", 1)])
    screen.tree.close()
    assert "turn 1 · 1 cell · 3 children (1 failed) · 2 sub-calls" in screen.lines()[-1]


def test_a_job_is_told_of_between_cells(screen: Screen) -> None:
    screen.take([*tree.at_work(), *tree.job()])
    assert "1 job not fetched yet" in "\n".join(screen.frame())


def test_hundreds_of_children_that_fail_are_not_hundreds_of_lines(screen: Screen) -> None:
    screen.take(tree.at_work())
    for number in range(4, 204):
        screen.take([tree.child(number), tree.over(number, "failed")])
    told = [line for line in screen.lines() if "child 0." in line]
    assert len(told) == 20
