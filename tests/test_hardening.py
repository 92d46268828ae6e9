"""The host's own process: closed to others of its user where that is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")

DUMPABLE = "import ctypes\ndef dumpable(): return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"


def said(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", DUMPABLE + code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=folder,
    )
    return done.stdout.strip()


def test_the_library_leaves_the_process_alone_unless_asked(tmp_path: Path) -> None:
    code = (
        "from abyme import RLM\n"
        "RLM('reader', runs='runs'); before = dumpable()\n"
        "RLM('reader', runs='runs', harden_host=True); print(before, dumpable())"
    )
    assert said(code, tmp_path) == "1 0"


def test_the_command_closes_its_process_and_works(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("The kettle is blue.\n")
    code = (
        "import atexit, sys\n"
        "sys.argv = 'abyme ask --model reader --runs runs --question'.split()\n"
        "sys.argv += ['What colour is the kettle?', 'notes.txt']\n"
        "atexit.register(lambda: print(dumpable()))\n"
        "from abyme.cli import main\n"
        "main()"
    )
    answer, _, left = said(code, tmp_path).rpartition("\n")
    assert "The kettle is blue." in answer and left == "0"
