"""The REPL of one node: cells in order, over a worker that may have to be replaced under it.

When a worker is gone (killed at a deadline, ``os._exit``, a crash), a fresh one re-runs the cells
that had completed, with every call answered from the journal. A cell that a deadline ended is not
re-run; what it assigned is named as lost. Where a checkpoint was taken (:mod:`abyme.checkpoints`),
only the cells after it are re-run.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from abyme.checkpoints import Checkpoints
from abyme.context.documents import Data
from abyme.errors import SandboxError
from abyme.events import (
    CellEnded,
    CellStarted,
    CheckpointRefused,
    Emit,
    WorkerEnded,
    WorkerRestored,
    WorkerStarted,
)
from abyme.journal.blobs import Blobs
from abyme.journal.replay import Outcome
from abyme.sandbox.base import Function, NoCheckpoint, Repl, Workers
from abyme.subcalls.router import Router
from abyme.threads import in_thread
from abyme.types import CellResult, Finish

_MOST_DOUBTS = 2

Made = TypeVar("Made")
Recorded = Callable[[], Mapping[str, Outcome]]


class _Past(msgspec.Struct, frozen=True):
    """A cell that ran: what it takes to run it again, and to see whether it did the same."""

    cell: int
    code: str
    result: CellResult

    @property
    def repeatable(self) -> bool:
        return self.result.ended in ("done", "raised", "exited")

    @property
    def died(self) -> bool:
        return self.result.ended == "died"


class CellsRun(msgspec.Struct, frozen=True):
    """What became of the cells of one reply, and of the worker if it had to be replaced."""

    results: tuple[CellResult, ...]
    first: int
    """The number of the first of them, counted over the whole node."""
    restored: WorkerRestored | None = None


class NodeRepl:
    """The REPL of node ``node``, as an asynchronous context manager.

    Entering starts the worker without waiting for it, so that its start and the first model call
    overlap. ``recorded`` reads the outcomes of all calls so far from the journal.
    """

    def __init__(
        self,
        node: str,
        sandbox: str,
        workers: Workers,
        data: Data,
        router: Router,
        functions: tuple[Function, ...],
        emit: Emit,
        recorded: Recorded,
        cell_seconds: float,
        blobs: Blobs,
    ) -> None:
        self._node = node
        self._sandbox = sandbox
        self._workers = workers
        self._data = data
        self._router = router
        self._functions = functions
        self._emit = emit
        self._recorded = recorded
        self._cell_seconds = cell_seconds
        self._worker = AsyncExitStack()
        self._opening: asyncio.Task[Repl] | None = None
        self._past: list[_Past] = []
        self._told_pid = 0
        self._doubts = 0  # workers made of a checkpoint that died before a cell ended in them
        self._checkpoints = Checkpoints(node, blobs, emit)

    async def __aenter__(self) -> NodeRepl:
        self._opening = asyncio.create_task(self._open())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        await self._worker.aclose()
        await self._checkpoints.close()

    async def run_cells(self, turn: int, codes: Sequence[str]) -> CellsRun:
        """Run the cells of one reply in order and stop at the first that does not end well.

        Raises :class:`SandboxError` where no worker can be had, and what
        :meth:`abyme.sandbox.base.Repl.run` raises for the data and the journal.
        """
        results: list[CellResult] = []
        restored: WorkerRestored | None = None
        first = len(self._past) + 1
        await self._checkpoints.settle()
        if not (await self._ready()).alive:
            self._emit(WorkerEnded(self._node, "it ended while no cell was running"))
            restored = await self._restore()
        for code in codes:
            cell = len(self._past) + 1
            self._emit(CellStarted(self._node, turn, cell, code))
            result = await self._run(cell, code)
            self._emit(CellEnded(self._node, turn, cell, result))
            self._past.append(_Past(cell, code, result))
            self._checkpoints.ran(result.cpu_seconds)
            results.append(result)
            if result.ended == "died":
                self._emit(WorkerEnded(self._node, _message(result)))
                restored = await self._restore()
            if not result.ok:
                break
        self._checkpoints.thinking(self._repl(), len(self._past))
        return CellsRun(tuple(results), first, restored)

    async def forget_checkpoint(self) -> None:
        """The run has its answer: nothing will be restored any more."""
        await self._checkpoints.forget()

    async def unless_refused(self, work: Coroutine[Any, Any, Made]) -> Made:
        """The result of ``work``, which is given up where the first worker cannot be had.

        Raises :class:`SandboxError` then: no model is asked for what no worker could do.
        """
        opening, task = self._opening, asyncio.create_task(work)
        assert opening is not None
        try:
            await asyncio.wait((task, opening), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                opening.result()
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look(self, name: str) -> Finish | None:
        """The variable ``name`` as an answer; None where there is none."""
        if self._opening is None or not self._opening.done():
            return None
        await self._checkpoints.settle()
        return await self._repl().look(name)

    async def _open(self) -> Repl:
        repl = await self._worker.enter_async_context(
            self._workers.open(self._data, self._router, self._functions)
        )
        self._tell_of(repl)
        return repl

    def _tell_of(self, repl: Repl) -> None:
        self._told_pid = repl.pid
        self._emit(WorkerStarted(self._node, repl.pid, self._sandbox, repl.layers))

    async def _ready(self) -> Repl:
        assert self._opening is not None
        return await asyncio.shield(self._opening)

    def _repl(self) -> Repl:
        assert self._opening is not None
        return self._opening.result()

    async def _run(self, cell: int, code: str) -> CellResult:
        self._router.start_cell(cell)
        repl = self._repl()
        result = await repl.run(cell, code, self._cell_seconds)
        if result.ended != "died":
            self._doubts = 0
        if repl.pid != self._told_pid:  # one that shares the text took the place of an unused one
            self._tell_of(repl)
        calls = self._router.calls_of(cell)
        return msgspec.structs.replace(result, calls=calls.made, failed_calls=tuple(calls.failed))

    async def _restore(self) -> WorkerRestored:
        """Put a fresh worker in the place of the dead one, and say what came back."""
        recorded = await in_thread(self._recorded)
        if self._doubts >= _MOST_DOUBTS:
            await self._checkpoints.forget()
        saved = await self._load_checkpoint(recorded)
        if saved == 0:
            await self._fresh()
        differing: list[int] = []
        again = [past for past in self._past if past.cell > saved and past.repeatable]
        for past in again:
            self._router.start_cell(past.cell, recorded)
            result = await self._repl().run(past.cell, past.code, self._cell_seconds)
            if result.ended == "died":
                return await self._give_up(recorded)
            self._doubts = 0
            if (result.ended, result.output) != (past.result.ended, past.result.output):
                differing.append(past.cell)
        return self._tell(saved, tuple(past.cell for past in again), tuple(differing))

    async def _load_checkpoint(self, recorded: Mapping[str, Outcome]) -> int:
        """A fresh worker made of the newest checkpoint: its last cell; 0 where there is none."""
        data = await self._checkpoints.read()
        newest = self._checkpoints.newest
        if data is None or newest is None:
            return 0
        repl = await self._fresh()
        # What is loaded may run code, whose calls are never made: none is on record for cell 0.
        self._router.start_cell(0, recorded)
        try:
            async with asyncio.timeout(self._cell_seconds):
                await repl.restore(data)
        except (NoCheckpoint, SandboxError, TimeoutError) as error:
            why = f"it cannot be loaded: {str(error) or 'it took too long'}"
            self._emit(CheckpointRefused(self._node, newest.cell, why[:1_000]))
            await self._checkpoints.forget()
            return 0
        self._doubts += 1
        return newest.cell

    async def _give_up(self, recorded: Mapping[str, Outcome]) -> WorkerRestored:
        """Re-running failed too: what a checkpoint has, and all else is named as lost."""
        if self._doubts >= _MOST_DOUBTS:
            await self._checkpoints.forget()
        saved = await self._load_checkpoint(recorded)
        if saved == 0:
            await self._fresh()
        return self._tell(saved, (), ())

    def _tell(
        self, saved: int, cells: tuple[int, ...], differing: tuple[int, ...]
    ) -> WorkerRestored:
        kept = tuple(past.cell for past in self._past if past.cell <= saved and not past.died)
        lost = self._lost(kept + cells)
        restored = WorkerRestored(self._node, cells, lost, differing, kept)
        self._emit(restored)
        gone = CellResult(ended="died")
        self._past = [
            past if past.cell in kept + cells else msgspec.structs.replace(past, result=gone)
            for past in self._past
        ]
        return restored

    async def _fresh(self) -> Repl:
        await self._worker.aclose()
        self._opening = asyncio.create_task(self._open())
        return await self._ready()

    def _lost(self, came_back: Sequence[int]) -> tuple[str, ...]:
        """Names that only cells assigned of which nothing came back."""
        lost: set[str] = set()
        kept: set[str] = set()
        for past in self._past:
            (kept if past.cell in came_back else lost).update(assigned_names(past.code))
        return tuple(sorted(lost - kept))


def assigned_names(code: str) -> set[str]:
    """Names that a cell binds at its top level: assignments, functions, classes, imports."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    names: set[str] = set()
    scopes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, scopes):
            names.add(node.name)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        stack.extend(ast.iter_child_nodes(node))
    return names


def _message(result: CellResult) -> str:
    return "it ended" if result.error is None else result.error.message
