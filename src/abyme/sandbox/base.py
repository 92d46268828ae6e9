"""Where code runs, seen from the host: the contract of a sandbox and of the REPL it opens."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from abyme.context.documents import Data
from abyme.types import CellResult, Finish


class Function(msgspec.Struct, frozen=True):
    """A host function as the REPL offers it: its name and its parameters in order."""

    name: str
    parameters: tuple[str, ...]
    doc: str = ""
    signature: str = ""


GAVE_UP = "the code gave the call up"
"""What a host's ``call`` is cancelled with where the code that made it does not wait any more."""


class Host(Protocol):
    """What a REPL may ask of the host while a cell runs. Every argument comes from hostile code."""

    async def call(
        self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
    ) -> Any:
        """Answer a call from code; the value must be writable as JSON.

        ``aside``: another thread asks than the one that runs cells, perhaps one that an earlier
        cell than ``cell``, the one that runs, left behind.

        Cancelled where nobody waits for it any more: with the message :data:`GAVE_UP` where that
        was the code's doing. Raises :class:`~abyme.errors.AbymeError`, which the code sees as an
        exception.
        """

    @property
    def listens(self) -> bool:
        """Whether anybody wants what a cell prints before it has ended."""

    def output(self, cell: int, text: str) -> None:
        """The running cell printed ``text`` (capped; for showing progress)."""


class NoCheckpoint(Exception):
    """The namespace cannot be had as a checkpoint, or not be made of one; says why."""


class Repl(Protocol):
    """One worker with one persistent namespace."""

    @property
    def pid(self) -> int:
        """The worker's process id; 0 where it has none on this machine."""

    @property
    def layers(self) -> tuple[str, ...]:
        """What holds the code; empty where nothing but a process boundary does."""

    @property
    def alive(self) -> bool:
        """False once the worker is gone; every later ``run`` would return ``died``."""

    async def run(
        self, cell: int, code: str, seconds: float, clock: float | None = None
    ) -> CellResult:
        """Run one cell. Never raises for what the code does: the result says how it ended.

        ``seconds`` of computing are allowed; the clock stops while host calls are in flight. Then
        the cell is interrupted, and after a grace the worker is killed (``died``). Cancelling
        this coroutine does the same at once.

        ``clock``: for a cell that is run again, when it first began, in seconds since 1970. What
        tells the time of day (``time.time``, ``datetime.now``, ``date.today`` and their like)
        tells it from there, at normal speed. None: the true time. Monotonic clocks are as they are.
        """

    async def bind(self, names: dict[str, Any]) -> None:
        """Make plain JSON values variables of the REPL, protected like ``context``.

        Never while a cell runs. They are no cell's variables and in no checkpoint: a fresh REPL is
        told them anew, before :meth:`restore`. A name that is bound already gets the new value.

        Raises ``ValueError`` for what is no name or no plain value and for over 64 million
        characters of JSON, :class:`~abyme.errors.SandboxError` where the worker ended, has this
        name already (``context``, a call) or has not enough memory.
        """

    async def look(self, name: str) -> Finish | None:
        """The variable ``name`` as an answer, or None where there is none. Runs no code."""

    async def checkpoint(self) -> bytearray:
        """All that the cells made, for :meth:`restore` of a fresh REPL. Runs code of theirs.

        The bytes come from hostile code: only to be kept, and to be given to a worker. Raises
        :class:`NoCheckpoint`, and :class:`~abyme.errors.SandboxError` where the worker ended.
        Cancelling this gives it up and leaves the REPL ready for a cell.
        """

    async def restore(self, data: bytes | bytearray) -> None:
        """Make the fresh namespace what it was when ``data`` was taken of another.

        Raises as :meth:`checkpoint`; the REPL is good for nothing then.
        """


class Workers(Protocol):
    """The workers of one run."""

    def open(
        self, data: Data, host: Host, functions: tuple[Function, ...], seed: int = 0
    ) -> AbstractAsyncContextManager[Repl]:
        """A fresh worker, which no other node has used; ``seed`` is that of its ``random``.

        Leaving kills it and all that it started, and gives up its calls; at the latest when the
        workers of the run are left, nothing of it is there any more.

        Raises :class:`~abyme.errors.SandboxError` where there can be none.
        """


class Sandbox(Protocol):
    """Where code runs: settings, from which each run makes its own workers."""

    @property
    def name(self) -> str:
        """Short name for the journal, for instance ``process``."""

    @property
    def text_bytes(self) -> int:
        """Bytes that a text may take as a ``str``; a larger one is a lazy text."""

    def workers(self) -> AbstractAsyncContextManager[Workers]:
        """What the workers of a run share, for as long as the run lasts.

        Raises :class:`~abyme.errors.SandboxError` where there can be none.
        """
