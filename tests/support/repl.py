"""A REPL in a real worker process, for tests: data in, cells run, results out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from abyme.context.documents import Data
from abyme.context.load import load
from abyme.errors import CallFailed
from abyme.sandbox.base import Function, Host, Repl, Sandbox
from abyme.sandbox.process import ProcessSandbox
from abyme.types import CellResult

Answer = Callable[[dict[str, Any]], Any]


class TestHost:
    """A host whose functions are given; it counts calls and keeps streamed output."""

    __test__ = False
    listens = True

    def __init__(self, functions: dict[str, Answer] | None = None) -> None:
        self.functions = functions or {}
        self.calls: list[tuple[int, str, dict[str, Any]]] = []
        self.streamed: list[str] = []

    async def call(
        self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
    ) -> Any:
        self.calls.append((cell, name, arguments))
        if name not in self.functions:
            raise CallFailed(f"no function {name}")
        value = self.functions[name](arguments)
        return await value if isinstance(value, Awaitable) else value

    def output(self, cell: int, text: str) -> None:
        self.streamed.append(text)


@contextlib.asynccontextmanager
async def opened(
    data: Data,
    host: Host | None = None,
    *,
    sandbox: Sandbox | None = None,
    functions: tuple[Function, ...] = (),
) -> AsyncIterator[Repl]:
    """One worker over ``data``, by itself."""
    box = sandbox or ProcessSandbox()
    async with box.workers() as workers, workers.open(data, host or TestHost(), functions) as repl:
        yield repl


def run_cells(
    folder: Path,
    cells: list[str],
    *,
    context: Any = "some text\n",
    host: TestHost | None = None,
    seconds: float = 30.0,
    sandbox: Sandbox | None = None,
    functions: tuple[Function, ...] = (),
) -> list[CellResult]:
    """Run ``cells`` in one worker over ``context``, all of them, however each ends."""

    async def main() -> list[CellResult]:
        data = load(context, folder=folder / "data")
        box = sandbox or ProcessSandbox(grace_seconds=0.5)
        async with opened(data, host or TestHost(), sandbox=box, functions=functions) as repl:
            return [await repl.run(number, code, seconds) for number, code in enumerate(cells, 1)]

    return asyncio.run(main())


def run_cell(folder: Path, code: str, **options: Any) -> CellResult:
    """Run one cell."""
    return run_cells(folder, [code], **options)[0]
