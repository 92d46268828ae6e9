"""The REPL of one node: cells in order, over a worker that may have to be replaced under it.

Where a run goes on from its journal, cells that ended before are not run for their results: these
are on the tape. The worker runs them again, once, to be what it was (:mod:`abyme.node_worker`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import TypeVar

import msgspec

from abyme.checkpoints import Checkpoints
from abyme.errors import Differs
from abyme.events import CellEnded, CellStarted, Emit, WorkerEnded, WorkerRestored
from abyme.journal.blobs import Blobs
from abyme.journal.conversation import Cell, Conversation, Exchange
from abyme.journal.node_tape import NodeTape
from abyme.journal.outcomes import Outcomes
from abyme.node_worker import GONE, NodeWorker, Place
from abyme.subcalls.router import Router
from abyme.threads import in_thread
from abyme.types import CellResult, Finish, JobStatus, Variable
from abyme.unbroken import to_the_end

Made = TypeVar("Made")


class CellsRun(msgspec.Struct, frozen=True):
    """What became of the cells of one reply, and of the worker if it had to be replaced."""

    results: tuple[CellResult, ...]
    first: int
    """The number of the first of them, counted over the whole node."""
    restored: WorkerRestored | None = None


class NodeRepl:
    """The REPL of node ``node``, as an asynchronous context manager.

    Entering starts the worker without waiting for it, so that its start and the first model call
    overlap. ``recorded`` reads the outcomes of all calls so far from the journal. ``tape``: what
    was run before, where the run goes on; ``checkpoints``: whether any are taken, into ``blobs``;
    ``accept_different``: go on too where cells that are run again do not do the same.
    """

    def __init__(
        self,
        node: str,
        place: Place,
        router: Router,
        emit: Emit,
        recorded: Callable[[], Outcomes],
        blobs: Blobs,
        tape: NodeTape,
        *,
        checkpoints: bool = True,
        accept_different: bool = False,
    ) -> None:
        self._node = node
        self._router = router
        self._emit = emit
        self._recorded = recorded
        self._accept_different = accept_different
        self._checkpoints = Checkpoints(node, blobs, emit, tape.saved, wanted=checkpoints)
        self._worker = NodeWorker(node, place, router, self._checkpoints, emit)
        self._worker.converse(tape.earlier)
        self._opening: asyncio.Task[None] | None = None
        self._conversation = tape.conversation
        self._cell = tape.conversation.cells_before
        self._past: list[Cell] = list(tape.past)
        self._resumes = bool(self._past)
        self._untold: WorkerRestored | None = None

    async def __aenter__(self) -> NodeRepl:
        self._opening = asyncio.create_task(self._begin())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await to_the_end(self._close())

    async def run_cells(self, turn: int, codes: Sequence[str]) -> CellsRun:
        """Run the cells of one reply in order and stop at the first that does not end well.

        Raises :class:`SandboxError` where no worker can be had, and what
        :meth:`abyme.sandbox.base.Repl.run` raises for the data and the journal.
        """
        results: list[CellResult] = []
        restored: WorkerRestored | None = None
        first, live = self._cell + 1, False
        for code in codes:
            self._cell += 1
            result = self._conversation.result(self._cell, code)
            if result is None:
                if not live:
                    live, restored = True, await self._prepare()
                result = await self._run(turn, code)
                if result.ended == "died":
                    restored = await self._replace(_message(result))
            results.append(result)
            if not result.ok:
                break
        if live:
            self._checkpoints.thinking(self._worker.repl, self._cell)
        return CellsRun(tuple(results), first, restored)

    @property
    def cells(self) -> int:
        """How many there were so far."""
        return self._cell

    @property
    def variables(self) -> tuple[Variable, ...]:
        """What the cells so far left, as they told of it, what changed last at the end."""
        latest: dict[str, Variable] = {}
        for cell in self._past:
            for variable in () if cell.result is None else cell.result.variables:
                latest.pop(variable.name, None)
                latest[variable.name] = variable
        return tuple(latest.values())

    async def caught_up(self) -> None:
        """Wait until the worker has all that earlier cells made; at once where there are none.

        Raises :class:`Differs`, and :class:`SandboxError` where no worker can be had: no model is
        asked for what could not go on.
        """
        if self._resumes:
            await self._ready()

    def converse(self, conversation: Conversation, earlier: Sequence[Exchange]) -> None:
        """A question begins that follows ``earlier`` ones."""
        self._conversation = conversation
        self._worker.converse(earlier)

    def jobs(self) -> list[JobStatus]:
        """What there is to tell of jobs that cells have begun."""
        return self._router.jobs()

    @property
    def closed_jobs(self) -> list[JobStatus]:
        """The jobs that were under way when the last question had been dealt with."""
        return self._router.closed_jobs

    async def rest(self) -> None:
        """The question has been dealt with: give up what may still be under way."""
        await to_the_end(self._rest())

    async def abandon(self) -> None:
        """Nobody waits for this node any more: its worker is ended, before all else is given up."""
        await to_the_end(self._worker.close())

    async def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        await self._worker.close()
        await self._checkpoints.close()

    async def _rest(self) -> None:
        await self._router.end_calls()
        await self._checkpoints.settle()

    async def forget_checkpoint(self) -> None:
        """The run has its answer: nothing is expected to be restored any more."""
        await self._checkpoints.forget()

    async def unless_refused(self, work: Coroutine[object, object, Made]) -> Made:
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
        await self.caught_up()
        await self._checkpoints.settle()
        return await self._worker.look(name)

    async def _ready(self) -> None:
        assert self._opening is not None
        await asyncio.shield(self._opening)

    async def _begin(self) -> None:
        """The first worker; where the run goes on, with all that was there before."""
        if not self._resumes:
            await self._worker.open()
            return
        restored = await self._restore()
        if restored.differing and not self._accept_different:
            raise Differs(restored.differing)
        self._worker.caught_up()
        if restored.lost or restored.differing:
            self._untold = restored

    async def _prepare(self) -> WorkerRestored | None:
        """Have a worker for a cell; what came back where it had to be made anew."""
        await self._checkpoints.settle()
        await self._ready()
        restored, self._untold = self._untold, None
        if not self._worker.repl.alive:
            return await self._replace("it ended while no cell was running")
        return restored

    async def _run(self, turn: int, code: str) -> CellResult:
        """Run a cell that has not ended yet, and tell of it.

        One that its run was killed in runs again with its own clock, and what it was answered then
        is not asked again.
        """
        number = self._cell
        before = self._conversation.cut_off(number)
        clock = time.time() if before is None else before.clock
        cell = Cell(number, turn, code, clock, self._conversation.number)
        self._emit(CellStarted(self._node, turn, number, code, clock))
        if before is None:
            result = await self._worker.run(cell)
        else:
            outcomes = await in_thread(self._recorded)
            result = await self._worker.run_again(cell, outcomes, whole=False)
        self._emit(CellEnded(self._node, turn, number, result))
        self._past.append(msgspec.structs.replace(cell, result=result))
        self._checkpoints.ran(result.cpu_seconds)
        return result

    async def _replace(self, why: str) -> WorkerRestored:
        self._emit(WorkerEnded(self._node, why))
        restored = await self._restore()
        self._worker.caught_up()
        return restored

    async def _restore(self) -> WorkerRestored:
        """A fresh worker with what earlier cells made; those that did not come back are gone."""
        restored = await self._worker.restore(self._past, await in_thread(self._recorded))
        there = {*restored.cells, *restored.saved}
        self._past = [
            cell if cell.cell in there else msgspec.structs.replace(cell, result=GONE)
            for cell in self._past
        ]
        return restored


def _message(result: CellResult) -> str:
    return "it ended" if result.error is None else result.error.message
