"""Doing a run again, offline: every cell runs, every call is answered from the journal.

No model is asked and nothing is written. What comes out is held against what the journal says, and
the first difference ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from abyme.checkpoints import Checkpoints
from abyme.config import Limits
from abyme.context.documents import Document, shown
from abyme.context.handing import Documents, Handing
from abyme.context.recall import DATA, recall, recall_made
from abyme.dialects.messages import Fenced
from abyme.errors import CallFailed, ConfigError, DataError, JournalError
from abyme.events import (
    ROOT,
    CallEnded,
    CellEnded,
    CellStarted,
    Event,
    HostAnswered,
    HostCalled,
    NodeEnded,
    QuestionAsked,
    RunEnded,
    WorkerRestored,
)
from abyme.examination import Examination
from abyme.journal.blobs import Blobs
from abyme.journal.conversation import Cell
from abyme.journal.format import CHECKPOINTS
from abyme.journal.node_tape import NodeTape
from abyme.journal.reader import Record as Line
from abyme.journal.reader import read
from abyme.journal.tape import Tape
from abyme.ledger import Account
from abyme.models.base import Model
from abyme.models.caller import Caller
from abyme.models.scheduler import Scheduler
from abyme.models.scripted import Scripted
from abyme.node_worker import NodeWorker, Place, is_repeatable, place
from abyme.sandbox.base import Function, Workers
from abyme.spec import ReplaySpec
from abyme.subcalls.children import Birth
from abyme.subcalls.router import Router
from abyme.subcalls.tools import absent_tool
from abyme.threads import in_thread
from abyme.types import Answer, CellResult, Finish, Quote

_COMPARED = (
    "ended", "output", "output_chars", "error", "variables", "finish", "draft", "calls",
    "failed_calls", "notes",
)  # fmt: skip
"""Of a cell's result: all but times and memory."""


class Difference(msgspec.Struct, frozen=True):
    """The first thing that was not the same. ``what``: of a cell a field of its result."""

    turn: int
    cell: int
    """0 where it is none of a cell's."""
    what: str
    before: Any
    now: Any
    node: str = ROOT
    """The node that did otherwise: the root, or the id of a child."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay came to, over all nodes.

    ``skipped``: cells that were stopped or died, and are not repeated; a child's as ``0.1/2``.
    """

    run: str
    difference: Difference | None
    turns: int
    cells: int
    """That were run again."""
    calls: int
    """That were answered from the journal."""
    skipped: tuple[int | str, ...] = ()
    nodes: int = 1
    """That were done again: the root and its children."""

    @property
    def identical(self) -> bool:
        """Whether all that was done again came out the same."""
        return self.difference is None


class _Differs(Exception):
    def __init__(self, difference: Difference) -> None:
        super().__init__(difference.what)
        self.difference = difference


async def replay(spec: ReplaySpec) -> Replayed:
    """Do the run of ``spec`` again.

    Raises :class:`JournalError` where its journal cannot be read, or was kept without its texts,
    :class:`~abyme.errors.DataChanged` where its data is not what it was, and
    :class:`~abyme.errors.SandboxError`.
    """
    lines, whole, documents = await in_thread(_read, spec)
    done: list[_Replaying] = []
    difference = None
    async with spec.sandbox.workers() as workers:
        for node, events in _by_node(lines).items():
            replaying = _Replaying(spec, whole, documents, node)
            done.append(replaying)
            try:
                await replaying.go_through(events, workers)
            except _Differs as differs:
                difference = differs.difference
                break
            finally:
                await replaying.close()
    return Replayed(
        run=whole.run,
        difference=difference,
        turns=sum(each.turn for each in done),
        cells=sum(each.cells for each in done),
        calls=sum(each.calls for each in done),
        skipped=tuple(cell for each in done for cell in each.skipped),
        nodes=len(done),
    )


def _by_node(lines: Sequence[Line]) -> dict[str, list[Event]]:
    """What befell each node, in the order in which they began; the root has the run's events."""
    nodes: dict[str, list[Event]] = {ROOT: []}
    for line in lines:
        event = line.event
        node = getattr(event, "node", "")
        if isinstance(event, CallEnded | HostAnswered):
            node = event.key.partition("/")[0]
        nodes.setdefault(node or ROOT, []).append(event)
    return nodes


