"""Plain model calls that code asks for: one prompt, one reply, by themselves or in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from abyme.errors import AbymeError, CallFailed
from abyme.events import CallCached, CallKind, CallRefused, CallsAsked, Emit
from abyme.inside.hits import cut_end
from abyme.inside.schema import Misfit, Schema
from abyme.ledger import Account
from abyme.models.base import Model, Request
from abyme.models.caller import Caller
from abyme.subcalls.batches import MAX_BATCH, Item, answers
from abyme.subcalls.book import Asker, CallBook, Identified
from abyme.subcalls.caching import CallCache
from abyme.subcalls.rerun import NOT_MADE
from abyme.subcalls.typed import asking_again, asking_for, does_not_fit, value_of
from abyme.types import Message, Reply


class Question(msgspec.Struct, frozen=True):
    """One prompt to one model; ``schema``: what the answer must fit.

    ``job``: the number of the job that it belongs to, and its place there.
    """

    kind: CallKind
    prompt: str
    model: str | None = None
    schema: Schema | None = None
    job: tuple[int, int] | None = None

    @property
    def request(self) -> dict[str, Any]:
        """What its call is known by."""
        request: dict[str, Any] = {"prompt": self.prompt, "model": self.model}
        if self.schema is not None:
            request["schema"] = self.schema.text
        if self.job is not None:
            request["job"] = self.job
        return request


class PlainCalls:
    """Those of one node. ``models``: the names that code may ask for, the sub-model under None.

    With a ``cache`` equal calls are made once; items of jobs, which equal no other, are all made.
    """

    def __init__(
        self,
        book: CallBook,
        caller: Caller,
        account: Account,
        models: Mapping[str | None, Model],
        emit: Emit,
        cache: CallCache | None = None,
    ) -> None:
        self._cache = cache
        self._book = book
        self._caller = caller
        self._account = account
        self._models = models
        self._emit = emit
        self._width = account.limits.most_at_once

    async def one(self, asker: Asker, question: Question) -> Any:
        """A call by itself."""
        (call,) = await self._book.identify(asker, [(question.kind, question.request)])
        self.tell_asked(asker.cell, int(call.is_new))
        return await self.answer(asker, call, question)

    async def batch(self, asker: Asker, questions: Sequence[Question]) -> list[Item]:
        """All at once, answers in order; what failed is an item, what ends the run is raised.

        Each reply is journalled as it comes. Where the cell is cut off in the midst of it, a run
        that is resumed takes them from there for this cell. Code of a later cell that asks for the
        same makes calls of its own: the same prompt asked twice is two samples.
        """
        check_size(len(questions))
        if not questions:
            return []
        kind = questions[0].kind
        requests = [(question.kind, question.request) for question in questions]
        whole, *calls = await self._book.identify(asker, [_whole(questions), *requests])
        await self._book.until_given_up(whole)
        missing = sum(call.is_new for call in calls)
        self.refuse_too_many(whole, kind, missing)
        self.tell_asked(asker.cell, missing)

        async def ask(call: Identified, index: int) -> Any:
            return await self.answer(asker, call, questions[index], index)

        return await answers(calls, ask, self._width)

    async def answer(
        self, asker: Asker, call: Identified, question: Question, index: int | None = None
    ) -> Any:
        """The answer to ``question``, whose call this is; ``index`` is its place in a batch.

        One that does not fit the schema is asked for once more, which is a call of its own.
        """
        if question.job is not None:
            return await self._answer(asker, call, question)
        calls = self._book.of_cell(call.cell)
        calls.made += 1
        await self._book.until_given_up(call)
        try:
            return await self._answer(asker, call, question)
        except AbymeError as error:
            calls.add_failure(error, index)
            raise

    async def _answer(self, asker: Asker, call: Identified, question: Question) -> Any:
        prompt, schema = question.prompt, question.schema
        if schema is None:
            return await self._reply(call, question, prompt)
        prompt = asking_for(prompt, schema)
        reply = await self._reply(call, question, prompt)
        try:
            return value_of(reply, schema)
        except Misfit as error:
            again = asking_again(prompt, reply, error)
        reply = await self._reply(await self._again(asker, call, question, again), question, again)
        try:
            return value_of(reply, schema)
        except Misfit as error:
            raise does_not_fit(reply, error) from None

    async def _again(
        self, asker: Asker, call: Identified, question: Question, prompt: str
    ) -> Identified:
        request = question.request | {"prompt": prompt}
        if question.job is not None:
            return self._book.of_job(call.cell, question.kind, request, answered=call.is_new)
        (again,) = await self._book.identify(asker, [(question.kind, request)])
        return again

    async def _reply(self, call: Identified, question: Question, prompt: str) -> str:
        """The text of one plain model call."""
        asked = self._model(question.model)
        if not call.is_new:
            return str(call.replayed()).strip()
        request = Request((Message("user", prompt),), purpose="sub")

        async def make() -> Reply:
            return await self._caller.call(
                asked,
                request,
                key=call.key,
                node=self._book.node,
                cell=call.cell,
                kind=question.kind,
                prompt=prompt,
            )

        if self._cache is None or question.job is not None:
            reply = await make()
        else:
            reply, source = await self._cache.ask(call.key, asked.name, request, make)
            if source:
                node, kind = self._book.node, question.kind
                self._emit(CallCached(call.key, node, call.cell, kind, source))
        return reply.text.strip()  # code compares replies; models end them with newlines

    def check_room(self, count: int, what: str = "prompts") -> None:
        """Raise :class:`CallFailed` where fewer calls are left than prompts, or children, wanted.

        The calls that are left are worth more than the first few answers of such a batch.
        """
        left = self._account.snapshot()["calls"]["left"]
        if left is not None and count > left:
            raise CallFailed(
                f"{count:,} {what}, but only {left:,} calls are left: none was sent; put more "
                "items into a prompt",
                "BudgetExceeded",
            )

    def refuse_too_many(
        self, whole: Identified, kind: CallKind, count: int, what: str = "prompts"
    ) -> None:
        """:meth:`check_room`, or what it came to when the cell first ran."""
        if whole.recorded is not None:
            if whole.recorded is not NOT_MADE:
                whole.replayed()
            return
        try:
            self.check_room(count, what)
        except CallFailed as error:
            refused = (whole.key, self._book.node, whole.cell, kind, str(error), error.kind)
            self._emit(CallRefused(*refused))
            raise

    def tell_asked(self, cell: int, count: int, *, children: bool = False) -> None:
        """Tell whoever shows progress that so many calls are to be made, or children to work."""
        if count:
            self._emit(CallsAsked(self._book.node, cell, count, children))

    def _model(self, name: str | None) -> Model:
        try:
            return self._models[name]
        except KeyError:
            known = ", ".join(sorted(known for known in self._models if known))
            asked = cut_end(name or "", 60)
            raise CallFailed(f"model {asked!r} is not offered here; there is {known}") from None


def check_size(prompts: int) -> None:
    """Raise :class:`CallFailed` where that is more than one batch or one job may hold."""
    if prompts > MAX_BATCH:
        raise CallFailed(f"a batch has at most {MAX_BATCH:,} prompts, not {prompts:,}")


def _whole(questions: Sequence[Question]) -> tuple[str, dict[str, Any]]:
    """What a batch as a whole is known by."""
    first = questions[0]
    request = first.request | {"prompts": [question.prompt for question in questions]}
    del request["prompt"]
    return f"{first.kind}_batched", request
