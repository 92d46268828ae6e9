"""The worker at the far end of a command or a pipe: the same REPL, held by something else."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from abyme.context.load import load
from abyme.errors import DataChanged
from abyme.inside.lockdown import LAYERS
from abyme.sandbox.stream import MOUNT_FROM
from abyme.types import CellResult
from support.boxes import BOXES, box
from support.processes import wait_until_gone, workers_below
from support.repl import TestHost, opened, run_cells

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
TESTS = Path(__file__).parents[1]
SLEEP = "import time; time.sleep(99)"


def within(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await work()

    asyncio.run(bounded())


def value(result: CellResult) -> str:
    assert result.ok, result.error
    return result.output.strip()


@pytest.mark.parametrize("kind", BOXES)
def test_cells_run_as_they_do_anywhere(kind: str, tmp_path: Path) -> None:
    cells = [
        "import os\nkept = [1]\nprint('printed')\nos.write(1, b'raw')\nkept",
        "kept.append(2); kept",
        "1 / 0",
        "[llm_query(f'{n}') for n in range(3)], llm_query_batched(['4'] * 300)[-1]",
        "import sys; (sys.stdin.read(), os.read(0, 9), sys.flags.hash_randomization)",
        "sorted(name for name in os.environ if name not in ('PATH', 'LANG', 'PWD'))",
        "raise SystemExit(3)",
        "FINAL(len(context))",
    ]
    host = TestHost(
        {
            "llm_query": lambda given: given["prompt"] + "!",
            "llm_query_batched": lambda given: [{"value": each + "!"} for each in given["prompts"]],
        }
    )
    os.environ["ABYME_TEST_SECRET"] = "sk-secret"
    try:
        results = run_cells(tmp_path, cells, sandbox=box(kind, tmp_path), host=host)
    finally:
        del os.environ["ABYME_TEST_SECRET"]
    first, second, third, calls, streams, environment, left, final = results
    assert first.output.startswith("printed\n")
    # Nobody reads a pipe's standard error.
    assert ("raw" in first.output.partition("[written")[2]) is (kind != "pipe")
    assert value(second) == "[1, 2]"
    assert third.error is not None and third.error.type == "ZeroDivisionError"
    assert value(calls) == "(['0!', '1!', '2!'], '4!')"
    assert value(streams) == "('', b'', 0)"
    assert "SECRET" not in value(environment) and "HOME" not in value(environment)
    assert left.ended == "exited"
    assert final.finish is not None and final.finish.value == 10
    assert first.cpu_seconds < 60 and first.peak_bytes > 1 << 20


@pytest.mark.parametrize("kind", BOXES)
def test_what_holds_is_reported(kind: str, tmp_path: Path) -> None:
    async def work() -> None:
        sandbox = box(kind, tmp_path)
        async with opened(load("t", folder=tmp_path / "d"), sandbox=sandbox) as repl:
            boundary = kind.partition("-")[0]
            outer = () if boundary in ("argv", "shell", "pipe") else (boundary,)
            assert repl.layers[: len(outer)] == outer
            inner = [layer.partition(" ")[0] for layer in repl.layers[len(outer) :]]
            assert set(inner) <= {*LAYERS, "no"} and "seccomp" in inner

    within(60, work)


@pytest.mark.parametrize("kind", BOXES)
def test_documents_are_read_however_they_come(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    large = "".join(f"line {n} αβγ {'needle' if n == 70_000 else ''}\n" for n in range(90_000))
    (folder / "large.txt").write_text(large)
    for n in range(200):
        (folder / f"small{n:03}.txt").write_text(f"small {n}\n" * (n % 7 + 1))
    (folder / "middle.txt").write_bytes(b"\xc3( middle " * 9000)
    cells = [
        "len(context), sum(len(text) for text in context.values())",
        "context['large.txt'] == ''.join(f\"line {n} αβγ {'needle' if n == 70_000 else ''}\\n\" "
        "for n in range(90_000))",
        "grep('needle')[0].line, search('needle')[0].document",
        "context['small005.txt'], context['middle.txt'][:4]",
        "FINAL('x', quotes=['line 70000 αβγ needle'])",
    ]
    sandbox = box(kind, tmp_path)
    sizes, same, found, texts, final = run_cells(tmp_path, cells, context=folder, sandbox=sandbox)
    texts_there = [path.read_bytes().decode(errors="surrogateescape") for path in folder.iterdir()]
    assert value(sizes) == f"({len(texts_there)}, {sum(map(len, texts_there))})"
    assert value(same) == "True"
    assert value(found) == "(70001, 'large.txt')"
    assert value(texts).startswith("('small 5\\nsmall 5\\n")
    assert final.finish is not None
    (quote,) = final.finish.quotes
    assert (quote.document, quote.line) == ("large.txt", 70_001)
    raw = (folder / "large.txt").read_bytes()
    assert raw[quote.start : quote.end].decode() == "line 70000 αβγ needle"


@pytest.mark.parametrize("kind", ["argv", "shell", "bubblewrap-mount", "docker"])
def test_lazy_texts_are_read_however_they_come(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    text = "".join(f"{n} {'é' * (n % 50)} word{n % 977}\n" for n in range(60_000))
    path.write_text(text)
    cells = [
        "type(context).__name__, len(context), context.count('word97'), context.find('word976\\n')",
        "context.rfind('word0\\n'), context[1_000_000:1_000_020], context[-30:]",
        "sum(1 for line in context), [m.start() for m in context.finditer('word12\\\\b')][-1]",
        "[context.index(f'{n} ') >= 0 for n in (59_999, 3, 31_000)], 'absent' in context",
    ]
    sandbox = box(kind, tmp_path, text_bytes=1 << 20)
    first, second, third, fourth = run_cells(tmp_path, cells, context=path, sandbox=sandbox)
    counted = (len(text), text.count("word97"), text.find("word976\n"))
    assert value(first) == repr(("LazyText", *counted))
    assert value(second) == repr((text.rfind("word0\n"), text[1_000_000:1_000_020], text[-30:]))
    last = [found.start() for found in re.finditer(r"word12\b", text)][-1]
    assert value(third) == repr((text.count("\n"), last))
    assert value(fourth) == "([True, True, True], False)"


@pytest.mark.parametrize("kind", ["argv", "shell", "bubblewrap", "docker", "pipe"])
def test_a_deadline_interrupts_by_frame_and_keeps_what_there_is(kind: str, tmp_path: Path) -> None:
    async def work() -> None:
        data = load("t", folder=tmp_path / "d")
        async with opened(data, sandbox=box(kind, tmp_path)) as repl:
            assert (await repl.run(1, "kept = 5", 30)).ok
            # Python, a call that waits, C code that looks for signals and lets no thread run.
            stuck = "import re; re.match(r'(a+)+$', 'a' * 40 + 'b')"
            for number, endless in enumerate(("while True: pass", SLEEP, stuck), 2):
                assert (await repl.run(number, endless, 0.2)).ended == "interrupted", endless
            assert value(await repl.run(6, "kept", 30)) == "5"
            assert (
                value(await repl.run(7, "import time; time.sleep(0.3); 'whole'", 30)) == "'whole'"
            )

    within(60, work)


@pytest.mark.parametrize("kind", ["argv", "bubblewrap", "docker", "pipe"])
def test_what_never_lets_go_is_killed_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    async def work() -> None:
        data = load("t", folder=tmp_path / "d")
        async with opened(data, sandbox=box(kind, tmp_path)) as repl:
            mine = workers_below()
            assert mine
            result = await repl.run(1, "sum(iter(int, 1))", 0.2)
            assert result.ended == "died" and not repl.alive
            assert result.error is not None and "was killed" in result.error.message
            assert (await repl.run(2, "1", 5)).ended == "died"
        wait_until_gone(mine)

    within(60, work)


@pytest.mark.parametrize("kind", ["argv", "bubblewrap", "docker", "pipe"])
def test_a_cancelled_cell_ends_with_its_worker(kind: str, tmp_path: Path) -> None:
    async def work() -> None:
        data = load("t", folder=tmp_path / "d")
        async with opened(data, sandbox=box(kind, tmp_path)) as repl:
            mine = workers_below()
            assert mine
            task = asyncio.create_task(repl.run(1, "import time; time.sleep(99)", 90))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        wait_until_gone(mine)

    within(60, work)


@pytest.mark.parametrize("kind", ["argv", "bubblewrap", "docker", "pipe"])
@pytest.mark.parametrize("code", ["import time; time.sleep(99)", "while True: pass"])
def test_nothing_outlives_a_host_that_is_killed(kind: str, code: str, tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from pathlib import Path
from abyme.context.load import load
from support.boxes import box
from support.repl import opened

async def main():
    place = Path({str(tmp_path)!r})
    async with opened(load("t", folder=place / "d"), sandbox=box({kind!r}, place)) as repl:
        print("ready", flush=True)
        await repl.run(1, {code!r}, 90)

asyncio.run(main())
"""
    box(kind, tmp_path)  # skips
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{os.environ['PYTHONPATH']}"}
    host = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert host.stdout is not None
    try:
        assert host.stdout.readline() == "ready\n"
        time.sleep(0.2)
        mine = workers_below(host.pid)
        assert mine
    finally:
        host.send_signal(signal.SIGKILL)
        host.wait(20)
        host.stdout.close()
    wait_until_gone(mine)


@pytest.mark.parametrize("kind", ["argv", "shell", "bubblewrap-mount", "docker"])
def test_changed_data_ends_the_run(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("x" * (MOUNT_FROM + 1))

    async def work() -> None:
        data = load(path, folder=tmp_path / "d")
        async with opened(data, sandbox=box(kind, tmp_path)) as repl:
            assert value(await repl.run(1, "len(context)", 30)) == str(MOUNT_FROM + 1)
            with path.open("a") as file:
                file.write("y")
            with pytest.raises(DataChanged):
                await repl.run(2, "context[:5]", 30)

    within(60, work)
