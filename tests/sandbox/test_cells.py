"""What a cell does to the namespace, and what is told of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from abyme.inside.codec import MAX_FRAME
from abyme.sandbox.process import ProcessSandbox
from support.repl import run_cell, run_cells


@pytest.mark.parametrize(
    "code",
    [
        "t = asyncio.create_task(asyncio.sleep(0, 'done'))\nawait t",
        "ts = [asyncio.create_task(asyncio.sleep(0, 'done'))]\n(await asyncio.gather(*ts))[0]",
        "await asyncio.sleep(0)\nt = asyncio.ensure_future(asyncio.sleep(0, 'done'))\nawait t",
        "await asyncio.sleep(0, 'done')",
    ],
)
def test_a_task_can_be_awaited_by_the_last_line(tmp_path: Path, code: str) -> None:
    first, second = run_cells(
        tmp_path, [f"import asyncio\n{code}", "print(_, '__last__' in globals())"]
    )
    assert first.output == "'done'\n" and second.output == "done False\n", first.error


def test_annotations_are_what_the_cell_says(tmp_path: Path) -> None:
    (result,) = run_cells(tmp_path, ["def f(x: int): pass\nf.__annotations__"])
    assert result.output == "{'x': <class 'int'>}\n"


def test_variables_are_told_with_type_and_size_and_without_loop_temporaries(
    tmp_path: Path,
) -> None:
    code = """
import re
hits = [i for i in range(5)]
text = 'secret' * 3
for k, line in enumerate('ab'):
    last = m = line
print(last)
with open('/dev/null') as handle:
    pass