def _read(spec: ReplaySpec) -> tuple[list[Line], Tape, Documents]:
    lines = list(read(spec.folder))
    whole = Tape(lines)
    if whole.started is None or whole.terms is None:
        raise JournalError(f"{spec.folder} has nothing to replay")
    if whole.started.redacted:
        raise JournalError("this run was kept without its texts (--redact): it cannot be replayed")
    if whole.data is None:
        raise DataError("this run was left while its data was being loaded: nothing to replay")
    _check_paths(spec, whole)
    data, _ = recall(
        whole.data,
        whole.documents,
        whole.hashes,
        spec.folder,
        accept_changed=spec.accept_changed,
    )
    made = recall_made(whole.data, whole.documents, spec.folder)
    return lines, whole, Documents(data, made, spec.folder / DATA, _unkept)


def _check_paths(spec: ReplaySpec, whole: Tape) -> None:
    """Somebody else's journal names no file of this machine whose text a difference would show."""
    if spec.folder.resolve().parent == spec.runs.resolve():
        return
    paths = [document.path for document in whole.documents.values() if not document.owned]
    if paths:
        raise ConfigError(
            f"{spec.folder} is not in the folder of runs, {spec.runs}, and its journal names files "
            f"of this machine ({shown(paths[0])}): where you trust it, name the folder that it is "
            "in with --runs"
        )


