"""Children that code asks for: a question each, about data by reference, in a REPL of their own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from abyme.context.handing import Asked as AskedData
from abyme.context.handing import NodeData
from abyme.errors import AbymeError, CallFailed, DataError, JournalError
from abyme.events import CallsAsked, Emit
from abyme.sandbox.answering import error_frame
from abyme.subcalls.book import Asker, CallBook, Identified
from abyme.subcalls.plain import MAX_BATCH
from abyme.subcalls.requests import RlmQuery

_FATAL = (JournalError, DataError)
_NEARLY_ALL = 0.9
_ALIKE = 0.8
_SMALL = 20_000
"""Bytes of data that a child may be given whole with the same question: it just reads it."""


class Birth(msgspec.Struct, frozen=True, kw_only=True):
    """A child that is wanted, by the call ``key`` of cell ``cell``."""

    key: str
    cell: int
    question: str
    context: AskedData | None
    model: str | None
    insist: bool


Spawn = Callable[[Birth], Awaitable[Any]]
"""Let a child work; its value. Raises what a call of it raises."""


class Children:
    """Those of one node; ``at_once`` of them work at the same time, the others wait."""

    def __init__(self, book: CallBook, spawn: Spawn, emit: Emit, at_once: int) -> None:
        self._book = book
        self._spawn = spawn
        self._emit = emit
        self._at_once = at_once

    async def one(self, asker: Asker, asked: RlmQuery) -> Any:
        """The value of one child."""
        (call,) = await self._book.identify(asker, [("rlm_query", _request(asked))])
        self._tell_asked(asker.cell, int(call.is_new))
        return await self._child(call, asked, None)

    async def batch(self, asker: Asker, wanted: Sequence[RlmQuery]) -> list[Any]:
        """Several at once, values in order; what failed is an item, what ends the run is raised."""
        if len(wanted) > MAX_BATCH:
            raise CallFailed(f"a batch has at most {MAX_BATCH:,} children, not {len(wanted):,}")
        calls = await self._book.identify(asker, [("rlm_query", _request(each)) for each in wanted])
        self._tell_asked(asker.cell, sum(call.is_new for call in calls))
        items: list[Any] = [None] * len(wanted)
        waiting = iter(enumerate(zip(calls, wanted, strict=True)))

        async def work() -> None:
            for index, (call, asked) in waiting:
                try:
                    items[index] = {"value": await self._child(call, asked, index)}
                except _FATAL:
                    raise
                except AbymeError as error:
                    items[index] = {"error": error_frame(error)}

        workers = [asyncio.create_task(work()) for _ in range(min(self._at_once, len(wanted)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return items

    async def _child(self, call: Identified, asked: RlmQuery, index: int | None) -> Any:
        calls = self._book.of_cell(call.cell)
        calls.made += 1
        try:
            if not call.is_new:
                return call.replayed()
            return await self._spawn(
                Birth(
                    key=call.key,
                    cell=call.cell,
                    question=asked.question,
                    context=asked.context,
                    model=asked.model,
                    insist=asked.insist,
                )
            )
        except AbymeError as error:
            calls.add_failure(error, index)
            raise

    def _tell_asked(self, cell: int, count: int) -> None:
        if count:
            self._emit(CallsAsked(self._book.node, cell, count))


def challenge(parent: NodeData, question: str, child: NodeData, asked: str) -> str:
    """Why a child would only do its parent's work once more; "" where it would not.

    It is given nearly all of its parent's data, with what is nearly its parent's ``question``.
    """
    whole = parent.text_bytes
    if whole <= _SMALL or child.text_bytes < _NEARLY_ALL * whole:
        return ""
    if not _alike(question, asked):
        return ""
    share = round(100 * child.text_bytes / whole)
    return (
        f"this child would have {share} % of your data and your own question: it would be where "
        "you are now. Cut the data, or ask it for a part of the work; insist=True asks it anyway"
    )


def _alike(one: str, other: str) -> bool:
    first, second = (set(re.findall(r"\w+", text[:10_000].lower())) for text in (one, other))
    union = first | second
    return not union or len(first & second) >= _ALIKE * len(union)


def _request(asked: RlmQuery) -> dict[str, Any]:
    request: dict[str, Any] = msgspec.to_builtins(asked)
    return request
