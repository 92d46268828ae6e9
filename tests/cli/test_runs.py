"""`abyme runs`: what was asked before, newest first, whatever lies in the folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from rich.cells import cell_len

from abyme.cli.run_table import age_text
from abyme.cli.runs import complete_run, show_runs, show_runs_json
from abyme.errors import ModelError
from abyme.journal import summary
from abyme.journal.files import open_regular
from support.runs import cell, scripted_rlm


def made(runs: Path, question: str, reply: Any = "```repl\nFINAL(1)\n```") -> str:
    """A run with this question; its id."""
    return scripted_rlm(runs, [reply]).completion(question, "some text").run


def listed(runs: Path, **options: Any) -> tuple[list[str], list[str]]:
    """What is put out, and what is said beside it."""
    out: list[str] = []
    said: list[str] = []
    show_runs(runs, out.append, said.append, **options)
    return out, said


def test_newest_first_with_all_that_matters(runs: Path) -> None:
    first = made(runs, "Who signed\nfirst?")
    second = made(runs, "And \x1b[31mthen [bold]?", ModelError("no"))
    damaged = runs / "20200101-000000-aaaaaa"
    damaged.mkdir()
    out, said = listed(runs)
    assert said == [] and len(out) == 3
    assert out[0].split()[0] == second and " failed " in out[0] and "$" in out[0]
    assert out[0].endswith(r"And \x1b[31mthen [bold]?")
    assert out[1].split()[0] == first and " complete " in out[1] and "scripted" in out[1]
    assert out[1].endswith("Who signed first?") and " s ago " in out[1]
    assert out[2].split()[:2] == [damaged.name, "unreadable"] and "No such file" in out[2]
    columns = {line.index(word) for line, word in zip(out, ("failed", "complete"), strict=False)}
    assert len(columns) == 1, "columns stand below each other"


@pytest.mark.parametrize("width", [60, 80, 129, 130, 200])
def test_it_fits_the_terminal(runs: Path, width: int) -> None:
    for question in ("short?", "漢字" * 100, "long " * 100, "\u202e\x07" * 50):
        made(runs, question)
    lines = "\n".join(listed(runs, width=width)[0]).split("\n")
    if width >= 80:
        assert len(lines) == (4 if width >= 130 else 8), "a small one has the question below"
    bare = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    assert all(cell_len(line) <= width and line.isprintable() for line in bare)


def test_the_limit_says_how_many_more(runs: Path) -> None:
    ids = [made(runs, f"question {n}") for n in range(3)]
    out, said = listed(runs, limit=2)
    assert [line.split()[0] for line in out] == ids[:0:-1]
    assert said == ["1 older run: --limit 3 lists all"]
    lines: list[str] = []
    show_runs_json(runs, lines.append, limit=1)
    (run,) = map(json.loads, lines)
    assert run["run"] == ids[2] and run["question"] == "question 2"
    assert (run["status"], run["cost"], run["turns"]) == ("complete", 0.0, 1)


def test_of_thousands_only_those_that_are_shown_are_read(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(runs, "q")
    journal = (runs / run / "journal.jsonl").read_bytes()
    for number in range(2_000):
        folder = runs / f"20250101-{number // 60:04}{number % 60:02}-abcdef"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(journal)
    opened: list[Path] = []
    open_one = open_regular

    def open_counted(path: Path) -> BinaryIO:
        opened.append(path)
        return open_one(path)

    monkeypatch.setattr(summary, "open_regular", open_counted)
    out, said = listed(runs)
    assert len(out) == 20 and said == ["1,981 older runs: --limit 2001 lists all"]
    assert 20 <= len(opened) <= 40
    lines: list[str] = []
    show_runs_json(runs, lines.append)
    assert len(lines) == 2_001


def test_damaged_runs_stand_in_the_list_and_do_not_stop_it(runs: Path) -> None:
    run = made(runs, "q?")
    journal = (runs / run / "journal.jsonl").read_bytes()
    for number, at in enumerate((b"NaN", b"-1e300", b"Infinity", b"1e300")):
        folder = runs / f"2020010{number + 1}-000000-aaaaaa"
        folder.mkdir()
        changed = re.sub(rb'"at":[^,]*', b'"at":' + at, journal, count=1)
        (folder / "journal.jsonl").write_bytes(changed)
    for name in ("20200105-000000-aaaaaa", "20200106-000000-aaaaaa"):
        (runs / name).mkdir()
    (runs / "20200105-000000-aaaaaa" / "journal.jsonl").touch()
    os.mkfifo(runs / "20200106-000000-aaaaaa" / "journal.jsonl")
    done = command(runs=runs)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 7 and lines[0].startswith(run) and max(map(len, lines)) < 200
    assert all(line.split()[1] == "unreadable" for line in lines[1:])
    assert lines[1].endswith("it is not a regular file") and " empty: nothing was" in lines[2]
    assert all("its first line: " in line for line in lines[3:])


def test_what_is_no_folder_is_named(runs: Path) -> None:
    runs.parent.mkdir(exist_ok=True)
    runs.write_text("a file")
    for arguments in ((), ("--json",)):
        done = command(*arguments, runs=runs)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{runs} is no folder" in done.stderr and done.stderr.count("\n") == 1


def test_ages() -> None:
    seconds = {-5: "0 s", 59.9: "59 s", 60: "1 min", 7_300: "2 h", 90_000: "1 d", 4e7: "462 d"}
    assert {age: age_text(age) for age in seconds} == {a: f"{t} ago" for a, t in seconds.items()}


def test_ids_complete_for_the_shell(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [made(runs, f"question {n}") for n in range(2)]
    monkeypatch.setenv("ABYME_RUNS", str(runs))
    assert complete_run("") == ids[::-1]
    assert complete_run(ids[0]) == [ids[0]]
    assert complete_run("x") == []
    monkeypatch.setenv("ABYME_RUNS", "~nosuchuser/x")
    assert complete_run("") == []


def command(*arguments: str, runs: Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "abyme", "runs", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ABYME_RUNS": str(runs)},
    )


def test_the_command(runs: Path) -> None:
    none = command(runs=runs)
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr.count("\n") == 1
    assert str(runs) in none.stderr and "abyme ask" in none.stderr
    run = made(runs, "q?")
    other = command("--runs", str(runs), "-n", "1", runs=runs / "other")
    assert other.stdout.startswith(run) and other.stderr == ""
    assert json.loads(command("--json", runs=runs).stdout)["run"] == run
    assert command("-n", "0", runs=runs).returncode == 2


def test_a_run_that_goes_on_is_said_to(runs: Path) -> None:
    seen: list[str] = []

    def root(request: Any) -> str:
        seen.extend(listed(runs)[0])
        return cell("FINAL(1)")

    scripted_rlm(runs, root).completion("q?", "some text")
    assert len(seen) == 1 and " going " in seen[0]
