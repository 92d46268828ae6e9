"""What code asks for, answered: one table of typed handlers, every call with a key and an event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from abyme.errors import AbymeError, BudgetExceeded, CallFailed, DataError, JournalError
from abyme.events import (
    CallKind,
    CallRefused,
    CallsAsked,
    Emit,
    HostAnswered,
    HostCalled,
    OutputAdded,
)
from abyme.inside.hits import cut_end
from abyme.journal.replay import NOT_MADE, Outcome, Record
from abyme.ledger import Account
from abyme.models.base import Model, Request
from abyme.models.caller import Caller
from abyme.sandbox.frames import characters
from abyme.subcalls.keys import Keys
from abyme.subcalls.tools import Tool
from abyme.types import FailedCall, Message

MAX_BATCH = 100_000
MAX_HOST_CALLS = 10_000
"""Calls of a cell that no limit of the run counts; each is two events in the journal."""
MAX_TOOLS_AT_ONCE = 64
MAX_TOLD = 256_000_000
"""Characters of the arguments of a node's tools, all of which the journal keeps."""
_OVER = "the question has been answered: no call is made any more"
_FAILED_KEPT = 1_000
_FATAL = (JournalError, DataError)
"""What ends the run rather than one item of a batch."""


class LlmQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prompt: str
    model: str | None = None


class LlmQueryBatched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prompts: list[str]
    model: str | None = None


class RlmQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    question: str
    context: str | None = None
    model: str | None = None


class RlmQueryBatched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    questions: list[str]
    contexts: list[str | None]
    model: str | None = None


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class CellCalls(msgspec.Struct):
    """Sub-calls of one cell: how many, and those that failed."""

    made: int = 0
    asked: int = 0
    """Calls of tools and ``budget``."""
    failed: list[FailedCall] = msgspec.field(default_factory=list)


