"""Parts by themselves, to know: a whole warm run, a cell, a host call, regex, grep, search."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from statistics import median
from typing import Any

from abyme import RLM, Answer
from abyme.context.load import load
from abyme.models.scripted import Scripted
from abyme.sandbox.process import ProcessSandbox
from benchmarks.figures import Bench, Row, alternate, cell

_CALLS = 1000
_BUDGET = f"""\
import time
began = time.perf_counter()
for _ in range({_CALLS}):
    budget()
FINAL((time.perf_counter() - began) / {_CALLS})"""

_TIMED = """\
import re, time
size = len(context)
began = time.perf_counter()
found = {code}
seconds = time.perf_counter() - began
assert found
FINAL(seconds)"""

_PATTERN = r"marker-\d+ stands"


def parts(bench: Bench) -> list[Row]:
    """One process, one scripted model; no endpoint."""
    return [
        Row("two turns, warm, scripted", _two_turns(bench), note="worker, journal and all"),
        Row("a cell: `1`", _a_cell(bench), note="over the sandbox alone: no journal, no loop"),
        Row("a host call: budget()", _budget(bench), note="journalled like every call from code"),
        *_searches(bench),
    ]


def _two_turns(bench: Bench) -> float:
    rlm = _scripted(bench, cell("total = len(context)\nprint(total)"), cell("FINAL(total)"))
    took = []
    for _ in range(bench.rounds(15) + 1):
        began = time.perf_counter()
        _complete(rlm, "a short text")
        took.append(time.perf_counter() - began)
    return median(took[1:])


def _a_cell(bench: Bench) -> float:
    class Nobody:
        listens = False

        async def call(self, cell: int, name: str, arguments: dict[str, Any]) -> Any:
            raise NotImplementedError

        def output(self, cell: int, text: str) -> None:
            """Nobody watches."""

    async def trips() -> list[float]:
        data = load("a short text", folder=bench.folder / "cell")
        took = []
        box = ProcessSandbox()
        async with box.workers() as workers, workers.open(data, Nobody(), ()) as repl:
            for number in range(1, bench.rounds(600)):
                began = time.perf_counter()
                await repl.run(number, "1", 10.0)
                took.append(time.perf_counter() - began)
        return took

    return median(asyncio.run(trips()))


def _budget(bench: Bench) -> float:
    rlm = _scripted(bench, cell(_BUDGET))
    return median(float(_complete(rlm, "a short text").value) for _ in range(bench.rounds(5)))


def _searches(bench: Bench) -> list[Row]:
    data = bench.text(100)
    text = data.read_text(encoding="ascii")
    rounds = bench.rounds(5)

    def regex() -> float:
        return _timed(bench, data, f"re.findall({_PATTERN!r}, context)")

    def native() -> float:
        began = time.perf_counter()
        assert re.findall(_PATTERN, text)
        return time.perf_counter() - began

    def grep() -> float:
        return _timed(bench, data, f"grep({_PATTERN!r})")

    in_cell, in_place = alternate(rounds, regex, native)
    grepped, beside = alternate(rounds, grep, native)
    query = "search('which boats carried people past the town')"
    found = [_timed(bench, data, query) for _ in range(rounds)]
    return [
        Row("re.findall over 100 MB", median(in_cell), median(in_place), compared="ratio"),
        Row("grep over 100 MB", median(grepped), median(beside), compared="ratio"),
        Row("search over 100 MB", median(found)),
    ]


def _timed(bench: Bench, data: Path, code: str) -> float:
    """Seconds that an expression takes in a cell, once the text is there."""
    rlm = _scripted(bench, cell(_TIMED.format(code=code)))
    return float(_complete(rlm, data).value)


def _scripted(bench: Bench, *replies: str) -> RLM:
    return RLM(Scripted(replies), runs=bench.folder / "runs")


def _complete(rlm: RLM, context: str | Path) -> Answer:
    answer = rlm.completion("What is it?", context)
    assert answer.status == "complete", answer.reason
    return answer