def helper(): pass
_hidden = 1
n = 7
"""
    first, second = run_cells(tmp_path, [code, "hits.append(1); n = 7"])
    told = {v.name: (v.type, v.size) for v in first.variables}
    assert told == {
        "hits": ("list", "5 items"),
        "text": ("str", "18 characters"),
        "last": ("str", "1 characters"),
        "helper": ("function", ""),
        "n": ("int", ""),
    }
    assert [v.name for v in second.variables] == ["hits"], "changed in place; n is the same"


def test_output_is_cut_head_and_tail_with_its_true_length(tmp_path: Path) -> None:
    code = "print('HEAD' + 'x' * 300_000)\nfor i in range(50_000): print(i)\nprint('TAIL')"
    result = run_cell(tmp_path, code)
    assert result.output_chars == 300_005 + sum(len(str(i)) + 1 for i in range(50_000)) + 5
    assert result.output.startswith("HEADxxx") and result.output.endswith("49999\nTAIL\n")
    assert len(result.output) <= 10_000
    assert f"… {result.output_chars:,} characters in all; " in result.output


def test_a_flood_of_output_costs_the_worker_and_the_host_little(tmp_path: Path) -> None:
    result = run_cell(tmp_path, "for _ in range(2000): print('y' * 100_000)")
    assert result.ok and result.output_chars == 2000 * 100_001
    assert result.peak_bytes < 150 << 20


def test_writes_past_python_are_shown_too(tmp_path: Path) -> None:
    result = run_cell(tmp_path, "import os\nprint('a')\n_ = os.write(1, b'raw')")
    assert result.output.startswith("a\n") and "raw" in result.output


def test_a_large_last_expression_is_not_built_whole(tmp_path: Path) -> None:
    result = run_cell(tmp_path, "'z' * 50_000_000")
    assert result.ok and "50,000,000 in all" in result.output
    assert result.peak_bytes < 150 << 20


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os; os._exit(7)", "status 7"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import os; os.closerange(3, 64); print('x' * 9000)", "closed the descriptor"),
    ],
)
def test_a_dead_worker_is_told_as_what_it_is(tmp_path: Path, code: str, how: str) -> None:
    first, second = run_cells(tmp_path, [code, "1"])
    assert first.ended == "died" and first.error is not None
    assert how in first.error.message
    assert second.ended == "died", "nothing is run in a dead worker"


def test_the_environment_holds_nothing_of_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    code = "import os, sys\nsorted(os.environ), 'site' in sys.modules, sys.flags.safe_path"
    result = run_cell(tmp_path, code)
    assert result.output == "(['LANG', 'PATH', 'PYTHONHASHSEED', 'PYTHONUTF8'], False, True)\n"


def test_the_worker_does_not_see_the_hosts_packages(tmp_path: Path) -> None:
    result = run_cell(tmp_path, "import msgspec")
    assert result.error is not None and result.error.type == "ModuleNotFoundError"


def test_what_unconfined_code_started_ends_with_the_repl(tmp_path: Path) -> None:
    code = "import subprocess; print(subprocess.Popen(['sleep', '1000']).pid)"
    pid = int(run_cell(tmp_path, code, sandbox=ProcessSandbox(unsafe_local=True)).output)
    deadline = time.monotonic() + 5
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_allocating_past_the_cap_is_a_memory_error(tmp_path: Path) -> None:
    first, second = run_cells(tmp_path, ["x = 1\nb = bytearray(5 << 30)", "x"])
    assert first.error is not None and first.error.type == "MemoryError"
    assert second.output == "1\n"


@pytest.mark.parametrize(
    "payload",
    [
        "b'\\xff' * 64",
        "(5).to_bytes(4, 'big') + b'hello'",
        "(2).to_bytes(4, 'big') + b'[]'",
        "(12).to_bytes(4, 'big') + b'{\"t\":\"what\"}'",
        '(30).to_bytes(4, \'big\') + b\'{"t":"call","id":"x","name":1}\'',
        "(200_000).to_bytes(4, 'big') + b'[' * 200_000",
        '(50).to_bytes(4, "big") + b\'{"t":"documents","id":1,"index":9,"count":1}\'.ljust(50)',
        '(50).to_bytes(4, "big") + b\'{"t":"documents","id":1,"index":0,"count":0}\'.ljust(50)',
        '(50).to_bytes(4, "big") + b\'{"t":"documents","id":1,"index":0,"count":99}\'.ljust(50)',
        "(14).to_bytes(4, 'big') + b'{\"t\":\"done\"}'.ljust(14)",
    ],
)
def test_forged_frames_end_the_worker_and_nothing_else(tmp_path: Path, payload: str) -> None:
    code = f"""
import os, stat
for fd in range(3, 32):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode): os.write(fd, {payload})
    except OSError: pass
import time; time.sleep(30)
"""
    result = run_cell(tmp_path, code)
    assert result.ended == "died" and result.error is not None
    assert "broke the protocol" in result.error.message or "no frame" in result.error.message


def test_an_answer_over_the_limit_is_an_error_in_the_cell(tmp_path: Path) -> None:
    result = run_cell(tmp_path, "FINAL('x' * 17_000_000)")
    assert result.error is not None and "at most 16,000,000" in result.error.message
    assert MAX_FRAME > 3 * 16_000_000, "an answer of the longest kind fits a frame"


def test_a_text_is_built_only_when_a_cell_names_it(tmp_path: Path) -> None:
    big = tmp_path / "big.txt"
    big.write_text("line of text\n" * 4_000_000)  # 52 MB
    before, after = run_cells(tmp_path, ["x = 1", "n = len(context)"], context=big)
    assert before.peak_bytes < 40 << 20
    assert after.peak_bytes < before.peak_bytes + 150 << 20
    assert after.variables[0].name == "n"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd")
def test_a_worker_whose_child_holds_the_socket_open_is_still_noticed(tmp_path: Path) -> None:
    code = "import os, time\nif os.fork() == 0: time.sleep(30)\nelse: os._exit(5)"
    result = run_cell(tmp_path, code, sandbox=ProcessSandbox(unsafe_local=True))
    assert result.ended == "died" and result.error is not None
    assert "status 5" in result.error.message
