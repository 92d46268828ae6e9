"""The events of a run that has children at work, for whatever folds over events."""

from __future__ import annotations

from abyme.events import (
    CallEnded,
    CallsAsked,
    CallStarted,
    CellEnded,
    CellStarted,
    DataLoaded,
    Event,
    HostAnswered,
    HostCalled,
    LimitReached,
    MessageAdded,
    NodeEnded,
    NodeStarted,
    OutputAdded,
    RunStarted,
    TextAdded,
    TurnEnded,
    WorkerEnded,
)
from abyme.types import CellResult, Usage

LIMITS = {"max_turns": 30, "max_calls": 1000, "max_depth": 2}


def child(number: int) -> NodeStarted:
    """The beginning of a child that cell 1 of the root asked for."""
    node, key = f"0.{number}", f"0/1/c{number}/0"
    return NodeStarted(node, "0", 1, f"how many in part {number}?", key=key, model="m")


def over(number: int, status: str = "complete") -> NodeEnded:
    """Its end."""
    return NodeEnded(
        node=f"0.{number}",
        key=f"0/1/c{number}/0",
        status=status,  # type: ignore[arg-type]
        text="57",
        error="" if status == "complete" else f"child 0.{number} ended {status}: max_turns",
        usage=Usage(30, 3, calls=2),
        cost=0.0,
        turns=1,
    )


def at_work() -> list[Event]:
    """A root that runs its first cell, which asked for five children and has begun three.

    The first is over, the second failed at a limit, the third works and has a sub-call in flight.
    """
    events: list[Event] = [
        RunStarted("20260131-1", "0.1", "q?", "m", "m", "", LIMITS, 1),
        DataLoaded("text", 1, 3_000),
        NodeStarted("0", "", 0, "q?", model="m"),
        CallStarted("0/turn1", "0", 0, "root", "m"),
        CallEnded("0/turn1", "I ask children.", Usage(10, 1, calls=1), cost=0.0),
        CellStarted("0", 1, 1, "the_roots_own = 1"),
        CallsAsked("0", 1, 5, True),
    ]
    for number in (1, 2, 3):
        node = f"0.{number}"
        events += [
            child(number),
            MessageAdded(node, 0, "system", "you are a child"),
            CallStarted(f"{node}/turn1", node, 0, "root", "m"),
            TextAdded(f"{node}/turn1", "I am a child."),
            CallEnded(f"{node}/turn1", "I am a child.", Usage(10, 1, calls=1), cost=0.0),
            CellStarted(node, 1, 1, "the_childs_own = 2"),
            OutputAdded(node, 1, "the child printed\n"),
            CallStarted(f"{node}/1/x/0", node, 1, "llm_query", "m"),
        ]
        if number < 3:
            events += [
                CallEnded(f"{node}/1/x/0", "leaf", Usage(20, 2, calls=1), cost=0.0),
                CellEnded(node, 1, 1, CellResult("raised")),
                TurnEnded(node, 1),
            ]
    events += [
        over(1),
        WorkerEnded("0.2", "SIGKILL"),
        LimitReached("0.2", "max_turns", "1 turn is used"),
        over(2, "partial"),
    ]
    return events


def job(cell: int = 1) -> list[Event]:
    """The beginning of a job of four prompts, in that cell."""
    key = f"0/{cell}/j/0"
    return [
        HostCalled(key, "0", cell, "llm_start", {"prompts": 4}),
        CallsAsked("0", cell, 4),
        HostAnswered(key, 1),
    ]


def look(told: str, cell: int = 2, after: int = 0) -> list[Event]:
    """A look at that job which was told that these are over."""
    key = f"0/{cell}/look{after}/0"
    arguments = {"job": 1, "after": after, "wait": "any", "seconds": None}
    return [
        HostCalled(key, "0", cell, "job_wait", arguments),
        HostAnswered(key, {"over": told}),
    ]
