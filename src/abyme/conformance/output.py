"""What a cell prints."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from abyme.conformance.trial import (
    SECONDS,
    AnsweringHost,
    Trial,
    ends,
    holds,
    output_of,
    prints,
    raises,
    same,
    within,
)
from abyme.errors import CallFailed

_MOST = 1 << 20
"""Characters of output that a worker may hand over, however much was printed."""
_HOST_BYTES = 64 << 20
"""By which the host may grow while a worker floods it."""


class OutputChecks(Trial):
    """All that Python prints is the cell's output: exact while short, cut in the middle if not."""

    @within(SECONDS)
    async def test_prints_and_errors_come_in_their_order(self) -> None:
        """``stdout`` and ``stderr`` are one text, nothing added; a cell that is silent has none."""
        code = (
            "import sys\nprint('a', end='')\nprint('b', file=sys.stderr, flush=True)\n"
            "n = sys.stdout.write('c\\n')\nsys.stderr.writelines(['d', 'e'])\nprint(n)"
        )
        first, second = await self.cells(code, "x = 1")
        prints(first, "ab\nc\nde2\n")
        same("its length", first.output_chars, 9)
        prints(second, "")
        same("the length of nothing", second.output_chars, 0)

    @within(SECONDS)
    async def test_what_was_printed_before_a_cell_failed_is_there(self) -> None:
        """However it ended, but for the death of its worker."""
        cells = (
            "print('before'); 1 / 0",
            "import sys; print('before'); sys.exit()",
            "print('before')\nwhile True: pass",
        )
        async with self.repl() as repl:
            for number, (code, how) in enumerate(
                zip(cells, ("raised", "exited", "interrupted"), strict=True), 1
            ):
                seconds = 0.3 * self.patience if how == "interrupted" else SECONDS
                result = await repl.run(number, code, seconds)
                ends(result, how)
                same("the output", result.output, "before\n")

    @within(SECONDS)
    async def test_long_output_is_cut_in_the_middle(self) -> None:
        """Head and tail are kept, and ``output_chars`` is the true length."""
        code = "print('HEAD' + 'x' * 3_000_000)\nfor i in range(50_000): print(i)\nprint('TAIL')"
        (result,) = await self.cells(code)
        expected = 3_000_005 + sum(len(str(i)) + 1 for i in range(50_000)) + 5
        same("the true length", result.output_chars, expected)
        output = output_of(result)
        holds(len(output) <= _MOST, f"{len(output):,} characters came out")
        holds(output.startswith("HEADxxx"), f"it begins {output[:20]!r}")
        holds(output.endswith("49999\nTAIL\n"), f"it ends {output[-20:]!r}")

    @within(SECONDS)
    async def test_a_flood_of_output_hurts_nobody(self) -> None:
        """200 MB in long prints: the cell runs to its end, and the host hardly grows by it."""
        flood = "for _ in range(2_000): print('y' * 100_000)"
        async with self.repl() as repl, _host_growth() as growth:
            result = await self.run(repl, 1, flood)
            output = output_of(result)
            same("the true length", result.output_chars, 2_000 * 100_001)
            holds(len(output) <= _MOST, f"{len(output):,} characters came out")
            prints(await self.run(repl, 2, "'on'"), "'on'\n")
        holds(growth[0] <= _HOST_BYTES, f"the host grew by {growth[0]:,} bytes")

    @within(2 * SECONDS)
    async def test_a_huge_repr_hurts_nobody(self) -> None:
        """Of a gigabyte: it is cut, or a ``MemoryError`` in the cell; the REPL goes on."""
        cells = (
            "class R:\n    def __repr__(self): return 'r' * 1_000_000_000\nkept = 1\nR()",
            "'z' * 1_000_000_000",
        )
        async with self.repl() as repl, _host_growth() as growth:
            for number, code in enumerate(cells, 1):
                result = await self.run(repl, number, code)
                holds(result.ended in ("done", "raised"), f"the cell ended as {result.ended!r}")
                if result.ended == "raised":
                    raises(result, "MemoryError")
                else:
                    holds(result.output, "nothing is shown")
                holds(len(result.output) <= _MOST, f"{len(result.output):,} characters came out")
            prints(await self.run(repl, 3, "kept"), "1\n")
        holds(growth[0] <= _HOST_BYTES, f"the host grew by {growth[0]:,} bytes")

    @within(SECONDS)
    async def test_raw_writes_to_the_standard_descriptors_break_nothing(self) -> None:
        """``os.write(1, …)`` of anything, and a lot of it, beside calls and prints.

        It may be shown after what was printed or be lost. It is not taken for anything else.
        """
        code = (
            "import os\nprint('a')\nfor fd in (1, 2):\n"
            "    for raw in (b'raw', b'\\xff' * 64, b'\\0\\0\\0\\2{}', b'\\n' * 100_000):\n"
            "        os.write(fd, raw)\n    print(llm_query('x'))"
        )
        host = AnsweringHost({"llm_query": lambda a: a["prompt"]})
        first, second = await self.cells(code, "print('b')", host=host)
        holds(output_of(first).startswith("a\nx\nx\n"), f"it printed {first.output[:50]!r}")
        prints(second, "b\n")

    @within(SECONDS)
    async def test_there_is_nothing_to_read(self) -> None:
        """``input()`` raises ``EOFError``, and descriptor 0 is at its end: nothing to wait for."""
        first, second = await self.cells("input('?')", "import os; os.read(0, 100)")
        raises(first, "EOFError")
        prints(second, "b''\n")

    @within(SECONDS)
    async def test_threads_lose_nothing(self) -> None:
        """Eight threads print at once; every line arrives whole."""
        code = (
            "import threading\n"
            "def work(n):\n    for _ in range(100): print(f'{n}' * 9 + '\\n', end='')\n"
            "threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]\n"
            "for t in threads: t.start()\nfor t in threads: t.join()"
        )
        (result,) = await self.cells(code)
        same("the length", result.output_chars, 8_000)
        lines = sorted(output_of(result).splitlines())
        same("the lines", lines, sorted(str(n) * 9 for n in range(8) for _ in range(100)))

    @within(SECONDS)
    async def test_output_is_shown_while_the_cell_runs(self) -> None:
        """To a host that listens: what was printed is heard before the cell has ended."""
        host = AnsweringHost(listens=True)

        async def wait(arguments: dict[str, Any]) -> str:
            try:
                async with asyncio.timeout(SECONDS * self.patience / 3):
                    await host.heard.wait()
            except TimeoutError:
                raise CallFailed("nothing was heard while the cell ran") from None
            return "heard"

        host.answers("llm_query", wait)
        code = "print('first')\nprint(llm_query('x'))"
        (result,) = await self.cells(code, host=host)
        prints(result, "first\nheard\n")
        text = "".join(text for _, text in host.streamed)
        holds(output_of(result).startswith(text), f"what was heard was never printed: {text!r}")
        same("the cells heard of", {cell for cell, _ in host.streamed}, {1})

    @within(SECONDS)
    async def test_nothing_is_sent_to_a_host_that_does_not_listen(self) -> None:
        """Output of a running cell costs something; who does not want it does not pay."""
        host = AnsweringHost({"llm_query": lambda a: "x"})
        code = "for i in range(100): print('line', i, llm_query('x'))"
        (result,) = await self.cells(code, host=host)
        holds(output_of(result).endswith("line 99 x\n"), "the output is not there")
        same("what the host heard", host.streamed, [])


@contextlib.asynccontextmanager
async def _host_growth() -> AsyncIterator[list[int]]:
    """By how many bytes this process grew meanwhile, at most; 0 where that is not told (Linux)."""
    growth = [0]
    before = _resident()

    async def watch() -> None:
        while True:
            growth[0] = max(growth[0], _resident() - before)
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    try:
        yield growth
    finally:
        watching.cancel()


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0
