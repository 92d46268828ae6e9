"""Checkpoints between real workers: taken, carried, given up, and what a hostile one can do."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from abyme.context.load import load
from abyme.errors import SandboxError
from abyme.sandbox.base import NoCheckpoint, Repl
from abyme.sandbox.process import ProcessSandbox
from support.repl import TestHost, opened

CONFINED = ProcessSandbox(grace_seconds=20)
UNCONFINED = ProcessSandbox(grace_seconds=20, unsafe_local=True)


@asynccontextmanager
async def worker(
    folder: Path,
    box: ProcessSandbox = CONFINED,
    host: TestHost | None = None,
    context: Any = "text",
) -> AsyncIterator[Repl]:
    data = load(context, folder=Path(tempfile.mkdtemp(dir=folder)))
    async with asyncio.timeout(120), opened(data, host, sandbox=box) as repl:
        yield repl


async def moved(folder: Path, cells: list[str], then: str, **options: Any) -> str:
    """What ``then`` prints in a worker made of the checkpoint of one that ran ``cells``."""
    async with worker(folder, **options) as first:
        for number, code in enumerate(cells, 1):
            result = await first.run(number, code, 30)
            assert result.ended == "done", result
        data = await first.checkpoint()
    async with worker(folder, **options) as second:
        await second.restore(data)
        return (await second.run(9, then, 30)).output


async def refused(folder: Path, code: str) -> str:
    """Why there is no checkpoint after ``code``; the worker goes on as if none had been asked."""
    async with worker(folder) as repl:
        assert (await repl.run(1, f"kept = 5\n{code}", 30)).ended == "done"
        with pytest.raises(NoCheckpoint) as caught:
            await repl.checkpoint()
        assert (await repl.run(2, "print(kept)", 30)).output == "5\n"
        return str(caught.value)


def test_a_namespace_moves_to_another_worker(tmp_path: Path) -> None:
    cells = [
        "rows = [f'row {i} of {context}' for i in range(50_000)]\nwhole = context",
        "def count(): return len(rows) + extra",
        "extra = 1\nfound = grep('te')\ntry: llm_query('x')\nexcept CallError as e: failed = e",
    ]
    then = (
        "extra = 2\nprint(count(), rows[-1], whole is globals()['con' + 'text'], found[0].text,"
        " type(failed) is CallError, search('text')[0].text)"
    )
    output = asyncio.run(moved(tmp_path, cells, then))
    assert output == "50002 row 49999 of text True text True text\n"


def test_texts_of_documents_are_named_and_not_carried(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.txt").write_text(name * 3_000_000)
    box = ProcessSandbox(text_bytes=2_000_000)

    async def main() -> tuple[int, str]:
        async with worker(tmp_path, box, context=folder) as first:
            await first.run(1, "a, b = (context[n] for n in context.names)\nalso = a", 30)
            data = await first.checkpoint()
        async with worker(tmp_path, box, context=folder) as second:
            await second.restore(data)
            code = "print(type(a).__name__, a is also is context['a.txt'], len(b), b[5])"
            return len(data), (await second.run(2, code, 30)).output

    size, output = asyncio.run(main())
    assert output == "LazyText True 3000000 b\n" and size < 100_000


def test_without_landlock_it_works_as_well(tmp_path: Path) -> None:
    class Strict(ProcessSandbox, frozen=True, kw_only=True):
        def asked_layers(self) -> tuple[str, ...]:
            from abyme.inside.lockdown import LAYERS, STRICT

            return (*(layer for layer in LAYERS if layer != "landlock"), STRICT)

    box = Strict(grace_seconds=20)
    assert asyncio.run(moved(tmp_path, ["def f(): return x", "x = 3"], "f()", box=box)) == "3\n"


@pytest.mark.parametrize(
    "code, reason",
    [
        ("g = (i for i in range(3))", "g: .*generator"),
        ("import textwrap; textwrap.dedent = print", "a cell changed a module: textwrap.dedent"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), "
            "name='busy', daemon=True).start()",
            "threads of a cell still run: busy",
        ),
        (
            "import asyncio\nlater = asyncio.ensure_future(asyncio.sleep(60))\n"
            "await asyncio.sleep(0)\nx = 1",
            "1 tasks of asyncio",
        ),
        ("big = ['x' * 1_000_000 + str(i) for i in range(80)]", "more than 64,000,000 bytes"),
        ("globals()['\\ud800'] = (i for i in range(3))", r"\?: .*generator"),
        ("globals()['n' * 5_000] = (i for i in range(3))", "nnnnn"),
        ("class K:\n    def __reduce__(self): raise SystemExit(3)\nk = K()", "SystemExit"),
    ],
)
def test_why_there_is_none(tmp_path: Path, code: str, reason: str) -> None:
    assert re.search(reason, asyncio.run(refused(tmp_path, code)))


def test_a_call_under_way_forbids_one(tmp_path: Path) -> None:
    async def slow(arguments: dict[str, Any]) -> str:
        await asyncio.sleep(60)
        return ""

    async def main() -> str:
        host = TestHost({"llm_query": slow})
        async with worker(tmp_path, host=host) as repl:
            code = (
                "import threading\n"
                "threading.Thread(target=llm_query, args=('x',), daemon=True).start()"
            )
            await repl.run(1, code, 30)
            while not host.calls:
                await asyncio.sleep(0.01)
            with pytest.raises(NoCheckpoint) as caught:
                await repl.checkpoint()
            return str(caught.value)

    assert asyncio.run(main()) == "a call is still under way"


@pytest.mark.parametrize(
    "code",
    [
        "rows = [str(i) for i in range(3_000_000)]",
        "import time\nclass K:\n    def __reduce__(self): time.sleep(60)\nk = K()",
        "import time\nclass K:\n    def __reduce__(self):\n        while True:\n"
        "            try: time.sleep(60)\n            except KeyboardInterrupt: raise\nk = K()",
    ],
)
def test_given_up_when_a_cell_comes(tmp_path: Path, code: str) -> None:
    async def main() -> None:
        async with worker(tmp_path) as repl:
            await repl.run(1, f"kept = 5\n{code}", 60)
            for wait in (0.0, 0.05, 0.2):
                taking = asyncio.create_task(repl.checkpoint())
                await asyncio.sleep(wait)
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)
                result = await repl.run(2, "print(kept)", 30)
                assert (result.ended, result.output) == ("done", "5\n")

    asyncio.run(main())


def test_one_that_will_not_be_given_up_ends_the_worker(tmp_path: Path) -> None:
    code = (
        "import time\nclass K:\n    def __reduce__(self):\n        while True:\n"
        "            try: llm_query('begun'); time.sleep(60)\n"
        "            except BaseException: pass\nk = K()"
    )

    async def main() -> None:
        host = TestHost({"llm_query": lambda _: "yes"})
        async with worker(tmp_path, ProcessSandbox(grace_seconds=0.3), host) as repl:
            await repl.run(1, code, 30)
            taking = asyncio.create_task(repl.checkpoint())
            while not host.calls:
                await asyncio.sleep(0.01)
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
            assert not repl.alive
            with pytest.raises(SandboxError):
                await repl.checkpoint()

    asyncio.run(main())


HOSTILE = """
class Evil:
    def __reduce__(self):
        return exec, ({code!r},)
