"""Workers and scripted runs by themselves, for the benchmarks that ask no endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from abyme import RLM, Answer
from abyme.context.documents import Data
from abyme.models.scripted import Scripted
from abyme.sandbox.base import Repl, Sandbox
from abyme.sandbox.process import ProcessSandbox
from benchmarks.figures import Bench


class Nobody:
    """A host that nobody asks."""

    listens = False

    async def call(
        self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
    ) -> Any:
        """No cell of a benchmark calls it."""
        raise NotImplementedError

    def output(self, cell: int, text: str) -> None:
        """Nobody watches."""


@asynccontextmanager
async def one_worker(data: Data, box: Sandbox | None = None) -> AsyncIterator[Repl]:
    """One worker over ``data``, by itself."""
    box = box or ProcessSandbox()
    async with box.workers() as workers, workers.open(data, Nobody(), ()) as repl:
        yield repl


def scripted(bench: Bench, *replies: str) -> RLM:
    """An RLM whose root says ``replies`` in order."""
    return RLM(Scripted(replies), runs=bench.folder / "runs")


def complete(rlm: RLM, context: str | Path) -> Answer:
    """The answer of a run, which must end well."""
    answer = rlm.completion("What is it?", context)
    assert answer.status == "complete", answer.reason
    return answer
