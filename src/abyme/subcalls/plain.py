"""Plain model calls that code asks for: one prompt, one reply, by themselves or in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from abyme.errors import AbymeError, CallFailed
from abyme.events import CallCached, CallKind, Emit
from abyme.inside.hits import cut_end
from abyme.inside.replies import read_reply
from abyme.inside.schema import Misfit, Schema
from abyme.models.base import Model, Request
from abyme.models.caller import Caller
from abyme.subcalls.batches import MAX_BATCH, Crew, Item, answers
from abyme.subcalls.book import Asker, CallBook, Identified
from abyme.subcalls.caching import CallCache
from abyme.subcalls.room import Room
from abyme.subcalls.typed import asking_again, asking_for, does_not_fit
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
    """Those of one node; ``crew`` makes those of batches.

    ``models``: the names that code may ask for, the sub-model under None. With a ``cache`` equal
    calls are made once; items of jobs, which equal no other, are all made.
    """

    def __init__(
        self,
        book: CallBook,
        room: Room,
        caller: Caller,
        models: Mapping[str | None, Model],
        emit: Emit,
        *,
        crew: Crew,
        cache: CallCache | None,
    ) -> None:
        self._cache = cache
        self._book = book
        self._room = room
        self._caller = caller
        self._models = models
        self._emit = emit
        self._crew = crew

    async def one(self, asker: Asker, question: Question) -> Any:
        """A call by itself."""
        self._book.check_refused(asker.cell)
        (call,) = await self._book.identify(asker, [(question.kind, question.request)])
        self._room.tell(asker.cell, int(call.is_new))
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
        self._book.check_refused(asker.cell)
        kind = questions[0].kind
        requests = [(question.kind, question.request) for question in questions]
        calls = await self._room.identify_batch(
            asker, kind, _whole(questions), requests, children=False
        )

        async def ask(call: Identified, index: int) -> Any:
            return await self.answer(asker, call, questions[index], index)

        return await answers(calls, ask, self._crew)

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
            return read_reply(reply, schema)
        except Misfit as error:
            again = asking_again(prompt, reply, error)
        reply = await self._reply(await self._again(asker, call, question, again), question, again)
        try:
            return read_reply(reply, schema)
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