class Router:
    """The host of one node's REPL (:class:`abyme.sandbox.base.Host`).

    ``models``: the names that code may ask for, with the sub-model under None.
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
    ) -> None:
        self.listens = listens
        self._node = node
        self._caller = caller
        self._account = account
        self._models = models
        self._tools = tools
        self._emit = emit
        self._width = account.limits.most_at_once
        self._tools_at_once = asyncio.Semaphore(min(self._width, MAX_TOOLS_AT_ONCE))
        self._keys = Keys(node)
        self._told = 0
        self._record: Record | None = None
        self._calling: set[asyncio.Task[Any]] = set()
        self._over = False
        self._cells: dict[int, CellCalls] = {}
        self._handlers: dict[str, tuple[Any, Callable[[int, Any], Awaitable[Any]]]] = {
            "llm_query": (LlmQuery, self._llm_query),
            "llm_query_batched": (LlmQueryBatched, self._llm_query_batched),
            "rlm_query": (RlmQuery, self._rlm_query),
            "rlm_query_batched": (RlmQueryBatched, self._rlm_query_batched),
            "budget": (Budget, self._budget),
        }

    def start_cell(self, cell: int, record: Record | None = None) -> None:
        """A cell begins. With ``record`` it is re-run: nothing that it has is asked again."""
        self._keys.start_cell(cell)
        self._record = record
        self._cells[cell] = CellCalls()
        self._over = False

    def caught_up(self) -> None:
        """Cells have been re-run for what they made. Threads that they left behind may go on.

        What these ask is answered from the record where that has it, and else is asked.
        """
        if self._record is not None:
            self._record = Record(self._record.outcomes, whole=False)

    async def end_calls(self) -> None:
        """The question has been dealt with: threads that cells left behind ask no more."""
        self._over = True
        calling = list(self._calling)
        for task in calling:
            task.cancel()
        if calling:
            await asyncio.wait(calling)

    def calls_of(self, cell: int) -> CellCalls:
        """The sub-calls that ``cell`` has made so far."""
        return self._cells.get(cell) or CellCalls()

    def output(self, cell: int, text: str) -> None:
        """See :class:`abyme.sandbox.base.Host`; a re-run cell's output has been seen already."""
        if self._record is None or not self._record.whole:
            self._emit(OutputAdded(self._node, cell, text))

    async def call(self, cell: int, name: str, arguments: dict[str, Any]) -> Any:
        """See :class:`abyme.sandbox.base.Host`."""
        if self._over:
            raise CallFailed(_OVER)
        task = asyncio.current_task()
        assert task is not None
        self._calling.add(task)
        try:
            return await self._answer(cell, name, arguments)
        except asyncio.CancelledError:
            if self._over:
                task.uncancel()
                raise CallFailed(_OVER) from None
            raise
        finally:
            self._calling.discard(task)

    async def _answer(self, cell: int, name: str, arguments: dict[str, Any]) -> Any:
        if name in self._tools:
            return await self._tool(cell, name, arguments)
        if name not in self._handlers:
            raise CallFailed(f"the host has no function {name[:60]!r}")
        kind, handler = self._handlers[name]
        try:
            asked = msgspec.convert(arguments, kind)
        except ValueError as error:  # msgspec's, and a lone surrogate in a name
            raise CallFailed(f"{name}: {error}", "TypeError") from None
        return await handler(cell, asked)

    # -- the handlers --------------------------------------------------------------------------

    async def _llm_query(self, cell: int, asked: LlmQuery) -> str:
        return await self._one(cell, "llm_query", asked.prompt, asked.model)

    async def _llm_query_batched(self, cell: int, asked: LlmQueryBatched) -> list[Any]:
        return await self._batch(cell, "llm_query", asked.prompts, asked.model)

    async def _rlm_query(self, cell: int, asked: RlmQuery) -> str:
        return await self._one(
            cell, "rlm_query", plain_prompt(asked.question, asked.context), asked.model
        )

    async def _rlm_query_batched(self, cell: int, asked: RlmQueryBatched) -> list[Any]:
        pairs = zip(asked.questions, asked.contexts, strict=True)
        prompts = [plain_prompt(question, context) for question, context in pairs]
        return await self._batch(cell, "rlm_query", prompts, asked.model)

    async def _budget(self, cell: int, asked: Budget) -> Any:
        async def read() -> Any:
            return self._account.snapshot()

        return await self._host_call(cell, "budget", {}, read)

    async def _tool(self, cell: int, name: str, arguments: dict[str, Any]) -> Any:
        tool = self._tools[name]
        return await self._host_call(cell, name, arguments, lambda: tool.call(arguments))

    # -- how a call is made --------------------------------------------------------------------

    async def _batch(
        self, cell: int, kind: CallKind, prompts: list[str], model: str | None
    ) -> list[Any]:
        """All at once, answers in order; what failed is an item, what ends the run is raised."""
        if len(prompts) > MAX_BATCH:
            raise CallFailed(f"a batch has at most {MAX_BATCH:,} prompts, not {len(prompts):,}")
        whole = self._keys.next(cell, f"{kind}_batched", {"prompts": prompts, "model": model})
        keys = [self._leaf_key(cell, kind, prompt, model) for prompt in prompts]
        missing = sum(self._on_record(key) is None for key in keys)
        self._refuse_too_many(cell, kind, whole, missing)
        self._asked(cell, missing)
        items: list[Any] = [None] * len(prompts)
        waiting = iter(enumerate(zip(keys, prompts, strict=True)))
        refused: list[AbymeError] = []

        async def work() -> None:
            for index, (key, prompt) in waiting:
                try:
                    if refused and self._on_record(key) in (None, NOT_MADE):
                        raise refused[0]  # the money is gone: the rest need not ask one by one
                    said = await self._leaf(cell, kind, key, prompt, model, index)
                    items[index] = {"value": said}
                except _FATAL:
                    raise
                except AbymeError as error:
                    if error.kind == BudgetExceeded.__name__:
                        refused.append(error)
                    items[index] = {"error": {"type": error.kind, "message": error.for_code}}

        # As many at once as may be in flight: a task for each of 100,000 would stall the engine.
        workers = [asyncio.create_task(work()) for _ in range(min(self._width, len(prompts)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return items

    def _refuse_too_many(self, cell: int, kind: CallKind, key: str, prompts: int) -> None:
        """Raise where the batch has more ``prompts`` to be sent than calls are left, or had once.

        The calls that are left are worth more than the first few answers of such a batch.
        """
        if self._record is not None and self._record.whole:
            if (refused := self._record.outcomes.of(key)) is not None:
                replayed(refused)
            return
        left = self._account.snapshot()["calls"]["left"]
        if left is None or prompts <= left:
            return
        why = (
            f"{prompts:,} prompts, but only {left:,} calls are left: none was sent; put more "
            "items into a prompt"
        )
        self._emit(CallRefused(key, self._node, cell, kind, why, "BudgetExceeded"))
        raise CallFailed(why, "BudgetExceeded")

    def _leaf_key(self, cell: int, kind: CallKind, prompt: str, model: str | None) -> str:
        return self._keys.next(cell, kind, {"prompt": prompt, "model": model})

    def _on_record(self, key: str) -> Outcome | None:
        return None if self._record is None else self._record.outcome(key)

    async def _one(self, cell: int, kind: CallKind, prompt: str, model: str | None) -> str:
        """A call by itself."""
        key = self._leaf_key(cell, kind, prompt, model)
        self._asked(cell, int(self._on_record(key) is None))
        return await self._leaf(cell, kind, key, prompt, model)

    async def _leaf(
        self,
        cell: int,
        kind: CallKind,
        key: str,
        prompt: str,
        model: str | None,
        index: int | None = None,
    ) -> str:
        """One plain model call; ``index`` is its place in a batch."""
        calls = self._cells.setdefault(cell, CellCalls())
        calls.made += 1
        try:
            asked = self._model(model)
            if (recorded := self._on_record(key)) is not None:
                return str(replayed(recorded)).strip()
            request = Request((Message("user", prompt),), purpose="sub")
            reply = await self._caller.call(
                asked,
                request,
                key=key,
                node=self._node,
                cell=cell,
                kind=kind,
                prompt=prompt,
            )
            return reply.text.strip()  # code compares replies; models end them with newlines
        except AbymeError as error:
            if len(calls.failed) < _FAILED_KEPT:
                calls.failed.append(FailedCall(cut_end(error.for_code, 500), index))
            raise

    def _asked(self, cell: int, count: int) -> None:
        if count:
            self._emit(CallsAsked(self._node, cell, count))

    def _model(self, name: str | None) -> Model:
        try:
            return self._models[name]
        except KeyError:
            known = ", ".join(sorted(known for known in self._models if known))
            asked = cut_end(name or "", 60)
            raise CallFailed(f"model {asked!r} is not offered here; there is {known}") from None

    async def _host_call(
        self, cell: int, name: str, arguments: dict[str, Any], run: Callable[[], Awaitable[Any]]
    ) -> Any:
        """A call that is no model's: journalled around it, or answered from the journal."""
        key = self._keys.next(cell, name, arguments)
        calls = self._cells.setdefault(cell, CellCalls())
        calls.asked += 1
        if calls.asked > MAX_HOST_CALLS:
            raise CallFailed(f"more than {MAX_HOST_CALLS:,} calls of tools and budget() in a cell")
        if (recorded := self._on_record(key)) is not None:
            return replayed(recorded)
        self._told += characters(arguments)
        if self._told > MAX_TOLD:
            raise CallFailed(f"tools were given over {MAX_TOLD:,} characters, all told")
        self._emit(HostCalled(key, self._node, cell, name, arguments))
        started = time.monotonic()
        try:
            async with self._tools_at_once:
                value = await run()
        except CallFailed as error:
            self._emit(
                HostAnswered(
                    key,
                    error=str(error),
                    error_type=error.kind,
                    seconds=time.monotonic() - started,
                )
            )
            raise
        self._emit(HostAnswered(key, value, seconds=time.monotonic() - started))
        return value


def replayed(outcome: Outcome) -> Any:
    """The recorded value of a call, or its recorded error raised again."""
    if outcome.error:
        raise CallFailed(outcome.error, outcome.error_type)
    return outcome.value


def plain_prompt(question: str, context: str | None) -> str:
    """What a plain model is asked where code asked for a child: the context, then the question."""
    return question if not context else f"{context}\n\n---\n\n{question}"
