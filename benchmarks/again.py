"""Runs that go on, or are done again: how long until they are where they were."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from abyme import RLM, Limits, replay
from abyme.events import CallStarted, Event, WorkerRestored, WorkerStarted
from abyme.journal.reader import read
from abyme.models.base import Request
from abyme.models.scripted import Scripted
from abyme.spec import GoesOn
from benchmarks.figures import Bench, Row, cell

_CALLS = 2_000
_TURNS = 20
_LAST = "This is the last message"


def again(bench: Bench) -> list[Row]:
    """The floor reads the journal once, every hash checked, and does nothing with it."""
    return [_resume(bench), _replay(bench)]


def _resume(bench: Bench) -> Row:
    """Until the first request that is new; the time that its one cell took is in it."""
    runs = bench.folder / "resumed"
    prompts = cell(f"r = llm_query_batched([f'{{i}} ' + 'word ' * 400 for i in range({_CALLS})])")
    limits = Limits(max_turns=1, max_calls=None, max_seconds=300)
    left = RLM(
        Scripted(_root([prompts]), lambda request: "A reply. " * 50), runs=runs, limits=limits
    )
    answer = left.completion("What is it?", "a short text")
    assert answer.status == "partial" and answer.usage.calls == _CALLS + 2, answer.reason
    took, cells = [], []
    for _ in range(bench.rounds(3)):
        seen: dict[str, float] = {}
        rlm = RLM(Scripted(_root([prompts, cell("FINAL(len(r))")])), runs=runs)
        began = time.perf_counter()
        # A fork at its last turn does what resuming does, and leaves the run as it was.
        goes_on = GoesOn(folder=runs / answer.run, how="fork", turn=1)
        done = rlm.start_from(goes_on, "", _noting(seen, began)).future.result()
        assert done.value == _CALLS, done.reason
        took.append(seen["CallStarted"])
        cells.append(seen["WorkerRestored"] - seen.get("WorkerStarted", 0.0))
    return Row(
        f"going on with a run of {_CALLS:,} calls",
        median(took),
        _reading(runs / answer.run),
        target=2.0,
        note="from the call to the first new request; its cell, which is run again, takes "
        f"{median(cells) * 1e3:,.0f} ms of it; floor: reading the journal",
    )


def _replay(bench: Bench) -> Row:
    runs = bench.folder / "replayed"
    replies = [cell(f"n = {turn}\nprint(n, len(context))") for turn in range(1, _TURNS)]
    rlm = RLM(Scripted([*replies, cell("FINAL(n)")]), runs=runs)
    answer = rlm.completion("What is it?", "a short text")
    assert answer.turns == _TURNS, answer.reason
    took = []
    for _ in range(bench.rounds(5)):
        began = time.perf_counter()
        done = replay(answer.run, runs=runs)
        took.append(time.perf_counter() - began)
        assert done.identical and done.cells == _TURNS, done.difference
    return Row(
        f"replay of {_TURNS} turns",
        median(took),
        _reading(runs / answer.run),
        target=1.0,
        note="its cells are run, and take next to nothing; floor: reading the journal",
    )


def _root(replies: list[str]) -> Callable[[Request], str]:
    def root(request: Request) -> str:
        if _LAST in request.messages[-1].text:
            return "so far"
        return replies[sum(message.role == "assistant" for message in request.messages)]

    return root


def _noting(seen: dict[str, float], began: float) -> Callable[[Event], None]:
    """Notes when events of these kinds first come."""

    def listener(event: Event) -> None:
        if isinstance(event, CallStarted | WorkerStarted | WorkerRestored):
            seen.setdefault(type(event).__name__, time.perf_counter() - began)

    return listener


def _reading(folder: Path) -> float:
    took: list[Any] = []
    for _ in range(3):
        began = time.perf_counter()
        for _record in read(folder):
            pass
        took.append(time.perf_counter() - began)
    return float(median(took))
