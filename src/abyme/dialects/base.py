"""How the engine and a model talk: the contract of a dialect, and what its messages are made of."""

from __future__ import annotations

from typing import Protocol

import msgspec

from abyme.dialects.prose import ProseFinish
from abyme.events import DataMeasured, WorkerRestored
from abyme.sandbox.base import Function
from abyme.types import CellResult, JobStatus, Message, Variable

MOST_REMINDERS = 3
"""Replies in a row without code, of which the last ends the run."""


class TurnStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a status line says. None where there is no limit, or where a cost is not known."""

    turn: int
    """The turn that comes next, from 1."""
    max_turns: int
    seconds_used: float = 0.0
    seconds_left: float | None = None
    calls_used: int = 0
    calls_left: int | None = None
    calls_under_way: int = 0
    """Those of jobs: neither used nor left. The same of ``cost_set_aside`` for them."""
    cost_used: float | None = None
    cost_left: float | None = None
    cost_set_aside: float = 0.0
    shares: tuple[tuple[str, float], ...] = ()
    """Of each limit that there is: what it counts, as it is said, and which part of it is used."""
    recursion: bool = False


class Earlier(msgspec.Struct, frozen=True):
    """A question that was dealt with before, in the same REPL. ``answer``: "" where it has none."""

    question: str
    answer: str
    short_of: str = ""
    """Why the answer is not a whole one: a limit, an interrupt, a failure."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """What the first messages are made of. ``description`` is the data's, of constant size."""

    question: str
    description: str
    status: TurnStatus
    sub_window_chars: int
    """Characters that fit one prompt of the sub-model."""
    cell_seconds: float = 120.0
    """Seconds that a cell may compute."""
    models: tuple[str, ...] = ()
    """The models that code may ask for, where there is more than one."""
    tools: tuple[Function, ...] = ()
    """The functions that the user added."""
    earlier: tuple[Earlier, ...] = ()
    """What was asked before, where this is a further question."""
    variables: tuple[Variable, ...] = ()
    """What the cells of earlier questions left, what changed last at the end."""
    cells: int = 0
    """Cells that ran for earlier questions: numbers go on from there."""


class TurnReport(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a turn, for the message that follows it."""

    question: str
    status: TurnStatus
    cells: int
    """Cells that the reply held; ``results`` has fewer where one of them ended the turn."""
    results: tuple[CellResult, ...]
    first: int = 1
    """The number of the first of them, counted over the whole conversation."""
    note: str = ""
    """What became of an answer that was handed over: held, rejected, no such variable."""
    measured: DataMeasured | None = None
    """Exact sizes of the data, where the opening gave estimates."""
    restored: WorkerRestored | None = None
    jobs: tuple[JobStatus, ...] = ()
    """Jobs that go on, and those that came to their end in this turn."""
    notes: tuple[str, ...] = ()
    """Anything else that the model must know, a line each."""


class Dialect(Protocol):
    """How replies become cells and an answer, and how results become messages.

    None of these raises for what a reply holds, and every message but the first is bounded.
    """

    def cells(self, reply: str, *, cut: bool = False) -> tuple[str, ...]:
        """The code of ``reply`` in order; empty where there is none.

        ``cut``: the reply ended at a token limit; a cell that it left unfinished is no cell.
        """

    def prose_finish(self, reply: str) -> ProseFinish | None:
        """The answer that a reply without cells gives in prose."""

    def opening(self, opening: Opening) -> tuple[Message, ...]:
        """The messages that begin a conversation."""

    def turn_message(self, report: TurnReport) -> str:
        """What the model is told after its cells ran."""

    def reminder(self, count: int, question: str = "", status: TurnStatus | None = None) -> str:
        """What it is told after the ``count``-th reply in a row without code."""

    def final_request(self, reason: str, question: str, draft: str = "") -> str:
        """The request for an answer after which no code is run; ``draft``: the best so far."""

    def final_answer(self, reply: str) -> ProseFinish | None:
        """The answer handed over as ``FINAL`` in the last reply, in a cell or outside of one."""
