"""Zygotes: what is forked is fresh, shares the text, and leaves nothing behind whatever dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from abyme.context.documents import Data
from abyme.context.load import load
from abyme.errors import SandboxError
from abyme.sandbox import zygote as zygote_module
from abyme.sandbox import zygotes
from abyme.sandbox.accounts import counted
from abyme.sandbox.base import Repl
from abyme.sandbox.process import ProcessSandbox
from abyme.sandbox.shared_text import SHARED_FROM
from support.repl import TestHost, opened

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
TESTS = Path(__file__).parents[1]


def in_one_loop(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(bounded())


def large(folder: Path) -> Data:
    """A text that is worth sharing, in characters of two bytes."""
    path = folder / "large"
    path.write_text("αβγ\n" * (SHARED_FROM // 7 + 1), encoding="utf-8")
    return load(path, folder=folder / "data")


async def value(repl: Repl, code: str, cell: int = 1) -> str:
    result = await repl.run(cell, code, 30)
    assert result.ok, result.error
    return result.output.strip()


def test_workers_are_children_of_one_warm_process_and_never_used_twice(tmp_path: Path) -> None:
    async def work() -> None:
        box, data = ProcessSandbox(), load("text", folder=tmp_path)
        async with box.workers() as workers:
            seen = set()
            for _ in range(3):
                async with workers.open(data, TestHost(), ()) as repl:
                    pid = int(await value(repl, "import os; os.getpid()"))
                    assert pid == repl.pid
                    seen.add((pid, _parent(pid)))
                    assert await value(repl, "'left' in globals()", 2) == "False"
                    await value(repl, "left = 1", 3)
            assert len({pid for pid, _ in seen}) == 3 and len({parent for _, parent in seen}) == 1

    in_one_loop(work)


def test_a_worker_holds_no_descriptor_but_its_own(tmp_path: Path) -> None:
    """Above all no other worker's socket, although many are forked at once."""

    async def work() -> None:
        box, data = ProcessSandbox(unsafe_local=True), large(tmp_path)
        code = (
            "import os\nlinks = []\n"
            "for number in os.listdir('/proc/self/fd'):\n"
            "    try: links.append(os.readlink(f'/proc/self/fd/{number}'))\n"
            "    except FileNotFoundError: pass  # that of the listing itself\n"
            "links"
        )

        async def open_one() -> list[str]:
            async with workers.open(data, TestHost(), ()) as repl:
                found: list[str] = eval(await value(repl, f"len(context)\n{code}"))
                return found

        async with box.workers() as workers:
            for links in await asyncio.gather(*(open_one() for _ in range(8))):
                sockets = [link for link in links if link.startswith("socket:")]
                pipes = [link for link in links if link.startswith("pipe:")]
                assert len(sockets) == 1, links
                assert len(pipes) == 4 and len(set(pipes)) == 2, "its output, its own wake-up"
                assert not [link for link in links if str(tmp_path) in link], links

    in_one_loop(work)


def test_a_text_is_there_once_for_all_workers_of_a_run(tmp_path: Path) -> None:
    async def work() -> None:
        data = large(tmp_path)
        characters = data.documents[0].bytes // 7 * 4
        code = "len(context), context.count('β'), context[-3:]"
        # Not held, so that a test without rights may look at their memory.
        async with ProcessSandbox(unsafe_local=True).workers() as workers:
            repls = [workers.open(data, TestHost(), ()) for _ in range(6)]
            async with asyncio.TaskGroup() as group:
                opening = [group.create_task(each.__aenter__()) for each in repls]
            opened_ones = [task.result() for task in opening]
            before = opened_ones[0].pid
            said = {await value(repl, code) for repl in opened_ones}
            assert said == {f"({characters}, {characters // 4}, 'βγ\\n')"}
            assert opened_ones[0].pid != before, "another took its place: it has the text"
            assert len({_parent(repl.pid) for repl in opened_ones}) == 1
            taken = sum(counted(_smaps(repl.pid)) for repl in opened_ones)
            private = 6 * 8_000_000  # an interpreter with what it has loaded
            assert taken < 1.4 * 2 * characters + private, "one copy and not six"
            for each in repls:
                await each.__aexit__(None, None, None)

    in_one_loop(work)


