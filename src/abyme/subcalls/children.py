"""Children that code asks for: a question each, about data by reference, in a REPL of their own."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from abyme.context.handing import Handed, NodeData
from abyme.context.sharing import share_of, without
from abyme.errors import AbymeError, CallFailed
from abyme.inside.schema import Schema
from abyme.subcalls.batches import MAX_BATCH, Ask, Crew, Item, answers
from abyme.subcalls.book import Asker, CallBook, Identified
from abyme.subcalls.requests import RlmQuery
from abyme.subcalls.room import Room
from abyme.subcalls.typed import read_schema

WAITING = 256
"""Children of a node that are begun, or wait for their turn to be."""
_NEARLY_ALL = 0.9
_ALIKE = 0.8
_SMALL = 20_000
"""Bytes of data that a child may be given whole with the same question: it just reads it."""
_WIDEST = 4
"""Bytes of a character, at most."""


class Birth(msgspec.Struct, frozen=True, kw_only=True):
    """A child that is wanted, by the call ``key`` of cell ``cell``."""

    key: str
    cell: int
    question: str
    context: Handed | None
    model: str | None
    schema: Schema | None
    insist: bool


Spawn = Callable[[Birth], Awaitable[Any]]
"""Let a child work; its value. Raises what a call of it raises."""


class Children:
    """Those of one node."""

    def __init__(self, book: CallBook, room: Room, spawn: Spawn) -> None:
        self._book = book
        self._room = room
        self._spawn = spawn
        self._crew = Crew(WAITING)

    async def one(self, asker: Asker, asked: RlmQuery) -> Any:
        """The value of one child."""
        self._book.check_refused(asker.cell)
        read_schema(asked.schema)  # what is wrong with it is said before anybody waits for a child
        (call,) = await self._book.identify(asker, [("rlm_query", asked.request)])
        self._room.tell(asker.cell, int(call.is_new), children=True)
        return await self._answer(call, asked, None)

    async def batch(self, asker: Asker, wanted: Sequence[RlmQuery]) -> list[Item]:
        """Several at once, values in order; what failed is an item, what ends the run is raised."""
        if len(wanted) > MAX_BATCH:
            raise CallFailed(f"a batch has at most {MAX_BATCH:,} children, not {len(wanted):,}")
        if not wanted:
            return []
        self._book.check_refused(asker.cell)
        for each in wanted:
            read_schema(each.schema)
        requests = [("rlm_query", each.request) for each in wanted]
        whole = ("rlm_query_batched", {"wanted": [request for _, request in requests]})
        calls = await self._room.identify_batch(asker, "rlm_query", whole, requests, children=True)

        async def ask(call: Identified, index: int) -> Any:
            return await self._answer(call, wanted[index], index)

        return await answers(calls, ask, self._crew)

    def of_job(
        self, number: int, wanted: Sequence[RlmQuery]
    ) -> tuple[list[tuple[str, dict[str, Any]]], Ask]:
        """The calls of job ``number``, and what makes one of them."""

        async def ask(call: Identified, index: int) -> Any:
            return await self._child(call, wanted[index])

        requests = [
            ("rlm_query", each.request | {"job": (number, index)})
            for index, each in enumerate(wanted)
        ]
        return requests, ask

    async def _answer(self, call: Identified, asked: RlmQuery, index: int | None) -> Any:
        calls = self._book.of_cell(call.cell)
        calls.made += 1
        await self._book.until_given_up(call)
        try:
            return await self._child(call, asked)
        except AbymeError as error:
            calls.add_failure(error, index)
            raise

    async def _child(self, call: Identified, asked: RlmQuery) -> Any:
        if not call.is_new:
            return call.replayed()
        birth = Birth(
            key=call.key,
            cell=call.cell,
            question=asked.question,
            context=asked.context,
            model=asked.model,
            schema=read_schema(asked.schema),
            insist=asked.insist,
        )
        return await self._spawn(birth)


def challenge(parent: NodeData, question: str, child: NodeData, asked: str) -> str:
    """Why a child would only do its parent's work once more; "" where it would not.

    It is given nearly all of its parent's data, by reference or copied into what it is ``asked``,
    with what is nearly its parent's ``question``. What code made of the data is another text. Reads
    the parent's data where as much was copied; raises :class:`~abyme.errors.DataChanged`.
    """
    whole, share = parent.text_bytes, 0.0
    if whole <= _SMALL:
        return ""
    if _alike(question, asked):
        share = share_of(parent, child) if child.text_bytes >= _NEARLY_ALL * whole else 0.0
    elif _WIDEST * len(asked) >= _NEARLY_ALL * whole:
        rest, copied = without(parent.data, asked)
        share = copied / whole if _alike(question, rest) else 0.0
    if share < _NEARLY_ALL:
        return ""
    return (
        f"this child would have {share:.0%} of your data and your own question: it would be where "
        "you are now. Cut the data, or ask it for a part of the work; insist=True asks it anyway"
    ).replace("%", " %", 1)


def _alike(one: str, other: str) -> bool:
    first, second = (set(re.findall(r"\w+", text[:10_000].lower())) for text in (one, other))
    union = first | second
    return not union or len(first & second) >= _ALIKE * len(union)
