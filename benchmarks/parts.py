"""Searching by itself, in a cell: regex, grep, search."""

from __future__ import annotations

import re
import time
from pathlib import Path
from statistics import median

from benchmarks.figures import Bench, Row, alternate, cell
from benchmarks.worker import complete, scripted

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
    return _searches(bench)


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
    rlm = scripted(bench, cell(_TIMED.format(code=code)))
    return float(complete(rlm, data).value)