class _Replaying:
    """One node that is replayed: how far it has come, and the worker that it has."""

    def __init__(self, spec: ReplaySpec, whole: Tape, documents: Documents, node: str) -> None:
        self._spec = spec
        self._whole = whole
        self._node = node
        started = whole.nodes[node].started
        self._seed = 0 if started is None else started.seed
        given = None if started is None else started.given
        data = documents.root if given is None else documents.of(given)
        self._handing = Handing(documents, data)
        self._data = data.data
        self._dialect = Fenced()
        self._tape = NodeTape(node)
        self._answer: Answer | None = None
        self._worker: NodeWorker | None = None
        self._done: dict[int, Cell] = {}
        self._codes: tuple[str, ...] = ()
        self._reply = ""
        self._finish: Finish | None = None
        self.turn = 0
        self.cells = 0
        self.calls = 0
        self.skipped: list[int | str] = []

    async def go_through(self, events: Sequence[Event], workers: Workers) -> None:
        """Take every event in turn. Raises ``_Differs``."""
        self._worker = worker = self._worker_in(workers, events)
        await worker.open()
        for event in events:
            self._tape.take(event)
            await self._take(event, worker)

    async def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            await self._worker.close()

    def _parameters(self, tool: str, events: Sequence[Event]) -> tuple[str, ...]:
        """How a tool's parameters are called; by its calls, where format 1 does not say."""
        assert self._whole.terms is not None
        if tool in self._whole.terms.parameters:
            return self._whole.terms.parameters[tool]
        called = (event for event in events if isinstance(event, HostCalled))
        return tuple(
            dict.fromkeys(n for call in called if call.name == tool for n in call.arguments)
        )

    def _worker_in(self, workers: Workers, events: Sequence[Event]) -> NodeWorker:
        terms = self._whole.terms
        assert terms is not None
        limits = msgspec.convert(terms.limits, Limits)
        account = Account(limits)
        nobody = Scripted([])  # is never asked: every call of a cell is on record, or refused
        caller = Caller(account, Scheduler(), _nowhere, limits)
        named = (None, terms.sub_model, terms.model, *terms.child_models)
        models: dict[str | None, Model] = dict.fromkeys(named, nobody)
        tools = {name: absent_tool(name) for name in terms.tools}
        started = self._whole.nodes[self._node].started
        depth = 0 if started is None else started.depth
        spawn = _nobody if depth + 1 < limits.max_depth else None
        router = Router(
            self._node,
            caller=caller,
            account=account,
            models=models,
            tools=tools,
            emit=_nowhere,
            listens=False,
            handing=self._handing,
            spawn=spawn,
            cache=None,
        )
        functions = tuple(Function(name, self._parameters(name, events)) for name in terms.tools)
        place = Place(
            self._spec.sandbox.name,
            workers,
            self._data,
            functions,
            self._seed,
            limits.cell_seconds,
        )
        blobs = Blobs(self._spec.folder, CHECKPOINTS)
        checkpoints = Checkpoints(self._node, blobs, _nowhere)
        return NodeWorker(self._node, place, router, checkpoints, _nowhere)

    async def _take(self, event: Event, worker: NodeWorker) -> None:
        match event:
            case CallEnded() if event.key.startswith(f"{self._node}/turn") and not event.error:
                self._codes = self._dialect.cells(event.text, cut=event.cut)
                self._reply, self._finish = event.text, None
                self.turn += 1
            case CallEnded():
                self.calls += event.key.count("/") == 3
            case CellStarted():
                self._check_code(event)
            case CellEnded():
                await self._run_again(event, worker)
            case WorkerRestored():
                await self._restore(event, worker)
            case QuestionAsked():
                self._tape.asked(event, self._answer)
                worker.converse(self._tape.earlier)
            case RunEnded():
                self._answer = event.answer
                if event.answer.status == "complete":
                    await self._check_answer(event.answer, worker)
            case NodeEnded() if event.status == "complete":
                finish = await self._handed_over(worker)
                now = "" if finish is None else finish.text
                if now != event.text:
                    raise self._differs(self.turn, 0, "answer", event.text, now)
            case _:
                pass

    def _differs(self, turn: int, cell: int, what: str, before: Any, now: Any) -> _Differs:
        return _Differs(Difference(turn, cell, what, before, now, self._node))

    def _check_code(self, event: CellStarted) -> None:
        if event.code not in self._codes:
            now = "\n\n".join(self._codes)
            raise self._differs(event.turn, event.cell, "code", event.code, now)

    async def _run_again(self, event: CellEnded, worker: NodeWorker) -> None:
        cell = self._tape.cells[event.cell]
        if not is_repeatable(cell):
            is_root = self._node == ROOT
            self.skipped.append(cell.cell if is_root else f"{self._node}/{cell.cell}")
            return
        self.cells += 1
        now = await self._run(cell, worker)
        self._done[cell.cell] = cell
        for name in _COMPARED:
            before, again = getattr(event.result, name), getattr(now, name)
            if name == "failed_calls":  # once told in the order in which they failed
                before, again = sorted(before, key=place), sorted(again, key=place)
            if before != again:
                raise self._differs(event.turn, event.cell, name, before, again)
        if now.finish is not None:
            self._finish = now.finish

    async def _run(self, cell: Cell, worker: NodeWorker) -> CellResult:
        return await worker.run_again(cell, self._whole.outcomes)

    async def _restore(self, event: WorkerRestored, worker: NodeWorker) -> None:
        """Lose what was lost then: a worker that had all of it would do otherwise from now on."""
        came_back = {*event.cells, *event.saved}
        if came_back.issuperset(self._done):
            return
        self._done = {n: cell for n, cell in self._done.items() if n in came_back}
        await worker.open()
        for cell in self._done.values():
            await self._run(cell, worker)

    async def _check_answer(self, answer: Answer, worker: NodeWorker) -> None:
        finish = await self._handed_over(worker)
        now = None if finish is None else (finish.value, finish.text)
        if now != (before := (answer.value, answer.text)):
            raise self._differs(self.turn, 0, "answer", before, now)
        quotes = () if finish is None else await self._proved(finish.quotes)
        if quotes != answer.quotes:
            raise self._differs(self.turn, 0, "quotes", answer.quotes, quotes)

    async def _handed_over(self, worker: NodeWorker) -> Finish | None:
        """The answer as the last reply has it, by its cells or in prose."""
        finish = self._finish
        if finish is None and (said := self._dialect.prose_finish(self._reply)) is not None:
            finish = Finish(said.value, said.text, said.via)
            if said.variable:
                finish = await worker.look(said.variable)
        return finish

    async def _proved(self, quotes: tuple[Quote, ...]) -> tuple[Quote, ...]:
        every = range(len(self._data.documents))
        examination = Examination(self._data, _nowhere, every)
        return await examination.prove(quotes, lambda: False)


async def _nobody(birth: Birth) -> NoReturn:
    """What lets children work: all that there were are on record."""
    raise CallFailed("no child is let to work in a replay")


def _unkept(index: int, document: Document, digest: str) -> NoReturn:
    raise CallFailed("no document is made in a replay")


def _nowhere(event: Event) -> None:
    """Where events of a replay go: all of them are in the journal already."""