def test_what_a_worker_did_before_its_text_was_needed_is_kept(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(large(tmp_path)) as repl:
            await value(repl, "kept = 5")
            assert await value(repl, "kept, len(context) > 1", 2) == "(5, True)"

    in_one_loop(work)


def test_a_text_that_cannot_be_shared_is_built_by_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_built(self: Any, document: Any, limit: int) -> bool:
        return False

    monkeypatch.setattr(zygote_module.Zygote, "build", not_built)

    async def work() -> None:
        async with opened(large(tmp_path)) as repl:
            assert await value(repl, "type(context).__name__, context[:2]") == "('str', 'αβ')"

    in_one_loop(work)


def test_a_zygote_that_died_is_replaced(tmp_path: Path) -> None:
    async def work() -> None:
        data = large(tmp_path)
        async with ProcessSandbox().workers() as workers:
            for name in ("the zygote", "the one that holds the text"):
                async with workers.open(data, TestHost(), ()) as repl:
                    await value(repl, "len(context)")
                    holder = _parent(repl.pid)
                    os.kill(_parent(holder) if name == "the zygote" else holder, signal.SIGKILL)
                    while repl.alive:
                        await asyncio.sleep(0.01)
                    assert (await repl.run(2, "1", 5)).ended == "died"
                async with workers.open(data, TestHost(), ()) as repl:
                    assert await value(repl, "context[:1]") == "'α'"

    in_one_loop(work)


def test_a_zygote_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        data = load("t", folder=tmp_path)
        async with ProcessSandbox().workers() as workers:
            async with workers.open(data, TestHost(), ()) as repl:
                monkeypatch.setattr(zygote_module, "_ANSWER_SECONDS", 0.3)
                os.kill(_parent(repl.pid), signal.SIGSTOP)
                with pytest.raises(SandboxError, match="does not answer"):
                    async with workers.open(data, TestHost(), ()):
                        pass
                while (await zygotes.zygote()).alive and repl.alive:
                    await asyncio.sleep(0.01)
            monkeypatch.setattr(zygote_module, "_ANSWER_SECONDS", 30)
            async with workers.open(data, TestHost(), ()) as repl:
                assert await value(repl, "1") == "1"

    in_one_loop(work)


def test_a_worker_whose_zygote_does_not_answer_can_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with opened(load("t", folder=tmp_path)) as repl:
            monkeypatch.setattr(zygote_module, "_ANSWER_SECONDS", 0.3)
            pid = repl.pid
            os.kill(_parent(pid), signal.SIGSTOP)
        await _until(lambda: _is_gone(pid))

    in_one_loop(work)


def test_a_worker_can_be_closed_where_its_zygote_and_that_ones_own_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with AsyncExitStack() as leaving:
            repl = await leaving.enter_async_context(opened(large(tmp_path)))
            await value(repl, "len(context)")
            holder = _parent(repl.pid)
            pids = (repl.pid, holder, _parent(holder))
            monkeypatch.setattr(zygote_module, "_ANSWER_SECONDS", 0.2)
            monkeypatch.setattr(zygote_module, "_CLOSE_SECONDS", 0.2)
            for pid in pids[1:]:
                os.kill(pid, signal.SIGSTOP)
            try:
                async with asyncio.timeout(20):
                    await leaving.aclose()
            finally:
                os.kill(holder, signal.SIGCONT)  # as it is, it cannot end itself
        await _until(lambda: all(_is_gone(pid) for pid in pids))

    in_one_loop(work)


def test_what_unconfined_code_started_ends_with_its_worker(tmp_path: Path) -> None:
    started = "import subprocess\nsubprocess.Popen(['sleep', '1000'], start_new_session=True).pid"
    box = ProcessSandbox(unsafe_local=True)

    async def work() -> None:
        async with opened(load("t", folder=tmp_path), sandbox=box) as repl:
            pid = int(await value(repl, started))
            assert not _is_gone(pid)
            await repl.run(2, "import os; os._exit(0)", 5)
            await _until(lambda: _is_gone(pid))

    in_one_loop(work)


FOREIGN = """
import asyncio, ctypes, sys
sys.path.insert(0, {tests!r})
from abyme.context.documents import Data
from abyme.sandbox.process import ProcessSandbox
from support.repl import TestHost

async def main():
    box, data = ProcessSandbox(unsafe_local=True, grace_seconds=0.1), Data("documents", ())
    async with box.workers() as workers:
        async with workers.open(data, TestHost(), ()) as repl:
            become = "import os, time; os.setresuid(65534, 65534, 65534)\\nos.getppid()"
            before = (await repl.run(1, become, 20)).output
            ended = (await repl.run(2, "time.sleep(0.6); os._exit(0)", 0.1)).ended
        async with workers.open(data, TestHost(), ()) as repl:
            after = (await repl.run(1, "import os; os.getppid()", 20)).output
    print(ended, before == after, before.strip().isdigit())

assert ctypes.CDLL(None).prctl(24, 5, 0, 0, 0) == 0  # what it starts never has CAP_KILL
asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_worker_that_is_another_users_by_now_does_not_end_its_zygote(tmp_path: Path) -> None:
    """Neither its deadline's interrupt nor the signal to kill it may be sent to it."""
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN.format(tests=str(TESTS))],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "died True True\n", done.stderr


# -- whatever dies ---------------------------------------------------------------------------------

HOST = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from abyme.context.load import load
from abyme.sandbox.process import ProcessSandbox
from support.repl import TestHost

async def one(workers, data, number):
    while True:
        try:
            async with workers.open(data, TestHost(), ()) as repl:
                await repl.run(1, "kept = context[:number]".replace("number", str(number)), 5)
                await repl.run(2, "import time; time.sleep(0.02)", 5)
        except Exception:
            await asyncio.sleep(0.01)

