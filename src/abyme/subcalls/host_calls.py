"""Calls from code that are no model's: the user's tools, and what the host itself is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from abyme.errors import CallFailed
from abyme.events import Emit, HostAnswered, HostCalled
from abyme.sandbox.frames import characters
from abyme.subcalls.book import Asker, CallBook
from abyme.subcalls.tools import Tool

MAX_HOST_CALLS = 10_000
"""Calls of a cell that no limit of the run counts; each is two events in the journal."""
MAX_AT_ONCE = 64
"""Tools of a node that run at the same time, each in a thread."""
MAX_TOLD = 256_000_000
"""Characters of the arguments of a node's tools, all of which the journal keeps."""


class HostCalls:
    """Those of one node."""

    def __init__(self, book: CallBook, tools: Mapping[str, Tool], emit: Emit) -> None:
        self.tools = tools
        self._book = book
        self._emit = emit
        self._at_once = asyncio.Semaphore(MAX_AT_ONCE)
        self._told = 0

    async def tool(self, asker: Asker, name: str, arguments: dict[str, Any]) -> Any:
        """The answer of a user's tool."""

        async def run() -> Any:
            async with self._at_once:
                return await self.tools[name].call(arguments)

        return await self.make(asker, name, arguments, run)

    async def make(
        self,
        asker: Asker,
        name: str,
        arguments: dict[str, Any],
        run: Callable[[], Awaitable[Any]],
        told: dict[str, Any] | None = None,
    ) -> Any:
        """What ``run`` gives, journalled around it; or what the journal has of this call.

        ``told``: what is journalled in the place of ``arguments``, where these are long and are
        told otherwise.
        """
        (call,) = await self._book.identify(asker, [(name, arguments)])
        calls = self._book.of_cell(asker.cell)
        calls.asked += 1
        if calls.asked > MAX_HOST_CALLS:
            raise CallFailed(
                f"more than {MAX_HOST_CALLS:,} calls of tools, jobs, budget() in a cell"
            )
        await self._book.until_given_up(call)
        if not call.is_new:
            return call.replayed()
        told = arguments if told is None else told
        self._told += characters(told)
        if self._told > MAX_TOLD:
            raise CallFailed(f"tools were given over {MAX_TOLD:,} characters, all told")
        self._emit(HostCalled(call.key, self._book.node, asker.cell, name, told))
        started = time.monotonic()
        try:
            value = await run()
        except CallFailed as error:
            self._emit(
                HostAnswered(
                    call.key,
                    error=str(error),
                    error_type=error.kind,
                    seconds=time.monotonic() - started,
                )
            )
            raise
        self._emit(HostAnswered(call.key, value, seconds=time.monotonic() - started))
        return value
