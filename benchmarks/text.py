"""A text in a worker: a ``str`` beside the same in a bare process, a lazy text beside its bytes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from abyme.context.load import load
from benchmarks.figures import Bench, Row, alternate
from benchmarks.worker import one_worker

_FITS = 100
_LAZY = 1_000
_MIXED = 250
"""Megabytes of each text (of the last before letters of two, three and four bytes are put in)."""

_TIMED = """
import json, random, re, time
def timed(code):
    began = time.perf_counter()
    value = eval(code, globals())
    seconds = time.perf_counter() - began
    assert value
    return seconds
print(json.dumps([min(timed(code) for _ in range(times)) for code, times in CODES]))
"""
_AS_STR = "context = open(PATH, encoding='utf-8', newline='').read()\n"
_AS_BYTES = """
import mmap
with open(PATH, "rb") as file:
    raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
assert raw.find(b"never") < 0
"""


@dataclass(frozen=True)
class _Figure:
    """One expression in the worker, and the one that it is held against."""

    name: str
    ours: str
    floor: str
    compared: Literal["ratio", "alone"] = "ratio"
    target: float | None = None
    note: str = ""
    times: int = 1
    """It is done so often in one process, and its quickest is taken: a machine that others use
    makes one in three half as slow again, in the worker and beside it."""


_COUNT = 'context.count("wooden")'
_FIND_ALL = r're.findall(r"marker-\d+ stands", context)'
_SPLIT = r'context.split("\n")'

_IN_STR = [
    _Figure(
        "count, the first pass over it",
        _COUNT,
        _COUNT,
        note="in the worker it brings in the pages of a text that was built before the fork",
    ),
    _Figure("count", _COUNT, _COUNT, target=1.10, times=3),
    _Figure("findall", _FIND_ALL, _FIND_ALL, target=1.10, times=3),
    _Figure("split", _SPLIT, _SPLIT, target=1.10, times=3),
]

_PLACES = "[random.Random(7).randrange(10**8) * 9 for _ in range(1000)]"
_NEEDLE = f"marker-{_LAZY - 4:06} stands"

_IN_BYTES = [
    _Figure(
        "index (the first len)",
        "len(context)",
        'raw.find(b"never")',
        "alone",
        1.5,
        "floor: mmap.find of what is not there",
    ),
    _Figure(
        "find near its end",
        f"context.find({_NEEDLE!r})",
        f"raw.find(b{_NEEDLE!r})",
        target=2.0,
        note="floor: mmap.find",
    ),
    _Figure(
        "1,000 random slices",
        f"[context[at : at + 100] for at in {_PLACES}]",
        f"[raw[at : at + 100].decode() for at in {_PLACES}]",
        "alone",
        1.0,
        "of 100 characters; floor: of the mapped bytes",
    ),
]

_DENSE = r'sum(1 for _ in zip(range(10**6), re.finditer(r"\b\d{5}\.", context)))'

_BESIDE_STR = [
    _Figure("count", _COUNT, _COUNT),
    _Figure("findall, few matches", _FIND_ALL, _FIND_ALL),
    _Figure("a million matches of finditer", _DENSE, _DENSE, note="one in 85 characters"),
    _Figure("len(splitlines())", "len(context.splitlines())", "len(context.splitlines())"),
    _Figure(
        'for line in split("\\n")',
        r'sum(1 for _ in context.split("\n"))',
        r'sum(1 for _ in context.split("\n"))',
    ),
]


def text(bench: Bench) -> list[Row]:
    """Takes 1.4 GB of the disk and 2 GB of memory while it runs."""
    ascii_text, mixed = bench.text(_LAZY), _mixed(bench)
    try:
        return [
            *_rows(bench, bench.text(_FITS), "a str of 100 MB", _IN_STR, _AS_STR),
            *_rows(bench, ascii_text, "lazy, 1 GB of ASCII", _IN_BYTES, _AS_BYTES),
            *_rows(bench, ascii_text, "lazy, 1 GB of ASCII", _BESIDE_STR, _AS_STR, speed=True),
            *_rows(bench, mixed, "lazy, 275 MB of mixed text", _BESIDE_STR, _AS_STR, speed=True),
        ]
    finally:
        ascii_text.unlink()
        mixed.unlink()


def _mixed(bench: Bench) -> Path:
    """Text whose ``str`` takes four bytes a character; in UTF-8 a tenth more than in ASCII."""
    plain, path = bench.text(_MIXED), bench.folder / "mixed.txt"
    with plain.open(encoding="ascii") as source, path.open("w", encoding="utf-8") as file:
        while part := source.read(1_000_000):
            part = part.replace("river", "rivière").replace("boats", "漢字")
            file.write(part.replace("town", "😀 town"))
    plain.unlink()
    return path


def _rows(
    bench: Bench, path: Path, what: str, figures: list[_Figure], setup: str, *, speed: bool = False
) -> list[Row]:
    codes = _codes([(figure.ours, figure.times) for figure in figures])
    floors = _codes([(figure.floor, figure.times) for figure in figures])
    bare = f"PATH = {str(path)!r}\n{setup}{floors}"
    ours, floor = alternate(
        bench.rounds(3), lambda: _in_worker(bench, path, codes), lambda: _in_child(bare)
    )
    size = path.stat().st_size
    rows = []
    for place, figure in enumerate(figures):
        took, beside = median(each[place] for each in ours), median(each[place] for each in floor)
        note = figure.note
        if speed and not note:
            note = f"{size / took / 1e6:,.0f} MB/s; floor, a str in memory: "
            note += f"{size / beside / 1e6:,.0f} MB/s"
        name = f"{what}: {figure.name}"
        compared, target = figure.compared, figure.target
        rows.append(Row(name, took, beside, compared=compared, target=target, note=note))
    return rows


def _codes(codes: list[tuple[str, int]]) -> str:
    return f"CODES = {codes!r}\n{_TIMED}"


def _in_worker(bench: Bench, path: Path, code: str) -> list[float]:
    """Seconds of each expression in a cell of a fresh worker."""

    async def one() -> list[float]:
        data = load(path, folder=bench.folder / "text")
        async with one_worker(data) as repl:
            await repl.run(1, "context[:1]", 300.0)
            result = await repl.run(2, code, 300.0)
            assert result.error is None, result.error
            seconds: list[float] = json.loads(result.output)
            return seconds

    return asyncio.run(one())


def _in_child(code: str) -> list[float]:
    """Seconds of each expression in a Python of its own."""
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
    seconds: list[float] = json.loads(done.stdout)
    return seconds
