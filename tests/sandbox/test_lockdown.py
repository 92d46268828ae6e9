"""A worker that locks itself in: what goes on working, what it reports, when it refuses."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from abyme.context.load import load
from abyme.engine import engine
from abyme.errors import ConfigError, SandboxError
from abyme.events import CallStarted, WorkerStarted
from abyme.inside.lockdown import LAYERS, STRICT
from abyme.inside.lockdown.policy import FREE, bounded
from abyme.inside.lockdown.syscalls import X86_64, number, this_architecture
from abyme.sandbox import zygote, zygotes
from abyme.sandbox.process import ProcessSandbox
from abyme.settings import load_settings
from abyme.settings_file import FILE_NAME
from abyme.settings_values import LIMITS, TOP
from adversarial.trial import Some
from support.repl import TestHost, opened, run_cell, run_cells
from support.runs import ask, cell, events_of, of_kind, scripted_rlm

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")

ORDINARY = """
import collections, concurrent.futures, csv, datetime, decimal, difflib, hashlib, io, json
import random, re, secrets, sqlite3, tempfile, threading, time, zipfile
event = threading.Event()
threads = [threading.Thread(target=event.wait) for _ in range(1000)]
for thread in threads: thread.start()
event.set()
for thread in threads: thread.join()
import asyncio
waited = await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.01) for _ in range(50)))
with concurrent.futures.ThreadPoolExecutor(8) as pool: doubled = sum(pool.map(abs, range(-99, 0)))
base = sqlite3.connect(":memory:")
base.execute("create table t (a)")
base.executemany("insert into t values (?)", [(n,) for n in range(50_000)])
rows = base.execute("select count(*) from (select a from t order by -a)").fetchone()[0]
packed = io.BytesIO()
with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive: archive.writestr("a", "x" * 999)
unpacked = len(zipfile.ZipFile(packed).read("a"))
with tempfile.SpooledTemporaryFile() as spooled: spooled.write(b"in memory")
digest = hashlib.sha256(b"abyme").hexdigest()[:6]
random.random(), secrets.token_hex(4), time.localtime(), json.dumps(list(csv.reader(["a,b"])))
ratio = difflib.SequenceMatcher(None, "abc", "abd").ratio()
(len(waited), doubled, rows, unpacked, digest, str(decimal.Decimal(1) / 8), round(ratio, 2))
"""
DIGEST = hashlib.sha256(b"abyme").hexdigest()[:6]
EXPECTED = f"(50, 4950, 50000, 999, '{DIGEST}', '0.125', 0.67)\n"
EVERY_MODULE = """
import sys, importlib, warnings
warnings.simplefilter("ignore")
absent = []
for name in sorted(sys.stdlib_module_names - {"antigravity", "this", "idlelib", "__main__"}):
    if name.startswith("_") or name in ("turtle", "turtledemo", "tkinter", "test"): continue
    try: importlib.import_module(name)
    except ModuleNotFoundError: absent.append(name)
