"""A cell's deadline: interrupted with state kept, killed when it will not stop."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from abyme.context.load import load
from abyme.errors import DataChanged
from abyme.sandbox.process import ProcessSandbox
from support.repl import TestHost, opened, run_cell, run_cells


@pytest.mark.parametrize(
    "loop",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "import re; re.match(r'(a+)+$', 'a' * 40 + 'b')",
        "import threading; threading.Event().wait()",
        "import asyncio\nawait asyncio.sleep(60)",
        "import asyncio; asyncio.run(asyncio.sleep(60))",
        "import select; select.select([], [], [], 60)",
        "input_never = [None for _ in iter(int, 1)]",
    ],
)
def test_a_loop_is_interrupted_and_state_is_kept(tmp_path: Path, loop: str) -> None:
    first, second = run_cells(tmp_path, [f"kept = 5\n{loop}", "print(kept)"], seconds=0.4)
    assert first.ended == "interrupted"
    assert second.output == "5\n"


def test_a_program_that_unconfined_code_waits_for_is_interrupted(tmp_path: Path) -> None:
    code = "kept = 5\nimport subprocess; subprocess.run(['sleep', '60'])"
    box = ProcessSandbox(unsafe_local=True)
    first, second = run_cells(tmp_path, [code, "print(kept)"], seconds=0.4, sandbox=box)
    assert first.ended == "interrupted"
    assert second.output == "5\n"


@pytest.mark.parametrize(
    "loop",
    [
        "import time\nwhile True:\n    try: time.sleep(1)\n    except BaseException: pass",
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
        "sum(iter(int, 1))",
    ],
)
def test_what_will_not_stop_is_killed(tmp_path: Path, loop: str) -> None:
    result = run_cell(tmp_path, loop, seconds=0.3)
    assert result.ended == "died" and result.error is not None
    assert "was killed" in result.error.message


def test_the_clock_stops_while_the_cell_waits_for_the_host(tmp_path: Path) -> None:
    async def slow(arguments: dict[str, Any]) -> str:
        await asyncio.sleep(1.2)
        return "late"

    result = run_cell(tmp_path, "llm_query('x')", host=TestHost({"llm_query": slow}), seconds=0.5)
    assert result.output == "'late'\n"


def test_calls_in_flight_are_cancelled_with_the_repl(tmp_path: Path) -> None:
    cancelled: list[bool] = []

    async def hang(arguments: dict[str, Any]) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return ""

    async def main() -> None:
        data = load("text", folder=tmp_path / "data")
        host = TestHost({"llm_query": hang})
        async with opened(data, host) as repl:
            running = asyncio.create_task(repl.run(1, "llm_query('x')", 30))
            async with asyncio.timeout(60):
                while not host.calls:
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others

    asyncio.run(main())
    assert cancelled == [True]


def test_the_variables_can_be_looked_at_after_a_cancelled_cell(tmp_path: Path) -> None:
    async def main() -> str:
        data = load("text", folder=tmp_path / "data")
        async with opened(data) as repl:
            running = asyncio.create_task(repl.run(1, "best = 'so far'\nwhile True: pass", 30))
            await asyncio.sleep(0.5)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            found = await repl.look("best")
            assert await repl.look("nosuch") is None
            return found.text if found else ""

    assert asyncio.run(main()) == "so far"


def test_no_descriptor_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("text")
    run_cell(tmp_path, "1")
    before = _descriptors()
    for _ in range(5):
        run_cells(tmp_path, ["len(context)", "import os; os._exit(0)"], context=tmp_path / "f")
    assert _descriptors() == before


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("change", ["grow", "shrink", "replace", "delete"])
def test_data_that_changes_under_the_run_ends_it(tmp_path: Path, change: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text("original\n" * 10_000)

    async def main() -> None:
        data = load(path, folder=tmp_path / "data")
        async with opened(data) as repl:
            assert (await repl.run(1, "len(context)", 30)).output == "90000\n"
            time.sleep(0.01)
            if change == "grow":
                with path.open("a") as file:
                    file.write("more\n")
            elif change == "shrink":
                os.truncate(path, 10)
            elif change == "replace":
                other = tmp_path / "other"
                other.write_text("original\n" * 10_000)
                other.replace(path)
            else:
                path.unlink()
            await repl.run(2, "grep('origin')[:1]", 30)

    with pytest.raises(DataChanged, match=r"log\.txt"):
        asyncio.run(main())
