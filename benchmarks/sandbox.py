"""The sandbox by itself: starting a worker, a cell, a host call, a run; memory of many workers.

Beside two floors: ``exec`` in this process, which holds nothing, and a bare child that executes
what comes down a socket, which is the least that a process of its own costs.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from abyme.context.load import load
from abyme.sandbox import zygotes
from abyme.sandbox.accounts import counted
from abyme.sandbox.process import ProcessSandbox
from benchmarks.figures import Bench, Row, alternate, cell
from benchmarks.worker import Nobody, complete, one_worker, scripted

_CALLS = 1000
_BUDGET = f"""\
import time
began = time.perf_counter()
for _ in range({_CALLS}):
    budget()
FINAL((time.perf_counter() - began) / {_CALLS})"""
_CELLS = ("total = len(context)\nprint(total)", "FINAL(total)")
_CHILD = """
import socket, sys
end = socket.socket(fileno=int(sys.argv[1]))
end.sendall(b"ready")
names = {}
while code := end.recv(1 << 16):
    exec(code, names)
    end.sendall(b"done")
"""
_MANY = 20


def sandbox(bench: Bench) -> list[Row]:
    """No endpoint: workers, and a scripted model."""
    return [
        *_starts(bench),
        _two_turns(bench),
        *_cells(bench),
        _budget(bench),
        *_shared(bench),
    ]


def _starts(bench: Bench) -> list[Row]:
    data = load("a short text", folder=bench.folder / "start")

    async def cold() -> float:
        began = time.perf_counter()
        async with one_worker(data) as repl:
            await repl.run(1, "1", 10)
            return time.perf_counter() - began

    def bare() -> float:
        began = time.perf_counter()
        with _bare_child() as end:
            _said(end, b"1", b"done")
            return time.perf_counter() - began

    async def forked() -> list[float]:
        took = []
        async with ProcessSandbox().workers() as workers:
            for _ in range(bench.rounds(40)):
                began = time.perf_counter()
                async with workers.open(data, Nobody(), ()) as repl:
                    await repl.run(1, "1", 10)
                    took.append(time.perf_counter() - began)
        return took[2:]

    ours, floor = alternate(bench.rounds(15), lambda: asyncio.run(cold()), bare)
    note = "until its first cell has run, locked down; floor: a bare child, which nothing holds"
    return [
        Row("a worker, cold", median(ours), median(floor), target=0.060, note=note),
        Row("a worker, forked from a warm zygote", median(asyncio.run(forked())), target=0.008),
    ]


@contextmanager
def _bare_child() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    given = theirs.fileno()
    command = [sys.executable, "-s", "-P", "-S", "-c", _CHILD, str(given)]
    environment = zygotes.worker_environment()
    with subprocess.Popen(command, pass_fds=(given,), env=environment) as process, ours, theirs:
        theirs.close()
        _said(ours, b"", b"ready")
        yield ours
        ours.close()
        process.wait(10)


def _said(end: socket.socket, code: bytes, answer: bytes) -> None:
    if code:
        end.sendall(code)
    assert end.recv(100) == answer


def _two_turns(bench: Bench) -> Row:
    rlm = scripted(bench, *map(cell, _CELLS))

    def ours() -> float:
        began = time.perf_counter()
        complete(rlm, "a short text")
        return time.perf_counter() - began

    def in_process() -> float:
        began = time.perf_counter()
        names: dict[str, Any] = {"context": "a short text", "FINAL": str, "print": str}
        for code in _CELLS:
            exec(code, names)
        return time.perf_counter() - began

    took, floor = alternate(bench.rounds(15), ours, in_process)
    note = "scripted model; worker, journal and all; floor: exec of its two cells in this process"
    return Row("two turns, warm", median(took), median(floor), target=0.010, note=note)


def _cells(bench: Bench) -> list[Row]:
    data = load("a short text", folder=bench.folder / "cell")

    async def trips() -> list[float]:
        took = []
        async with one_worker(data) as repl:
            for number in range(1, bench.rounds(900)):
                began = time.perf_counter()
                await repl.run(number, "1", 10.0)
                took.append(time.perf_counter() - began)
        return took

    def bare() -> float:
        with _bare_child() as end:
            took = []
            for _ in range(bench.rounds(900)):
                began = time.perf_counter()
                _said(end, b"1", b"done")
                took.append(time.perf_counter() - began)
        return median(took)

    def in_process() -> float:
        names: dict[str, Any] = {}
        began = time.perf_counter()
        for _ in range(1000):
            exec("1", names)
        return (time.perf_counter() - began) / 1000

    ours, child = alternate(3, lambda: median(asyncio.run(trips())), bare)
    note = "over the sandbox alone: no journal, no loop; floor: the bare child"
    return [
        Row("a cell: `1`", median(ours), median(child), target=0.00025, note=note),
        Row("  floor of floors: exec in this process", in_process()),
    ]


def _budget(bench: Bench) -> Row:
    rlm = scripted(bench, cell(_BUDGET))
    took = [float(complete(rlm, "a short text").value) for _ in range(bench.rounds(5))]
    return Row(
        "a host call: budget()",
        median(took),
        target=0.00025,
        note="journalled like every call from code",
    )


def _shared(bench: Bench) -> list[Row]:
    """Memory of workers over one text, zygotes included, by proportional share (Linux, root)."""
    path = bench.text(1000)
    code = "import time\nfound = context.count('marker')\nfound"

    def taken(count: int) -> tuple[float, float]:
        return asyncio.run(_taken_by(path, bench.folder / f"shared-{count}", count, code))

    one, first = taken(1)
    many, all_of_them = taken(_MANY)
    size = path.stat().st_size
    return [
        Row(
            "memory of a worker over 1 GB as one str",
            one,
            size,
            unit="MB",
            compared="ratio",
            target=1.2,
            note="anonymous, zygotes included; floor: the bytes of the file",
        ),
        Row(
            f"memory of {_MANY} workers over it",
            many,
            one,
            unit="MB",
            compared="ratio",
            target=1.4,
            note=f"floor: the row above; {all_of_them:.1f} s until all had counted in it, "
            f"{first:.1f} s for one",
        ),
    ]


async def _taken_by(path: Path, folder: Path, count: int, code: str) -> tuple[float, float]:
    data = load(path, folder=folder)
    box = ProcessSandbox(text_bytes=2 << 30)
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(box.workers())
        began = time.perf_counter()
        opening = (workers.open(data, Nobody(), ()) for _ in range(count))
        repls = [await stack.enter_async_context(each) for each in opening]
        results = await asyncio.gather(*(repl.run(1, code, 120) for repl in repls))
        seconds = time.perf_counter() - began
        assert {result.output for result in results} == {"1000\n"}, results[0]
        processes = {repl.pid for repl in repls}
        parents = {_parent(pid) for pid in processes}
        return sum(map(_anonymous, processes | parents)), seconds


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def _anonymous(pid: int) -> int:
    return counted(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
