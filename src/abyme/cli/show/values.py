"""What a run's journal comes to: its head, its turns with their cells and calls, its end."""

from __future__ import annotations

import msgspec

from abyme.events import DataLoaded, NodeEnded, NodeStarted, RunStarted, WorkerStarted
from abyme.types import Answer, CellResult, Usage


class Call(msgspec.Struct):
    """A call that code made: of a model, of a child, or of a function of the host.

    ``usage``, ``cost`` and ``seconds`` of a child are those of all below it too.
    """

    number: int
    """Its place among the calls of its cell, from 1."""
    name: str
    model: str
    """Empty for a function of the host, and where a call was refused before it was sent."""
    asked: str
    started: float
    said: str = ""
    error: str = ""
    usage: Usage = Usage()
    cost: float | None = None
    seconds: float = 0.0
    attempts: int = 1
    notes: list[str] = []
    ended: bool = False
    in_flight: bool = False
    """Not ended, in a run that is still going."""
    again: bool = False
    """Its run was killed while it was in flight, and it was made again."""
    child: str = ""
    """The id of the child that answers it, where one does."""
    given: str = ""
    """What that child was given, in words."""
    turns: int = 0

    @property
    def until(self) -> float:
        """When it was over, in seconds since 1970."""
        return self.started + self.seconds


class Cell(msgspec.Struct):
    """A cell with the calls that it made; no result where it still runs, or its run was killed."""

    number: int
    code: str
    calls: list[Call] = []
    result: CellResult | None = None
    in_flight: bool = False
    again: bool = False
    """Its run was killed in it, and it was run again."""


class Note(msgspec.Struct, frozen=True):
    """Something that befell a turn. ``bad``: it is nobody's wish."""

    text: str
    bad: bool = False


class RootReply(msgspec.Struct):
    """The root's reply; not ``ended`` where it has not come."""

    text: str = ""
    usage: Usage = Usage()
    cost: float | None = None
    seconds: float = 0.0
    error: str = ""
    cut: bool = False
    ended: bool = False
    in_flight: bool = False


class Turn(msgspec.Struct):
    """A reply of the root and what came of it. ``final``: the last call, after a limit."""

    number: int
    final: bool = False
    told: list[str] = []
    """What the model was told since its last reply."""
    before: list[Note] = []
    reply: RootReply | None = None
    attempts: list[Note] = []
    cells: list[Cell] = []
    after: list[Note] = []
    over: bool = False

    @property
    def empty(self) -> bool:
        """True where its model has not been asked yet."""
        return self.reply is None


class Head(msgspec.Struct):
    """What a run was asked, of whom, about what. Fields are None in a run that was killed early."""

    run: str = ""
    at: float = 0.0
    started: RunStarted | None = None
    data: DataLoaded | None = None
    worker: WorkerStarted | None = None
    node: NodeStarted | None = None
    """The node that is told of; None in a run that was killed early, and where there is no such."""
    given: str = ""


class Section(msgspec.Struct, frozen=True):
    """Where a run goes on another way: with a further question, or as a run of its own.

    ``answer``: that of the question before, if there is one.
    """

    note: str = ""
    question: str = ""
    number: int = 0
    answer: Answer | None = None


class End(msgspec.Struct):
    """How the run ended: no answer where it is still going or was killed."""

    at: float
    turns: int
    """How many there are, the last call after a limit included."""
    notes: list[Note]
    answer: Answer | None = None
    going: bool = False
    ended: NodeEnded | None = None
    """Of a child, where it is over."""
    left: bool = False
    """Of a child that is not: whether its run has ended without it."""