async def main():
    data = load(Path({text!r}), folder=Path({text!r}).parent / "data")
    print("begun", flush=True)
    async with ProcessSandbox().workers() as workers:
        await asyncio.gather(*(one(workers, data, number) for number in range(4)))

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_left_behind_whatever_is_killed_when(tmp_path: Path, seed: int) -> None:
    """Killed at a random moment: some of the processes that the host started, then the host.

    All that loses its parent comes to a process of the test's own, which sees whether it ends.
    """
    large(tmp_path)
    script = tmp_path / "host.py"
    script.write_text(HOST.format(tests=str(TESTS), text=str(tmp_path / "large")))
    watcher = textwrap.dedent(
        f"""
        import ctypes, os, random, signal, subprocess, sys, time
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        chance = random.Random({seed})
        def below(pid):
            try:
                listed = open(f"/proc/{{pid}}/task/{{pid}}/children").read().split()
            except OSError:
                return []
            return [each for child in map(int, listed) for each in (child, *below(child))]
        host = subprocess.Popen([sys.executable, {str(script)!r}], stdout=subprocess.PIPE)
        host.stdout.readline()
        for _ in range(chance.randrange(4)):
            time.sleep(chance.random() * 0.3)
            found = below(host.pid)
            if found:
                try: os.kill(chance.choice(found), signal.SIGKILL)
                except ProcessLookupError: pass
        time.sleep(chance.random() * 0.5)
        seen = [host.pid, *below(host.pid)]
        if chance.random() < 0.5:
            for pid in chance.sample(seen, len(seen) // 2):
                try: os.kill(pid, signal.SIGKILL)
                except ProcessLookupError: pass
        host.kill()
        host.stdout.close()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    time.sleep(0.01)
            except ChildProcessError:
                print("nothing is left of", len(seen))
                break
        else:
            print("left:", [open(f"/proc/{{pid}}/cmdline").read() for pid in below(os.getpid())])
        """
    )
    shared = set(Path("/dev/shm").iterdir())
    done = subprocess.run(
        [sys.executable, "-c", watcher], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("nothing is left"), done.stdout + done.stderr
    assert not [name for name in set(Path("/dev/shm").iterdir()) - shared if "abyme" in name.name]
    assert {path.name for path in tmp_path.iterdir()} <= {"large", "data", "host.py"}


def test_a_host_whose_processes_are_killed_loses_no_descriptor(tmp_path: Path) -> None:
    chance = random.Random(7)

    async def work() -> None:
        box, data = ProcessSandbox(), large(tmp_path)

        async def round_() -> None:
            async with box.workers() as workers, workers.open(data, TestHost(), ()) as repl:
                await repl.run(1, "len(context)", 30)
                pid = repl.pid
                line = [pid, _parent(pid), _parent(_parent(pid))]
                os.kill(chance.choice(line), signal.SIGKILL)
                await repl.run(2, "1", 5)

        await round_()
        before = _descriptors()
        for _ in range(6):
            await round_()
        assert _descriptors() == before

    in_one_loop(work)


def test_a_fork_of_the_host_does_not_keep_its_workers_alive(tmp_path: Path) -> None:
    code = textwrap.dedent(
        f"""
        import os, sys, time
        sys.path.insert(0, {str(TESTS)!r})
        from support.runs import cell, scripted_rlm
        rlm = scripted_rlm({str(tmp_path)!r}, [cell("import os; FINAL(os.getppid())")])
        zygote = int(rlm.completion("q", "text").value)
        copy = os.fork()
        if copy == 0:
            time.sleep(600)
        print(zygote, copy, flush=True)
        os.kill(os.getpid(), 9)
        """
    )
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    try:
        zygote, copy = map(int, host.stdout.readline().split())
        deadline = time.monotonic() + 30
        while not _is_gone(zygote):
            assert time.monotonic() < deadline, "the zygote outlives its host"
            time.sleep(0.01)
    finally:
        host.wait(30)
        os.kill(copy, signal.SIGKILL)
        host.stdout.close()


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def _smaps(pid: int) -> bytes:
    return Path(f"/proc/{pid}/smaps_rollup").read_bytes()


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except OSError:
        return True


async def _until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


def test_a_worker_that_nobody_asked_for_ends_with_its_run(tmp_path: Path) -> None:
    """One is forked ahead; a run may end before it needs one, at whatever moment."""

    async def work() -> None:
        zygotes.keep_warm()
        async with opened(large(tmp_path)) as repl:
            zygote = _parent(repl.pid)
        for pause in (0.0, 0.001, 0.01, 0.1):
            async with ProcessSandbox().workers():
                await asyncio.sleep(pause)
            listed = Path(f"/proc/{zygote}/task/{zygote}/children").read_text()
            assert not listed.split()
        await zygotes.close()

    in_one_loop(work)


def has_ended(pid: int) -> None:
    """Kill a child and wait until it is dead, without burying it."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_zygote_found_dead_by_the_order_to_fork_leaks_nothing() -> None:
    """That the socket is closed is noticed while the order is sent, before any reply."""

    async def work() -> None:
        async with zygotes.in_use():
            zygote = await zygotes.zygote()
            has_ended(zygote._child.pid)
            before = open_files()
            with pytest.raises(SandboxError, match="is gone"):
                await zygote.fork()
            assert open_files() <= before

    in_one_loop(work)
