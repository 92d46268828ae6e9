"""Plain model calls that code asks for: one prompt, one reply, by themselves or in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from abyme.errors import AbymeError, BudgetExceeded, CallFailed, DataError, JournalError
from abyme.events import CallKind, CallRefused, CallsAsked, Emit
from abyme.inside.hits import cut_end
from abyme.ledger import Account
from abyme.models.base import Model, Request
from abyme.models.caller import Caller
from abyme.subcalls.book import Asker, CallBook, Identified
from abyme.subcalls.rerun import NOT_MADE
from abyme.types import Message

MAX_BATCH = 100_000
_FATAL = (JournalError, DataError)
"""What ends the run rather than one item of a batch."""


class PlainCalls:
    """Those of one node. ``models``: the names that code may ask for, the sub-model under None."""

    def __init__(
        self,
        book: CallBook,
        caller: Caller,
        account: Account,
        models: Mapping[str | None, Model],
        emit: Emit,
    ) -> None:
        self._book = book
        self._caller = caller
        self._account = account
        self._models = models
        self._emit = emit
        self._width = account.limits.most_at_once

    async def one(self, asker: Asker, kind: CallKind, prompt: str, model: str | None) -> str:
        """A call by itself."""
        (call,) = await self._book.identify(asker, [(kind, _request(prompt, model))])
        self._tell_asked(asker.cell, int(call.is_new))
        return await self._leaf(call, kind, prompt, model)

    async def batch(
        self, asker: Asker, kind: CallKind, prompts: list[str], model: str | None
    ) -> list[Any]:
        """All at once, answers in order; what failed is an item, what ends the run is raised."""
        if len(prompts) > MAX_BATCH:
            raise CallFailed(f"a batch has at most {MAX_BATCH:,} prompts, not {len(prompts):,}")
        requests = [
            (f"{kind}_batched", {"prompts": prompts, "model": model}),
            *((kind, _request(prompt, model)) for prompt in prompts),
        ]
        whole, *calls = await self._book.identify(asker, requests)
        missing = sum(call.is_new for call in calls)
        self._refuse_too_many(whole, kind, missing)
        self._tell_asked(asker.cell, missing)
        items: list[Any] = [None] * len(prompts)
        waiting = iter(enumerate(zip(calls, prompts, strict=True)))
        refused: list[AbymeError] = []

        async def work() -> None:
            for index, (call, prompt) in waiting:
                try:
                    if refused and call.recorded in (None, NOT_MADE):
                        raise refused[0]  # the money is gone: the rest need not ask one by one
                    items[index] = {"value": await self._leaf(call, kind, prompt, model, index)}
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

    def _refuse_too_many(self, whole: Identified, kind: CallKind, prompts: int) -> None:
        """Raise where the batch has more ``prompts`` to be sent than calls are left, or had once.

        The calls that are left are worth more than the first few answers of such a batch.
        """
        if whole.recorded is not None:
            if whole.recorded is not NOT_MADE:
                whole.replayed()
            return
        left = self._account.snapshot()["calls"]["left"]
        if left is None or prompts <= left:
            return
        why = (
            f"{prompts:,} prompts, but only {left:,} calls are left: none was sent; put more "
            "items into a prompt"
        )
        self._emit(CallRefused(whole.key, self._book.node, whole.cell, kind, why, "BudgetExceeded"))
        raise CallFailed(why, "BudgetExceeded")

    async def _leaf(
        self,
        call: Identified,
        kind: CallKind,
        prompt: str,
        model: str | None,
        index: int | None = None,
    ) -> str:
        """One plain model call; ``index`` is its place in a batch."""
        calls = self._book.of_cell(call.cell)
        calls.made += 1
        try:
            asked = self._model(model)
            if not call.is_new:
                return str(call.replayed()).strip()
            reply = await self._caller.call(
                asked,
                Request((Message("user", prompt),), purpose="sub"),
                key=call.key,
                node=self._book.node,
                cell=call.cell,
                kind=kind,
                prompt=prompt,
            )
            return reply.text.strip()  # code compares replies; models end them with newlines
        except AbymeError as error:
            calls.add_failure(error, index)
            raise

    def _tell_asked(self, cell: int, count: int) -> None:
        if count:
            self._emit(CallsAsked(self._book.node, cell, count))

    def _model(self, name: str | None) -> Model:
        try:
            return self._models[name]
        except KeyError:
            known = ", ".join(sorted(known for known in self._models if known))
            asked = cut_end(name or "", 60)
            raise CallFailed(f"model {asked!r} is not offered here; there is {known}") from None


def _request(prompt: str, model: str | None) -> dict[str, Any]:
    return {"prompt": prompt, "model": model}
