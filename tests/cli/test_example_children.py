"""The example of children: asked by the command, drawn by the command, and run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from abyme.errors import ConfigError
from abyme.models.scripted import Scripted
from support.command import abyme

EXAMPLES = Path(__file__).parents[2] / "examples"
ANSWER = "On kitchens: pot 1440, pot 30, pot 907"


def test_the_example_runs_as_it_stands() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "children.py"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ANSWER in done.stdout and "── tree · 5 children, 2 levels deep" in done.stdout


def test_the_same_by_the_command(tmp_path: Path, runs: Path) -> None:
    writes = (sys.executable, EXAMPLES / "children.py", tmp_path / "pots.txt")
    subprocess.run(writes, timeout=60, check=True)
    model = f"scripted:{EXAMPLES / 'children.json'}"
    asked = abyme(
        *("ask", "Which pots leak?", tmp_path / "pots.txt", "--model", model),
        *("--max-depth", "3"),
        runs=runs,
    )
    assert (asked.returncode, asked.stdout) == (0, f"{ANSWER}\n"), asked.stderr
    assert "turn 2 · 1 cell · 5 children · 2 sub-calls" in asked.stderr
    assert not re.search(r"^turn 4", asked.stderr, re.M)
    told = abyme("show", runs=runs).stdout
    assert "── tree · 5 children, 2 levels deep" in told
    assert "“Which pots leak? Give their names.” · pots.txt, bytes 0 to 12,233 of 48,896" in told
    assert "0.2.1 complete · 1 turn · 2 calls" in told
    flat = abyme("ask", "Which?", tmp_path / "pots.txt", "--model", model, runs=runs)
    assert flat.returncode == 3, "at depth 1 its children are plain calls, which have no replies"


def test_the_script_is_one() -> None:
    Scripted.from_file(EXAMPLES / "children.json")
    with pytest.raises(ConfigError):
        Scripted.from_file(EXAMPLES / "children.py.json")
