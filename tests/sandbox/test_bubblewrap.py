"""Bubblewrap by itself, with the layers inside left off."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from abyme.sandbox.stream import MOUNT_FROM
from abyme.types import CellResult
from support.boxes import alone, needs_bubblewrap
from support.repl import run_cell, run_cells

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")


def value(result: CellResult) -> str:
    assert result.ok, result.error
    return result.output.strip()


@needs_bubblewrap
@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/passwd')",
        "import os; os.listdir(os.path.expanduser('~'))[0] and os.listdir('/home')",
        "open('/new', 'w')",
        "open('/dev/new', 'w')",
        "open('/abyme/inside/codec.py', 'a')",
        "open('/proc/sys/kernel/core_pattern', 'r+')",
        "open('/proc/sysrq-trigger', 'w').write('h') or open('/proc/sysrq-trigger').read(1) or 1/0",
        "import subprocess; subprocess.run(['/bin/sh', '-c', 'true'])",
        "import subprocess; subprocess.run(['/usr/bin/env'])",
        "import socket; socket.create_connection(('127.0.0.1', PORT), 5)",
        "import os; os.kill(HOST, 0)",
        "open('/proc/HOST/environ')",
        "import os; os.setuid(1)",
        "import os; os.chroot('/')",
        "import os; os.mount" if hasattr(os, "mount") else "1 / 0",
        "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
        "import ctypes; assert ctypes.CDLL(None).mount(b'/', b'/', b'', 4096, 0) == 0",
    ],
)
def test_bubblewrap_alone_holds(attempt: str, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = attempt.replace("PORT", str(port)).replace("HOST", str(os.getpid()))
        result = run_cell(tmp_path, code, sandbox=alone())
    assert result.ended == "raised", result.output


@needs_bubblewrap
def test_bubblewrap_shows_the_data_and_python_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.txt").write_text("a" * (MOUNT_FROM + 1))
    (folder / ".env").write_text("SECRET=1")
    cells = [
        "import os; (os.listdir('/abyme/data'), len(context['a.txt']))",
        f"os.path.exists({str(folder)!r}), os.path.exists({str(folder / '.env')!r})",
        "sorted(pid for pid in os.listdir('/proc') if pid.isdigit())",
        "open('/abyme/data/0', 'a')",
        "import re; sorted(os.listdir('/'))",
    ]
    data, there, processes, written, root = run_cells(
        tmp_path, cells, context=folder, sandbox=alone("mount")
    )
    assert value(data) == f"(['0'], {MOUNT_FROM + 1})"
    assert value(there) == "(False, False)"
    assert len(json.loads(value(processes).replace("'", '"'))) <= 2
    assert written.ended == "raised"
    assert "home" not in value(root) or str(Path.home()).startswith("/home")