evil = Evil()
"""
ATTEMPTS = {
    "writes a file": "open({mark!r}, 'w').write('x')",
    "starts a program": "import os; os.system('touch ' + {mark!r})",
    "connects": ("import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind({mark!r})"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
@pytest.mark.parametrize("box", [CONFINED, UNCONFINED], ids=["confined", "unconfined"])
def test_a_hostile_checkpoint_acts_only_where_nothing_holds_the_worker(
    tmp_path: Path, box: ProcessSandbox, attempt: str
) -> None:
    mark = tmp_path / "mark"
    code = HOSTILE.format(code=attempt.format(mark=str(mark)))

    async def main() -> None:
        async with worker(tmp_path, box) as first:
            await first.run(1, code, 30)
            data = await first.checkpoint()
            assert not mark.exists(), "neither taking it nor having it on the host does anything"
        async with worker(tmp_path, box) as second:
            try:
                await second.restore(data)
            except NoCheckpoint:
                assert box is CONFINED

    asyncio.run(main())
    assert mark.exists() == (box is UNCONFINED)


@pytest.mark.parametrize(
    "code, why",
    [
        ("import os; os._exit(3)", "status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    ],
)
def test_a_hostile_checkpoint_may_end_the_worker_it_is_loaded_in(
    tmp_path: Path, code: str, why: str
) -> None:
    async def main() -> None:
        async with worker(tmp_path) as first:
            await first.run(1, HOSTILE.format(code=code), 30)
            data = await first.checkpoint()
            async with worker(tmp_path) as second:
                with pytest.raises(SandboxError):
                    await second.restore(data)
                assert not second.alive
            assert (await first.run(2, "print(1)", 30)).output == "1\n"

    asyncio.run(main())


@pytest.mark.parametrize("data", [b"", b"x", b"abyme checkpoint 1, nothing 0\n" * 30_000])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, data: bytes) -> None:
    async def main() -> None:
        async with worker(tmp_path) as repl:
            with pytest.raises(NoCheckpoint, match="another Python"):
                await repl.restore(data)

    asyncio.run(main())


FORGE = """
import gc, json, os, socket, struct
sockets = [o for o in gc.get_objects() if type(o) is socket.socket]
end = next(o.fileno() for o in sockets if o.family == socket.AF_UNIX)
del sockets
def forge(**frame):
    body = json.dumps(frame).encode()
    os.write(end, struct.pack('>I', len(body)) + body)
