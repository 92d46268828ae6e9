"""``abyme diff`` as a user sees it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from support.command import abyme, replies
from support.runs import cell


def a_run(tmp_path: Path, runs: Path, *texts: str) -> str:
    data = tmp_path / "notes.txt"
    data.write_text("alpha\n")
    done = abyme("ask", "q?", data, "--model", replies(tmp_path, *texts), runs=runs)
    found = re.search(r"^run (\S+) · head", done.stderr, re.M)
    assert found, done.stderr
    return found[1]


def test_two_runs_beside_each_other(tmp_path: Path, runs: Path) -> None:
    code = "\n".join(f"x{i} = {i}" for i in range(30))
    one = a_run(tmp_path, runs, cell(f"{code}\nprint(1)"), cell("FINAL('a')"))
    same = a_run(tmp_path, runs, cell(f"{code}\nprint(1)"), cell("FINAL('a')"))
    other = a_run(tmp_path, runs, cell(f"{code}\nprint('two', {'y' * 200!r})"), cell("FINAL('b')"))
    done = abyme("diff", one, same, runs=runs)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the same: question, data, replies" in done.stdout
    done = abyme("diff", one, other, runs=runs)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert re.match(rf"run +{one} +{other}$", lines[0])
    assert "they differ first in the reply of turn 1" in lines
    assert "- print(1)" in lines and any(line.startswith("+ print('two', 'yyy") for line in lines)
    as_json = json.loads(abyme("diff", one, other, "--json", runs=runs).stdout)
    assert as_json["same"] is False and as_json["first"]["where"] == "the reply of turn 1"
    wrong = abyme("diff", one, "nothing", runs=runs)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert abyme("diff", one, runs=runs).returncode == 2
