"""What attacks on the sandbox found, each as it was found."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from abyme.context.load import load
from abyme.errors import ConfigError, DataChanged, SandboxError
from abyme.events import Checkpointed, RunStarted
from abyme.journal.reader import read
from abyme.sandbox.hello import hello
from abyme.sandbox.memory import limit_files
from abyme.sandbox.process import ProcessSandbox
from abyme.sandbox.shared_text import SHARED_FROM
from support.repl import TestHost, opened, run_cell, run_cells
from support.runs import ask, cell, events_of, of_kind

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")


def test_a_checkpoint_that_is_a_text_of_the_journal_takes_none_away(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are dropped; one with the content of a cell's code must not drop that."""
    monkeypatch.setattr("abyme.checkpoints.DUE_SECONDS", 0.0)
    forging = (
        "import gc, linecache\n"
        "own = ''.join(linecache.getlines('<cell 1>'))[:-1].encode()\n"
        "saving = next(o for o in gc.get_objects() if type(o).__name__ == 'Saving')\n"
        "def forged(*given): saving._data = bytearray(own)\n"
        f"saving._dump = forged  # {'long ' * 600}"
    )

    def patient(request: Any) -> str:
        time.sleep(1.0)
        return cell("FINAL('done')")

    answer = ask(runs, [cell(forging), patient])
    events = events_of(runs, answer)
    assert answer.status == "complete"
    taken = of_kind(events, Checkpointed)
    assert taken, "the forged one was taken"
    assert len(list(read(runs / answer.run))) == len(events), "and the journal is whole"


def test_a_text_that_changes_after_it_was_built_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a" * (SHARED_FROM + 1))

    async def work() -> None:
        async with opened(load(path, folder=tmp_path / "data")) as repl:
            assert (await repl.run(1, "len(context)", 30)).ok
            path.write_bytes(b"b" * (SHARED_FROM + 2))
            with pytest.raises(DataChanged):
                await repl.run(2, "context.count('b')", 30)

    asyncio.run(asyncio.wait_for(work(), 60))


def test_a_worker_that_grows_between_cells_is_the_one_that_goes(tmp_path: Path) -> None:
    growing = (
        "import threading, time\n"
        "def grow():\n"
        "    global held\n"
        "    time.sleep(0.5)\n"
        "    held = bytearray(b'x') * 500_000_000\n"
        "threading.Thread(target=grow, daemon=True).start()"
    )

    async def work() -> None:
        data = load("text", folder=tmp_path)
        box = ProcessSandbox(tree_bytes=300_000_000)
        async with (
            box.workers() as workers,
            workers.open(data, TestHost(), ()) as idle,
            workers.open(data, TestHost(), ()) as honest,
        ):
            assert (await idle.run(1, growing, 30)).ok
            result = await honest.run(1, "import time; time.sleep(4); 'fine'", 30)
            assert result.output == "'fine'\n" and not idle.alive

    asyncio.run(asyncio.wait_for(work(), 60))


def test_blocked_signals_of_the_thread_that_starts_it_are_not_a_workers(tmp_path: Path) -> None:
    blocked = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGIO}
    cells = ["kept = 5\nwhile True: pass", "kept", "import os; os._exit(3)"]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        first, second, third = run_cells(tmp_path, cells, seconds=0.4)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert (first.ended, second.output, third.ended) == ("interrupted", "5\n", "died")
    assert third.error is not None and "status 3" in third.error.message