class Evil:
    def __reduce__(self):
        {code}
        return int, ()
evil = Evil()
"""


@pytest.mark.parametrize(
    "code",
    [
        "forge(t='checkpoint', id=1, bytes=70_000_000, seconds=0.1, reason='')",
        "forge(t='checkpoint', id=1, bytes=-1, seconds=0.1, reason='')",
        "forge(t='checkpoint', id=1, bytes=10, seconds=0.1, reason='r' * 5000)",
        "forge(t='checkpoint', id=7, bytes=10, seconds=0.1, reason='')",
        "forge(t='checkpoint', id=1)",
        "forge(t='piece', id=1, data='')",
        "forge(t='restored', id=1, reason='')",
        "forge(t='checkpoint', id=1, bytes=10, reason=''); forge(t='piece', id=2, data='AAAA')",
        "forge(t='checkpoint', id=1, bytes=9, reason=''); forge(t='piece', id=2, data='A' * 10**6)",
        "forge(t='checkpoint', id=1, bytes=9, reason=''); forge(t='piece', id=2, data='é')",
        "[forge(t='checkpoint', id=1, bytes=9, reason='') for _ in range(3)]",
    ],
)
def test_forged_frames_end_that_worker_and_no_other(tmp_path: Path, code: str) -> None:
    async def main() -> None:
        async with worker(tmp_path) as first, worker(tmp_path) as second:
            result = await first.run(1, FORGE.format(code=code), 30)
            assert result.ended == "done", result
            assert (await second.run(1, "x = 1", 30)).ended == "done"
            with pytest.raises(SandboxError, match=r"protocol|not of its size"):
                await first.checkpoint()
            assert not first.alive
            assert await second.checkpoint()

    asyncio.run(main())


def test_frames_that_nobody_asked_for_end_the_worker(tmp_path: Path) -> None:
    code = (
        FORGE.format(code="pass") + "\nforge(t='piece', id=0, data='')\nimport time; time.sleep(60)"
    )

    async def main() -> None:
        async with worker(tmp_path) as repl:
            result = await repl.run(1, code, 30)
            assert result.ended == "died" and result.error is not None
            assert "not asked for" in result.error.message

    asyncio.run(main())
