"""Tests again as a user without rights, whom other rules of the kernel hold than root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_NOBODY = 65534
_READING = "+dac_read_search"


def passed_as_nobody(*arguments: str | Path, seconds: float) -> int:
    """Run pytest with ``arguments`` as such a user; how many tests passed, and none failed.

    Skips where this is no root, who alone can become another user.
    """
    if os.geteuid():
        pytest.skip("the other tests already run as a user without rights")
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    with tempfile.TemporaryDirectory(prefix="abyme-") as folder:
        os.chown(folder, _NOBODY, _NOBODY)
        # The right to read is kept: this Python may lie in root's home.
        command = [
            "setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups",
            f"--inh-caps={_READING}", f"--ambient-caps={_READING}",
            f"--bounding-set=-all,{_READING}",
            sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider",
            f"--basetemp={folder}/pytest", *map(str, arguments),
        ]  # fmt: skip
        environ = {**os.environ, "HOME": folder, "TMPDIR": folder}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, env=environ, cwd=folder
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return int(done.stdout.rsplit(" passed", 1)[0].rsplit(maxsplit=1)[-1])
