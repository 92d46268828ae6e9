"""Memory: a limit for each worker, in which an allocation fails, and one for all of a run."""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from abyme.context.load import load
from abyme.sandbox.accounts import counted, footprint
from abyme.sandbox.base import Repl
from abyme.sandbox.process import ProcessSandbox
from abyme.types import CellResult
from support.repl import TestHost, run_cells

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")

MB = 1 << 20
ROLLUP = b"""\
55d0-7ffc ---p 00000000 00:00 0                          [rollup]
Rss:               10560 kB
Pss:                4000 kB
Pss_Anon:           2200 kB
Pss_File:           3300 kB
Pss_Shmem:           100 kB
Swap:                 16 kB
SwapPss:               8 kB
"""
HOLD = "held = bytearray({size} * 2**20)\nimport time\ntime.sleep({seconds})\nlen(held)"


def test_allocating_too_much_is_a_memory_error_and_the_worker_lives(tmp_path: Path) -> None:
    box = ProcessSandbox(memory_bytes=300 * MB)
    cells = [
        "kept = 1\nlarge = bytearray(400 * 2**20)",
        "parts = []\nwhile True: parts.append('x' * 2**20)",
        "import mmap\nmmap.mmap(-1, 400 * 2**20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
        "del parts\nkept, len(bytearray(100 * 2**20))",
    ]
    *failed, last = run_cells(tmp_path, cells, sandbox=box)
    kinds = [result.error.type if result.error else result.ended for result in failed]
    assert kinds == ["MemoryError", "MemoryError", "OSError"]
    assert last.output == f"(1, {100 * MB})\n"


def test_the_peak_is_that_of_the_cell(tmp_path: Path) -> None:
    cells = ["1", "len(bytearray(200 * 2**20))", "2", "kept = bytearray(50 * 2**20)", "3"]
    before, large, after, kept, still = (result.peak_bytes for result in run_cells(tmp_path, cells))
    assert large > before + 190 * MB
    assert after < large - 150 * MB
    assert kept > after + 40 * MB and still > after + 40 * MB


def test_the_kernels_account_is_read_by_proportional_share() -> None:
    assert counted(ROLLUP) == (2200 + 100 + 8) * 1024
    assert counted(b"") == 0


def test_macoss_account_is_read_as_its_header_lays_it_out() -> None:
    uuid, before, after = b"\1" * 16, range(7), range(9)
    info = uuid + struct.pack("=7QQ9Q", *before, 123_456_789, *after)
    assert footprint(info) == 123_456_789


@asynccontextmanager
async def several(
    folder: Path, count: int, context: str | Path, box: ProcessSandbox
) -> AsyncIterator[list[Repl]]:
    data = load(context, folder=folder / "data")
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(box.workers())
        yield [
            await stack.enter_async_context(workers.open(data, TestHost(), ()))
            for _ in range(count)
        ]


def in_one_loop(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(bounded())


async def together(repls: list[Repl], codes: list[str], cell: int) -> list[CellResult]:
    return await asyncio.gather(
        *(repl.run(cell, code, 30) for repl, code in zip(repls, codes, strict=True))
    )


def test_workers_that_take_too_much_together_lose_the_largest(tmp_path: Path) -> None:
    async def work() -> None:
        box = ProcessSandbox(tree_bytes=400 * MB)
        async with several(tmp_path, 3, "text", box) as repls:
            first = await together(repls, [HOLD.format(size=80, seconds=0.6)] * 3, 1)
            assert [result.ended for result in first] == ["done"] * 3, "each and all fit"
            codes = ["kept = held", HOLD.format(size=250, seconds=20), "kept = held"]
            kept, large, _ = await together(repls, codes, 2)
            assert kept.ok and large.ended == "died" and large.error is not None
            assert "the workers of this run took" in large.error.message
            assert "419 MB is the most" in large.error.message
            assert [repl.alive for repl in repls] == [True, False, True]
            again = await together([repls[0], repls[2]], ["len(kept)"] * 2, 3)
            assert [result.output for result in again] == [f"{80 * MB}\n"] * 2

    in_one_loop(work)


def test_a_text_that_workers_share_counts_once(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"a line of a text that is shared\n" * (60 * MB // 32))
    code = "import time\nfound = context.count('line')\ntime.sleep(0.8)\nfound"

    async def work() -> None:
        box = ProcessSandbox(tree_bytes=200 * MB)
        async with several(tmp_path, 5, text, box) as repls:
            results = await together(repls, [code] * 5, 1)
            assert [result.output for result in results] == [f"{60 * MB // 32}\n"] * 5

    in_one_loop(work)