[name for name in absent if name not in ("msilib", "nt", "ntpath", "winreg", "winsound", "msvcrt")]
"""
STRICTLY = (*(layer for layer in LAYERS if layer != "landlock"), STRICT)


def test_what_python_ordinarily_does_goes_on(tmp_path: Path) -> None:
    zone = (
        "import zoneinfo\nstr(datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Asia/Tokyo'))"
        ".utcoffset())"
    )
    first, second, third = run_cells(tmp_path, [ORDINARY, EVERY_MODULE, zone])
    assert first.output == EXPECTED, first.error
    assert second.output == "[]\n", second.error
    if Path("/usr/share/zoneinfo/Asia/Tokyo").exists():
        assert third.output == "'9:00:00'\n", third.error


@pytest.mark.skipif(not zygotes.importable_packages(), reason="needs numpy or pandas")
@pytest.mark.parametrize("layers", [LAYERS, STRICTLY], ids=["landlock", "no opens"])
def test_installed_packages_work(tmp_path: Path, layers: tuple[str, ...]) -> None:
    names = [name for name in ("numpy", "pandas") if name in zygotes.importable_packages()]
    code = f"import {', '.join(names)}\n"
    if "numpy" in names:
        code += "a = numpy.arange(1e4).reshape(100, 100)\nassert (a @ a).shape == (100, 100)\n"
    if "pandas" in names:
        code += "assert pandas.DataFrame({'a': [1, 2]}).a.sum() == 3\n"
    result = run_cell(tmp_path, code, sandbox=Some(only=layers, grace_seconds=0.5))
    assert result.ok, result.error


def test_without_landlock_what_was_imported_before_is_there(tmp_path: Path) -> None:
    box = Some(only=STRICTLY, grace_seconds=0.5)
    late = "import turtle"
    cells = [ORDINARY, "open('/etc/passwd')", "len(context), grep('t')[0].line", late]
    first, denied, data, absent = run_cells(tmp_path, cells, sandbox=box, context="some\ntext\n")
    assert first.ok, first.error
    assert denied.error is not None and denied.error.type == "PermissionError"
    assert data.output == "(10, 2)\n", data.error
    assert absent.error is not None and absent.error.type == "ModuleNotFoundError"


def test_denials_are_exceptions_that_say_so_and_the_worker_lives(tmp_path: Path) -> None:
    cells = [
        "open('/etc/passwd')",
        "open('/tmp/x', 'w')",
        "import subprocess; subprocess.run(['ls'])",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')",
        "import os; os.fork()",
        "1 + 1",
    ]
    results = run_cells(tmp_path, cells)
    kinds = [result.error.type if result.error else result.output for result in results]
    assert kinds == ["PermissionError"] * 3 + ["URLError", "PermissionError", "2\n"]


def test_documents_come_although_no_path_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "docs" / name).write_text(name * 40_000)
    code = f"open({str(tmp_path / 'docs' / 'a.txt')!r})"
    texts, opened = run_cells(
        tmp_path, ["[len(text) for text in context.values()]", code], context=tmp_path / "docs"
    )
    assert texts.output == "[200000, 200000]\n"
    assert opened.error is not None and opened.error.type == "PermissionError"


def test_the_layers_are_told_in_the_journal_and_in_the_answer(runs: Path) -> None:
    answer = ask(runs, [cell("import os; os._exit(3)"), cell("FINAL(1)")])
    started = of_kind(events_of(runs, answer), WorkerStarted)
    assert {event.layers for event in started} == {answer.layers}
    assert [layer.split()[0] for layer in answer.layers] == list(LAYERS)


def test_unsafe_local_holds_nothing_and_says_so(runs: Path) -> None:
    box = ProcessSandbox(unsafe_local=True)
    answer = ask(runs, [cell("FINAL(len(open('/etc/passwd').read()) > 0)")], sandbox=box)
    assert answer.value is True and answer.layers == ()
    assert of_kind(events_of(runs, answer), WorkerStarted)[0].layers == ()


BROKEN = {
    "no seccomp": "lock.install = fail",
    "neither": "lock.version = lock.ruleset = lock.install = fail",
    "seccomp that does nothing": "lock.install = lambda *given, **named: None",
    "landlock that does nothing": "lock.restrict = lambda allowed: 7",
    "no table": "lock.this_architecture = lambda: None",
    "macOS": "lock.sys = types.SimpleNamespace(platform='darwin')",
}


@pytest.fixture
def cold() -> Iterator[None]:
    """No zygote is kept warm: the next run starts one of its own, which does not stay either."""
    engine().submit(zygotes.close()).result(30)
    yield
    engine().submit(zygotes.close()).result(30)


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("how", BROKEN)
def test_where_nothing_holds_no_cell_is_run(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    script = tmp_path / "start.py"
    inside = Path(zygote.__file__).parent.parent / "inside"
    script.write_text(
        "import sys, types\n"
        "package = types.ModuleType('abyme_inside')\n"
        f"package.__path__ = [{str(inside)!r}]\n"
        "sys.modules['abyme_inside'] = package\n"
        "from abyme_inside.lockdown import lock\n"
        "def fail(*given, **named): raise OSError(38, 'Function not implemented')\n"
        f"{BROKEN[how]}\n"
        "from abyme_inside.zygote import main\n"
        "main(int(sys.argv[1]))\n"
    )
    monkeypatch.setattr(zygote, "_START", script)
    with pytest.raises(SandboxError, match=r"--unsafe-local.*unsafe_local=True"):
        run_cell(tmp_path / "held", "1")
    answer = ask(runs, [cell("FINAL(1)")])
    assert answer.status != "complete" and "--unsafe-local" in answer.reason
    assert len(of_kind(events_of(runs, answer), CallStarted)) <= 1
    loose = ProcessSandbox(unsafe_local=True)
    assert run_cell(tmp_path / "loose", "6 * 7", sandbox=loose).output == "42\n"


def test_the_kernel_refuses_every_number_that_the_policy_does_not_allow(tmp_path: Path) -> None:
    architecture = this_architecture()
    assert architecture is not None
    allowed = {number(name, architecture) for name in (*FREE, *bounded(1, opens=True))}
    # Probes of the kernel's own: it asks no filter, and ends whoever calls them by himself.
    allowed |= {335, 336} if architecture is X86_64 else set()
    code = (
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"others = sorted(set(range(1024)) - {allowed - {None}!r})\n"
        "sorted({(libc.syscall(at, 0, 0, 0, 0, 0, 0), ctypes.get_errno()) for at in others})"
    )
    refusals = [(-1, error) for error in (errno.EPERM, errno.EACCES, errno.ENOSYS)]
    result = run_cell(tmp_path, code)
    assert result.output == f"{refusals}\n", result.error


def test_every_thread_is_held_as_the_kernel_itself_says(tmp_path: Path) -> None:
    async def main() -> list[dict[str, str]]:
        data = load("text", folder=tmp_path / "data")
        host = TestHost({"llm_query": lambda arguments: "y"})
        async with opened(data, host) as repl:
            code = "import threading, time\nllm_query('x')\n" + (
                "for _ in range(3): threading.Thread(target=time.sleep, args=(20,)).start()"
            )
            await repl.run(1, code, 30)
            tasks = Path(f"/proc/{repl.pid}/task").iterdir()
            return [
                dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
                for task in tasks
            ]

    threads = asyncio.run(main())
    assert len(threads) >= 5
    for status in threads:
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        reading = 1 << 2
        assert int(status["CapEff"], 16) | reading == reading
        assert int(status["CapPrm"], 16) | reading == reading


@pytest.mark.usefixtures("cold")
def test_no_model_is_waited_for_where_no_worker_can_be_had(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygote, "_START", Path("/dev/null"))  # ends at once

    def slow(request: Any) -> str:
        time.sleep(20)
        return "too late"

    answer = scripted_rlm(runs, slow).completion("q", "text")
    assert answer.status == "failed" and "cannot start a worker" in answer.reason
    assert answer.seconds < 15


def test_a_folders_settings_cannot_unlock(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("unsafe_local = true\n")
    with pytest.raises(ConfigError, match="unsafe_local"):
        load_settings({}, tmp_path, tmp_path / "none")
    assert not any("unsafe" in name for name in (*TOP, *LIMITS))


def test_a_worker_cannot_change_what_it_reported(tmp_path: Path, runs: Path) -> None:
    forge = (
        "import gc\n"
        "sock = [o for o in gc.get_objects() if type(o).__name__ == 'Channel'][0]._socket\n"
        'body = b\'{"t":"ready","layers":[]}\'\n'
        "sock.sendall(len(body).to_bytes(4, 'big') + body)\n"
    )
    answer = ask(runs, [cell(forge), cell("FINAL('on')")])
    assert answer.text == "on" and "seccomp" in answer.layers
    refused = forge.replace('"t":"ready","layers":[]', '"t":"refused","reason":"x"')
    result = run_cell(tmp_path, refused + "import time; time.sleep(20)", host=TestHost())
    assert result.ended == "died"


def test_a_worker_is_not_dumpable(tmp_path: Path) -> None:
    result = run_cell(tmp_path, "import ctypes; ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)")
    assert result.output == "0\n"


def test_a_host_that_is_gone_ends_a_worker_that_may_signal_nobody(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from pathlib import Path\n"
        "from abyme.context.documents import Data\n"
        "from support.repl import opened\n"
        "async def main():\n"
        "    async with opened(Data('documents', ())) as repl:\n"
        "        print(repl.pid, flush=True)\n"
        "        os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 30
    while not _is_gone(pid):
        assert time.monotonic() < deadline, "the worker outlives its host"
        time.sleep(0.01)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except OSError:
        return True
