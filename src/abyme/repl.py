"""The REPL of one node: cells in order, over a worker that may have to be replaced under it.

When a worker is gone (killed at a deadline, ``os._exit``, a crash), a fresh one re-runs the cells
that had completed, with every call answered from the journal. A cell that a deadline ended is not
re-run; what it assigned is named as lost.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from abyme.context.documents import Data
from abyme.events import CellEnded, CellStarted, Emit, WorkerEnded, WorkerRestored, WorkerStarted
from abyme.journal.replay import Outcome
from abyme.sandbox.base import Function, Repl, Workers
from abyme.subcalls.router import Router
from abyme.threads import in_thread
from abyme.types import CellResult, Finish

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

    async def run_cells(self, turn: int, codes: Sequence[str]) -> CellsRun:
        """Run the cells of one reply in order and stop at the first that does not end well.

        Raises :class:`SandboxError` where no worker can be had, and what
        :meth:`abyme.sandbox.base.Repl.run` raises for the data and the journal.
        """
        results: list[CellResult] = []
        restored: WorkerRestored | None = None
        first = len(self._past) + 1
        for code in codes:
            cell = len(self._past) + 1
            self._emit(CellStarted(self._node, turn, cell, code))
            result = await self._run(cell, code)
            self._emit(CellEnded(self._node, turn, cell, result))
            self._past.append(_Past(cell, code, result))
            results.append(result)
            if result.ended == "died":
                self._emit(WorkerEnded(self._node, _message(result)))
                restored = await self._restore()
            if not result.ok:
                break
        return CellsRun(tuple(results), first, restored)

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
        return await self._opening.result().look(name)

    async def _open(self) -> Repl:
        repl = await self._worker.enter_async_context(
            self._workers.open(self._data, self._router, self._functions)
        )
        self._tell_of(repl)
        return repl

    def _tell_of(self, repl: Repl) -> None:
        self._told_pid = repl.pid
        self._emit(WorkerStarted(self._node, repl.pid, self._sandbox, repl.layers))

    async def _run(self, cell: int, code: str) -> CellResult:
        assert self._opening is not None
        repl = await asyncio.shield(self._opening)
        self._router.start_cell(cell)
        result = await repl.run(cell, code, self._cell_seconds)
        if repl.pid != self._told_pid:  # one that shares the text took the place of an unused one
            self._tell_of(repl)
        calls = self._router.calls_of(cell)
        return msgspec.structs.replace(result, calls=calls.made, failed_calls=tuple(calls.failed))

    async def _restore(self) -> WorkerRestored:
        """Put a fresh worker in the place of the dead one, and say what came back."""
        recorded = await in_thread(self._recorded)
        repl = await self._fresh()
        again = [past for past in self._past if past.repeatable]
        differing: list[int] = []
        for past in again:
            self._router.start_cell(past.cell, recorded)
            result = await repl.run(past.cell, past.code, self._cell_seconds)
            if result.ended == "died":
                return await self._give_up()
            if (result.ended, result.output) != (past.result.ended, past.result.output):
                differing.append(past.cell)
        lost = self._lost(past for past in self._past if not past.repeatable)
        return self._tell(tuple(past.cell for past in again), lost, tuple(differing))

    async def _give_up(self) -> WorkerRestored:
        """Rebuilding failed too: an empty REPL, and everything named as lost."""
        await self._fresh()
        lost = self._lost(self._past)
        self._past = [
            msgspec.structs.replace(past, result=CellResult(ended="died")) for past in self._past
        ]
        return self._tell((), lost, ())

    def _tell(
        self, cells: tuple[int, ...], lost: tuple[str, ...], differing: tuple[int, ...]
    ) -> WorkerRestored:
        restored = WorkerRestored(self._node, cells, lost, differing)
        self._emit(restored)
        return restored

    async def _fresh(self) -> Repl:
        await self._worker.aclose()
        self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    def _lost(self, cells: Iterable[_Past]) -> tuple[str, ...]:
        """Names that only these cells assigned."""
        lost: set[str] = set()
        kept: set[str] = set()
        gone = {past.cell for past in cells}
        for past in self._past:
            (lost if past.cell in gone else kept).update(assigned_names(past.code))
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
