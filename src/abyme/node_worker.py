"""The worker of one node, whichever it is at the moment, and how a fresh one takes its place.

A fresh one re-runs the cells that had completed, with every call answered from the journal. A cell
that a deadline ended is not re-run; what it assigned is named as lost. Where a checkpoint was taken
(:mod:`abyme.checkpoints`), only the cells after it are re-run.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import AsyncExitStack

import msgspec

from abyme.checkpoints import Checkpoints
from abyme.context.documents import Data
from abyme.errors import SandboxError
from abyme.events import CheckpointRefused, Emit, WorkerRestored, WorkerStarted
from abyme.history import history
from abyme.journal.conversation import Cell, Exchange
from abyme.journal.outcomes import Outcomes
from abyme.sandbox.base import Function, NoCheckpoint, Repl, Workers
from abyme.subcalls.rerun import Rerun
from abyme.subcalls.router import Router
from abyme.types import CellResult, FailedCall, Finish

_MOST_DOUBTS = 2
_REPEATABLE = ("done", "raised", "exited")
"""How a cell ended that can be run again: by itself."""
GONE = CellResult(ended="died")


class Place(msgspec.Struct, frozen=True):
    """Where the workers of a node are opened, and over what."""

    sandbox: str
    """Its name, for the journal."""
    workers: Workers
    data: Data
    functions: tuple[Function, ...]
    seed: int
    cell_seconds: float


class NodeWorker:
    """The worker of node ``node``. One is there once :meth:`open` or :meth:`restore` has ended."""

    def __init__(
        self, node: str, place: Place, router: Router, checkpoints: Checkpoints, emit: Emit
    ) -> None:
        self._node = node
        self._place = place
        self._router = router
        self._checkpoints = checkpoints
        self._emit = emit
        self._held = AsyncExitStack()
        self._now: Repl | None = None
        self._earlier: Sequence[Exchange] = ()
        self._bound = 1
        self._rerun: Rerun | None = None
        self._told_pid = 0
        self._doubts = 0  # workers made of a checkpoint that died before a cell ended in them

    @property
    def repl(self) -> Repl:
        """The worker that is there now."""
        assert self._now is not None
        return self._now

    async def open(self, outcomes: Outcomes | None = None) -> None:
        """Put a fresh worker in the place of whatever is there. Raises :class:`SandboxError`.

        With ``outcomes`` it is for cells that ran before: what their calls came to is known.
        """
        await self._held.aclose()
        place = self._place
        self._rerun = None if outcomes is None else Rerun(outcomes)
        self._router.run_again(self._rerun)
        self._now = await self._held.enter_async_context(
            place.workers.open(place.data, self._router, place.functions, place.seed)
        )
        self._bound = 1
        self._tell_of(self._now)

    async def close(self) -> None:
        """End it."""
        await self._held.aclose()

    def converse(self, earlier: Sequence[Exchange]) -> None:
        """These questions were dealt with before the one at hand: cells have them as `history`."""
        self._earlier = earlier

    async def look(self, name: str) -> Finish | None:
        """The variable ``name`` as an answer; None where there is none."""
        return None if self._now is None else await self._now.look(name)

    async def run(self, cell: Cell) -> CellResult:
        """Run a cell for the first time."""
        return await self._run(cell, None)

    async def run_again(self, cell: Cell, outcomes: Outcomes, *, whole: bool = True) -> CellResult:
        """Run a cell that ran before: calls that ``outcomes`` has are not made again.

        If it ran to its end (``whole``) no other call is made either.
        """
        if self._rerun is None:
            self._rerun = Rerun(outcomes)
            self._router.run_again(self._rerun)
        self._rerun.cell_begins(whole=whole)
        return await self._run(cell, cell.clock or None)

    def caught_up(self) -> None:
        """The worker has what the cells made. Threads that they left behind may go on."""
        if self._rerun is not None:
            self._rerun.caught_up()

    async def _run(self, cell: Cell, clock: float | None) -> CellResult:
        self._router.start_cell(cell.cell)
        repl = self.repl
        if cell.question != self._bound and repl.alive:
            await self._bind(repl, self._earlier[: cell.question - 1])
            self._bound = cell.question
        result = await repl.run(cell.cell, cell.code, self._place.cell_seconds, clock)
        if result.ended != "died":
            self._doubts = 0
        if repl.pid != self._told_pid:  # one that shares the text took the place of an unused one
            self._tell_of(repl)
        calls = self._router.calls_of(cell.cell)
        failed = tuple(sorted(calls.failed, key=place))
        return msgspec.structs.replace(result, calls=calls.made, failed_calls=failed)

    async def _bind(self, repl: Repl, earlier: Sequence[Exchange]) -> None:
        """Give it the exchanges; without their messages where these are too long to be sent."""
        with contextlib.suppress(SandboxError):  # it is gone: the cell will tell
            try:
                await repl.bind(history(earlier))
            except ValueError:
                await repl.bind(history(earlier, messages=False))

    async def restore(self, past: Sequence[Cell], outcomes: Outcomes) -> WorkerRestored:
        """Have a fresh worker with all that the cells of ``past`` made, and tell what came back."""
        if self._doubts >= _MOST_DOUBTS:
            await self._checkpoints.forget()
        saved = await self._load_checkpoint(outcomes)
        if saved == 0:
            await self.open(outcomes)
        differing: list[int] = []
        again = [cell for cell in past if cell.cell > saved and is_repeatable(cell)]
        assert self._rerun is not None
        self._rerun.leave_out({cell.cell for cell in past}.difference(c.cell for c in again))
        for cell in again:
            result = await self.run_again(cell, outcomes)
            if result.ended == "died":
                return await self._give_up(past, outcomes)
            if not _is_same(cell.result, result):
                differing.append(cell.cell)
        return self._tell(past, saved, tuple(cell.cell for cell in again), tuple(differing))

    async def _load_checkpoint(self, outcomes: Outcomes) -> int:
        """A fresh worker made of the newest checkpoint: its last cell; 0 where there is none."""
        data = await self._checkpoints.read()
        newest = self._checkpoints.newest
        if data is None or newest is None:
            return 0
        await self.open(outcomes)
        assert self._rerun is not None
        # What is loaded may run code, whose calls are never made: none is on record for cell 0.
        self._rerun.cell_begins(whole=True)
        self._router.start_cell(0)
        try:
            async with asyncio.timeout(self._place.cell_seconds):
                await self.repl.restore(data)
        except (NoCheckpoint, SandboxError, TimeoutError) as error:
            why = f"it cannot be loaded: {str(error) or 'it took too long'}"
            self._emit(CheckpointRefused(self._node, newest.cell, why[:1_000]))
            await self._checkpoints.forget()
            return 0
        self._doubts += 1
        return newest.cell

    async def _give_up(self, past: Sequence[Cell], outcomes: Outcomes) -> WorkerRestored:
        """Re-running failed too: what a checkpoint has, and all else is named as lost."""
        if self._doubts >= _MOST_DOUBTS:
            await self._checkpoints.forget()
        saved = await self._load_checkpoint(outcomes)
        if saved == 0:
            await self.open(outcomes)
        assert self._rerun is not None
        self._rerun.leave_out(cell.cell for cell in past)
        return self._tell(past, saved, (), ())

    def _tell(
        self, past: Sequence[Cell], saved: int, cells: tuple[int, ...], differing: tuple[int, ...]
    ) -> WorkerRestored:
        kept = tuple(cell.cell for cell in past if cell.cell <= saved and not is_gone(cell))
        restored = WorkerRestored(self._node, cells, _lost(past, kept + cells), differing, kept)
        self._emit(restored)
        return restored

    def _tell_of(self, repl: Repl) -> None:
        self._told_pid = repl.pid
        self._emit(WorkerStarted(self._node, repl.pid, self._place.sandbox, repl.layers))


def place(failed: FailedCall) -> tuple[int, str]:
    """Failures come in any order, and are told in that of the batch."""
    return (-1 if failed.index is None else failed.index, failed.error)


def is_gone(cell: Cell) -> bool:
    """Whether nothing of what a cell made is there any more."""
    return cell.result is None or cell.result.ended == "died"


def is_repeatable(cell: Cell) -> bool:
    """Whether a cell ended by itself, so that it can be run again."""
    return cell.result is not None and cell.result.ended in _REPEATABLE


def _is_same(before: CellResult | None, now: CellResult) -> bool:
    return before is not None and (now.ended, now.output) == (before.ended, before.output)


def _lost(past: Sequence[Cell], came_back: Sequence[int]) -> tuple[str, ...]:
    """Names that only cells assigned of which nothing came back."""
    lost: set[str] = set()
    kept: set[str] = set()
    for cell in past:
        (kept if cell.cell in came_back else lost).update(assigned_names(cell.code))
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
        if isinstance(node, ast.comprehension):  # its targets are its own; a walrus in it is not
            stack += (node.iter, *node.ifs)
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            names.add(node.rest)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        stack.extend(ast.iter_child_nodes(node))
    return names
