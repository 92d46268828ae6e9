"""A log of 100 MB, the same on every machine: needles in it, exact counts, and how long they take.

Every question goes through the command, in a process of its own, as a user would ask it.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_MEGABYTES = 100
_STDIN_BYTES = 2_000_000
_PARTS = ("billing", "search", "mail", "orders", "login", "cache", "reports")
_LEVELS = ("DEBUG",) * 30 + ("INFO",) * 60 + ("WARNING",) * 6 + ("ERROR",) * 3 + ("FATAL",)
_TOLD = (
    "request served in {} ms",
    "connection from 10.0.{}.7 closed by its peer",
    "retrying after error {} of the upstream host",
    "wrote {} rows to the table of sessions",
    "queue is {} items long",
)
_NEEDLES = {
    "Who keeps the spare key of the observatory?": "Notice: Ottilie keeps the observatory's spare "
    "key in the green teapot.",
    "Where was the walrus statue moved?": "Notice: the statue of the walrus was moved to the "
    "harbour office of Bergen.",
    "When does the moratorium on deployments end?": "Notice: the deployment moratorium ends on 14 "
    "October 2031.",
}


@dataclass(frozen=True)
class _Count:
    ask: str
    has: tuple[str, ...]
    """Strings of which a line that counts holds all."""
    whatever_case: bool = False

    def of(self, data: bytes) -> int:
        """The truth, as ``grep -c`` would have it."""
        data = data.lower() if self.whatever_case else data
        wanted = [each.encode() for each in self.has]
        return sum(all(each in line for each in wanted) for line in data.splitlines())


_COUNTS = (
    _Count("how many lines contain ERROR?", ("ERROR",)),
    _Count('How many lines contain "upstream host"?', ("upstream host",)),
    _Count("Count the lines that mention billing.", ("billing",), True),
    _Count("How many lines have both FATAL and billing?", ("FATAL", "billing")),
)


def large() -> str:
    """Ask all questions of the log; a line of the table each."""
    rows = [f"{f'over a log of {_MEGABYTES} MB':<58}{'result':>14}{'seconds':>10}"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "app.log"
        _write(log)
        data = log.read_bytes()
        for question, needle in _NEEDLES.items():
            text, seconds = _ask(question, folder, log)
            rows.append(_row(question, "found" if needle in text else "not found", seconds))
        for count in _COUNTS:
            text, seconds = _ask(count.ask, folder, log)
            rows.append(_row(count.ask, _verdict(text, count.of(data)), seconds))
        tail = data[-_STDIN_BYTES:]
        text, seconds = _ask(_COUNTS[0].ask, folder, stdin=tail)
        name = f"{_COUNTS[0].ask} (2 MB by stdin)"
        rows.append(_row(name, _verdict(text, _COUNTS[0].of(tail)), seconds))
    return "\n".join(rows)


def _row(question: str, result: str, seconds: float) -> str:
    return f"{question:<58}{result:>14}{seconds:>10.1f}"


def _verdict(text: str, truth: int) -> str:
    return "exact" if text.startswith(f"{truth:,} ") else f"not {truth:,}"


def _write(path: Path) -> None:
    """Lines of a log until the file is full, and in it the needles, each at a place of its own."""
    rng = random.Random(20_261)
    places = {rng.randrange(_MEGABYTES): needle for needle in _NEEDLES.values()}
    clock = 1_790_000_000
    with path.open("w", encoding="utf-8") as file:
        for megabyte in range(_MEGABYTES):
            size = 0
            if needle := places.get(megabyte):
                size += file.write(f"{clock} INFO notices: {needle}\n")
            while size < 1_000_000:
                clock += rng.randrange(3)
                told = rng.choice(_TOLD).format(rng.randrange(1_000))
                line = f"{clock} {rng.choice(_LEVELS)} {rng.choice(_PARTS)}: {told}\n"
                size += file.write(line)


def _ask(
    question: str, folder: str, log: Path | None = None, stdin: bytes | None = None
) -> tuple[str, float]:
    command = [sys.executable, "-m", "abyme", "ask", question]
    command += [] if log is None else [str(log)]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--model", "reader", "--quiet", "--runs", f"{folder}/runs"],
        input=stdin,
        stdout=subprocess.PIPE,
        check=True,
        timeout=300,
    )
    return done.stdout.decode(), time.monotonic() - began