def test_descriptors_that_are_all_kept_are_an_error_in_the_cell(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number in range(3):
        (tmp_path / "a" / f"{number}.txt").write_text(f"text {number}")
    cells = [
        "import os\nkept = []\ntry:\n    while True: kept.append(os.dup(1))\nexcept OSError: pass",
        "context['1.txt']",
        "for descriptor in kept: os.close(descriptor)\ncontext['1.txt']",
    ]
    _, without, freed = run_cells(tmp_path, cells, context=tmp_path / "a")
    assert without.error is not None and without.error.type == "OSError"
    assert "no descriptor left" in without.error.message
    assert freed.output == "'text 1'\n"


def test_a_redirect_that_was_not_undone_hides_nothing_later(tmp_path: Path) -> None:
    cells = [
        "import io, sys\nsys.stdout = io.StringIO()\nprint('a')\n1 / 0",
        "print('hello')\n6 * 7",
        "sys.displayhook = None",
        "'shown'",
    ]
    first, second, third, fourth = run_cells(tmp_path, cells)
    assert "sys.stdout" in first.notes[0] and second.output == "hello\n42\n"
    assert "sys.displayhook" in third.notes[0] and fourth.output == "'shown'\n"


def test_addresses_are_bounded_because_page_tables_are_not(tmp_path: Path) -> None:
    code = (
        "import mmap\n"
        "ways = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE\n"
        "kept = [mmap.mmap(-1, 1 << 36, flags=ways, prot=mmap.PROT_READ) for _ in range(4)]"
    )
    result = run_cell(tmp_path, code)
    assert result.error is not None and result.error.type == "OSError"


def test_where_a_link_leads_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/root/.secret-name")
    result = run_cell(tmp_path, f"import os; os.readlink({str(tmp_path / 'link')!r})")
    assert result.error is not None and result.error.type == "PermissionError"


def test_a_lower_limit_of_the_users_own_is_kept(tmp_path: Path) -> None:
    code = (
        "import asyncio, resource, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from abyme.context.documents import Data\n"
        "from support.repl import opened\n"
        "async def main():\n"
        "    async with opened(Data('documents', ())) as repl:\n"
        "        print((await repl.run(1, '6 * 7', 10)).output)\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (900_000_000, 900_000_000))\n"
        "asyncio.run(main())\n"
    )
    lower = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert lower.stdout == "42\n\n"


CROWDED = """
import asyncio, os, resource, sys
sys.path.insert(0, {tests!r})
from abyme.context.documents import Data
from abyme.errors import SandboxError
from abyme.sandbox.process import ProcessSandbox
from support.repl import TestHost

async def main():
    box, data = ProcessSandbox(), Data("documents", ())
    async with box.workers() as workers, workers.open(data, TestHost(), ()) as there:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        for left in range(4):  # it takes a pair of sockets and a pipe
            taken = []
            try:
                while True: taken.append(os.dup(0))
            except OSError: pass
            for _ in range(left): os.close(taken.pop())
            try:
                async with workers.open(data, TestHost(), ()): print("opened")
            except SandboxError as error: print(error)
            for descriptor in taken: os.close(descriptor)
            print(len(os.listdir("/proc/self/fd")))
        async with workers.open(data, TestHost(), ()) as another:
            for repl in there, another: print((await repl.run(1, "6 * 7", 20)).output.strip())

asyncio.run(main())
"""


def test_where_no_file_can_be_opened_no_worker_is_and_it_says_so() -> None:
    code = CROWDED.format(tests=str(Path(__file__).parents[1]))
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    reason = "cannot start a worker: Too many open files; raise `ulimit -n`"
    lines = done.stdout.splitlines()
    assert len(lines) == 10, done.stderr
    assert lines == [reason, lines[1]] * 4 + ["42", "42"]
    assert not done.stderr, "what was left open is said there"


def test_what_keeps_a_worker_from_beginning_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(*given: Any, **named: Any) -> dict[str, Any]:
        frame = hello(*given, **named)
        del frame["packages"]
        return frame

    monkeypatch.setattr("abyme.sandbox.process.hello", older)
    with pytest.raises(SandboxError, match=r"cannot begin here: KeyError: 'packages'$"):
        run_cell(tmp_path, "1")


@pytest.mark.parametrize("wrong", [-5, 0, 1 << 20, True, "4 GB", float("nan")])
def test_what_is_no_size_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="memory_bytes must be at least"):
        ProcessSandbox(memory_bytes=wrong)


def test_the_limits_of_control_groups_are_found_where_a_process_is() -> None:
    assert list(limit_files("0::/user.slice/abyme.service\n")) == [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/user.slice/memory.max",
        "/sys/fs/cgroup/user.slice/abyme.service/memory.max",
    ]
    assert list(limit_files("5:cpu,memory:/a\n3:pids:/b\n")) == [
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
    ]
    assert list(limit_files("")) == []


def test_unsafe_local_is_in_the_journals_first_event(runs: Path) -> None:
    answer = ask(runs, [cell("FINAL(1)")], sandbox=ProcessSandbox(unsafe_local=True))
    started = events_of(runs, answer)[0]
    assert isinstance(started, RunStarted) and started.sandbox == "process, unsafe-local"


def test_names_that_fit_no_frame_are_an_error_that_says_so(tmp_path: Path) -> None:
    names = {f"{'x' * 4000}{number}": "t" for number in range(18_000)}

    async def work() -> None:
        data = await asyncio.to_thread(load, names, folder=tmp_path)
        with pytest.raises(SandboxError, match="too many documents, or their names"):
            async with opened(data):
                pass

    before = _descriptors()
    asyncio.run(asyncio.wait_for(work(), 100))
    assert _descriptors() <= before  # those of earlier tests may close meanwhile


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
