"""What code asks for, answered: one table of typed handlers, every call with a key and an event."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from abyme.context.handing import Handing
from abyme.errors import CallFailed
from abyme.events import Emit, OutputAdded
from abyme.ledger import Account
from abyme.models.base import Model
from abyme.models.caller import Caller
from abyme.subcalls.book import Asker, CallBook, CellCalls
from abyme.subcalls.children import Children, Spawn
from abyme.subcalls.host_calls import HostCalls
from abyme.subcalls.plain import PlainCalls
from abyme.subcalls.requests import (
    Asked,
    Budget,
    LlmQuery,
    LlmQueryBatched,
    RlmQuery,
    RlmQueryBatched,
    read,
)
from abyme.subcalls.rerun import Rerun
from abyme.subcalls.tools import Tool

CHILDREN = 64
"""Children of one call that work at the same time."""
_OVER = "the question has been answered: no call is made any more"


class Router:
    """The host of one node's REPL (:class:`abyme.sandbox.base.Host`).

    ``models``: the names that code may ask for, with the sub-model under None. ``spawn``: lets
    children work; None at the depth limit, where questions for a child are plain calls.
    """

    def __init__(
        self,
        node: str,
        caller: Caller,
        account: Account,
        models: Mapping[str | None, Model],
        tools: Mapping[str, Tool],
        emit: Emit,
        listens: bool,
        handing: Handing,
        spawn: Spawn | None = None,
    ) -> None:
        self.listens = listens
        self._handing = handing
        self._emit = emit
        self._account = account
        self._book = CallBook(node)
        self._plain = PlainCalls(self._book, caller, account, models, emit)
        self._host = HostCalls(self._book, tools, emit)
        self._children = None if spawn is None else Children(self._book, spawn, emit, CHILDREN)
        self._calling: set[asyncio.Task[Any]] = set()
        self._over = False

    # -- the node's cells ----------------------------------------------------------------------

    def run_again(self, rerun: Rerun | None) -> None:
        """There is a fresh worker; ``rerun``: with what its calls are given from the record."""
        self._book.rerun = rerun

    def start_cell(self, cell: int) -> None:
        """A cell begins, perhaps again."""
        self._book.start_cell(cell)
        self._over = False

    def calls_of(self, cell: int) -> CellCalls:
        """The sub-calls that ``cell`` has made so far."""
        return self._book.of_cell(cell)

    async def end_calls(self) -> None:
        """The question has been dealt with: threads that cells left behind ask no more."""
        self._over = True
        calling = list(self._calling)
        for task in calling:
            task.cancel()
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
        try:
            return await self._answer(Asker(cell, aside), name, arguments)
        except asyncio.CancelledError:
            if self._over:
                task.uncancel()
                raise CallFailed(_OVER) from None
            raise
        finally:
            self._calling.discard(task)

    async def _answer(self, asker: Asker, name: str, arguments: dict[str, Any]) -> Any:
        if name in self._host.tools:
            return await self._host.tool(asker, name, arguments)
        return await self._dispatch(asker, read(name, arguments))

    async def _dispatch(self, asker: Asker, asked: Asked) -> Any:
        match asked:
            case LlmQuery(prompt, model):
                return await self._plain.one(asker, "llm_query", prompt, model)
            case LlmQueryBatched(prompts, model):
                return await self._plain.batch(asker, "llm_query", prompts, model)
            case RlmQuery():
                if self._children is not None:
                    return await self._children.one(asker, asked)
                prompt = await self._plain_prompt(asked)
                return await self._plain.one(asker, "rlm_query", prompt, asked.model)
            case RlmQueryBatched(wanted):
                if self._children is not None:
                    return await self._children.batch(asker, wanted)
                prompts = [await self._plain_prompt(each) for each in wanted]
                model = wanted[0].model if wanted else None
                return await self._plain.batch(asker, "rlm_query", prompts, model)
            case Budget():
                return await self._host.make(asker, "budget", {}, self._read_budget)

    async def _plain_prompt(self, asked: RlmQuery) -> str:
        return plain_prompt(asked.question, await self._handing.text(asked.context))

    async def _read_budget(self) -> Any:
        return self._account.snapshot()


def plain_prompt(question: str, context: str) -> str:
    """What a plain model is asked where code asked for a child: the context, then the question."""
    return question if not context else f"{context}\n\n---\n\n{question}"
