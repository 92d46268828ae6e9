"""What code asks for, answered: one table of typed handlers, every call with a key and an event."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from abyme.context.handing import Handing
from abyme.errors import CallFailed
from abyme.events import CallGivenUp, CallKind, Emit, OutputAdded
from abyme.inside.schema import Schema
from abyme.ledger import Account
from abyme.models.base import Model
from abyme.models.caller import Caller
from abyme.sandbox.base import GAVE_UP
from abyme.subcalls.batches import Ask, Crew
from abyme.subcalls.book import Asker, CallBook, CellCalls, Identified
from abyme.subcalls.caching import CallCache
from abyme.subcalls.children import Children, Spawn
from abyme.subcalls.host_calls import HostCalls
from abyme.subcalls.jobs import Begin, Jobs
from abyme.subcalls.keys import Request
from abyme.subcalls.plain import PlainCalls, Question, check_size
from abyme.subcalls.requests import (
    Asked,
    Budget,
    JobCancel,
    JobWait,
    LlmQuery,
    LlmQueryBatched,
    LlmStart,
    RlmQuery,
    RlmQueryBatched,
    RlmStart,
    read,
)
from abyme.subcalls.rerun import Rerun
from abyme.subcalls.room import Room
from abyme.subcalls.tools import Tool
from abyme.subcalls.typed import read_schema
from abyme.types import JobStatus

_OVER = "the question has been answered: no call is made any more"


class Router:
    """The host of one node's REPL (:class:`abyme.sandbox.base.Host`).

    ``models``: the names that code may ask for, with the sub-model under None. ``spawn``: lets
    children work; None at the depth limit, where questions for a child are plain calls.
    """

    def __init__(
        self,
        node: str,
        *,
        caller: Caller,
        account: Account,
        models: Mapping[str | None, Model],
        tools: Mapping[str, Tool],
        emit: Emit,
        listens: bool,
        handing: Handing,
        spawn: Spawn | None,
        cache: CallCache | None,
    ) -> None:
        self.listens = listens
        self._handing = handing
        self._emit = emit
        self._account = account
        crew = Crew(account.limits.most_at_once)
        self._book = book = CallBook(node)
        self._room = room = Room(book, account, emit)
        self._plain = PlainCalls(book, room, caller, models, emit, crew=crew, cache=cache)
        self._host = HostCalls(book, tools, emit)
        self._children = None if spawn is None else Children(book, room, spawn)
        self._jobs = Jobs(book, self._host, crew)
        self._calling: set[asyncio.Task[Any]] = set()
        self._over = False
        self.closed_jobs: list[JobStatus] = []
        """Those that were under way when the last question had been dealt with."""

    # -- the node's cells ----------------------------------------------------------------------

    def run_again(self, rerun: Rerun | None) -> None:
        """There is a fresh worker; ``rerun``: with what its calls are given from the record."""
        self._book.rerun = rerun
        self._jobs.run_again()

    def start_cell(self, cell: int) -> None:
        """A cell begins, perhaps again."""
        self._book.start_cell(cell)
        self._over = False
        self.closed_jobs = []

    def calls_of(self, cell: int) -> CellCalls:
        """The sub-calls that ``cell`` has made so far."""
        return self._book.of_cell(cell)

    def jobs(self) -> list[JobStatus]:
        """What there is to tell of jobs: those that go on, and those fetched since then."""
        return self._jobs.statuses()

    async def end_calls(self) -> None:
        """The question has been dealt with: threads that cells left behind ask no more.

        Jobs that are not over are closed.
        """
        self._over = True
        calling = list(self._calling)
        for task in calling:
            task.cancel()
        self.closed_jobs += await self._jobs.close()
        if calling:
            await asyncio.wait(calling)

    # -- what the worker asks ------------------------------------------------------------------

    def output(self, cell: int, text: str) -> None:
        """See :class:`abyme.sandbox.base.Host`; a re-run cell's output has been seen already."""
        rerun = self._book.rerun
        if rerun is None or not rerun.whole:
            self._emit(OutputAdded(self._book.node, cell, text))

    async def call(
        self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
    ) -> Any:
        """See :class:`abyme.sandbox.base.Host`."""
        if self._over:
            raise CallFailed(_OVER)
        task = asyncio.current_task()
        assert task is not None
        self._calling.add(task)
        asker = Asker(cell, aside)
        try:
            return await self._answer(asker, name, arguments)
        except asyncio.CancelledError as error:
            if self._over:
                task.uncancel()
                raise CallFailed(_OVER) from None
            if error.args == (GAVE_UP,) and asker.keys:
                self._emit(CallGivenUp(asker.keys[0]))
            raise
        finally:
            self._calling.discard(task)

    async def _answer(self, asker: Asker, name: str, arguments: dict[str, Any]) -> Any:
        if name in self._host.tools:
            return await self._host.tool(asker, name, arguments)
        return await self._dispatch(asker, read(name, arguments))

    async def _dispatch(self, asker: Asker, asked: Asked) -> Any:
        match asked:
            case LlmQuery(prompt, model, shape):
                question = Question("llm_query", prompt, model, read_schema(shape))
                return await self._plain.one(asker, question)
            case LlmQueryBatched(prompts, model, shape):
                questions = _questions("llm_query", prompts, model, read_schema(shape))
                return await self._plain.batch(asker, questions)
            case LlmStart():
                return await self._start(asker, asked)
            case JobWait(job, after, wait, seconds):
                return await self._jobs.look(asker, job, after, wait, seconds)
            case JobCancel(job, after):
                return await self._jobs.cancel(asker, job, after)
            case RlmQuery():
                if self._children is not None:
                    return await self._children.one(asker, asked)
                return await self._plain.one(asker, await self._plainly(asked))
            case RlmQueryBatched(wanted):
                if self._children is not None:
                    return await self._children.batch(asker, wanted)
                return await self._plain.batch(asker, [await self._plainly(w) for w in wanted])
            case RlmStart(wanted):
                return await self._start_children(asker, wanted)
            case Budget():
                return await self._host.make(asker, "budget", {}, self._read_budget)

    async def _start(self, asker: Asker, asked: LlmStart) -> int:
        """A job of plain calls."""
        prompts, model, schema = asked.prompts, asked.model, read_schema(asked.schema)
        check_size(len(prompts))
        options = {"model": model} if schema is None else {"model": model, "schema": schema.text}

        def make(number: int) -> tuple[list[Request], Ask]:
            questions = [
                Question("llm_query", prompt, model, schema, (number, index))
                for index, prompt in enumerate(prompts)
            ]
            return self._of_job(asker, questions)

        def refuse() -> None:
            self._room.check(len(prompts))
            self._room.tell(asker.cell, len(prompts))

        begin = Begin("llm_start", {"prompts": prompts, **options}, make, refuse)
        told, size = {"prompts": len(prompts), **options}, sum(map(len, prompts))
        return await self._jobs.start(asker, begin, told, size)

    async def _start_children(self, asker: Asker, wanted: list[RlmQuery]) -> int:
        """A job of children; at the depth limit of plain calls."""
        check_size(len(wanted))
        for each in wanted:
            read_schema(each.schema)
        children = self._children
        plainly = [] if children is not None else [await self._plainly(w) for w in wanted]

        def make(number: int) -> tuple[list[Request], Ask]:
            if children is not None:
                return children.of_job(number, wanted)
            return self._of_job(asker, [replace(q, job=(number, i)) for i, q in enumerate(plainly)])

        def refuse() -> None:
            self._room.check(len(wanted), children=children is not None)
            self._room.tell(asker.cell, len(wanted), children=children is not None)

        requests = [each.request for each in wanted]
        begin = Begin("rlm_start", {"wanted": requests}, make, refuse)
        size = sum(each.size for each in wanted)
        return await self._jobs.start(asker, begin, {"children": len(wanted)}, size)

    def _of_job(self, asker: Asker, questions: list[Question]) -> tuple[list[Request], Ask]:
        async def ask(call: Identified, index: int) -> Any:
            return await self._plain.answer(asker, call, questions[index])

        return [(question.kind, question.request) for question in questions], ask

    async def _plainly(self, asked: RlmQuery) -> Question:
        """What a plain model is asked in the place of a child."""
        prompt = plain_prompt(asked.question, await self._handing.text(asked.context))
        return Question("rlm_query", prompt, asked.model, read_schema(asked.schema))

    async def _read_budget(self) -> Any:
        return self._account.snapshot()


def plain_prompt(question: str, context: str) -> str:
    """What a plain model is asked where code asked for a child: the context, then the question."""
    return question if not context else f"{context}\n\n---\n\n{question}"


def _questions(
    kind: CallKind, prompts: list[str], model: str | None, schema: Schema | None
) -> list[Question]:
    return [Question(kind, prompt, model, schema) for prompt in prompts]
