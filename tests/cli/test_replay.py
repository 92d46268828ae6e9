"""``abyme replay``: what it prints, and what it exits with."""

from __future__ import annotations

import json
from pathlib import Path

from support.command import abyme
from support.runs import ask, cell, scripted_rlm


def test_the_same(runs: Path) -> None:
    answer = ask(runs, [cell("x = llm_query('q')\nprint(x)"), cell("FINAL(x)")], ["yes"])
    done = abyme("replay", answer.run, runs=runs)
    assert (done.returncode, done.stderr) == (0, "")
    said = f"{answer.run}: identical · 2 turns, 2 cells, 1 call, all from the journal\n"
    assert done.stdout == said
    fields = json.loads(abyme("replay", answer.run[:15], "--json", runs=runs).stdout)
    assert fields["identical"] and fields["difference"] is None and fields["cells"] == 2


def test_the_first_difference(runs: Path) -> None:
    code = cell("import os\nprint('kept')\nprint(os.urandom(2).hex(), '\\x1b[31m')")
    answer = ask(runs, [code, cell("FINAL(1)")])
    done = abyme("replay", answer.run, runs=runs)
    assert done.returncode == 1
    first, *lines = done.stdout.splitlines()
    assert "in turn 1, cell 1, another output than then" in first
    assert sum(line.startswith("  -") for line in lines) == 2, "the head of the two, and a line"
    assert "   kept" in lines and "\x1b" not in done.stdout


def test_what_cannot_be_replayed(runs: Path) -> None:
    assert abyme("replay", runs=runs).returncode == 2
    done = abyme("replay", "nope", runs=runs)
    assert done.returncode == 2 and "no run 'nope'" in done.stderr
    redacted = scripted_rlm(runs, [cell("FINAL(1)")], redact=True).completion("q", "text")
    done = abyme("replay", redacted.run, runs=runs)
    assert done.returncode == 2 and "--redact" in done.stderr and "Traceback" not in done.stderr
