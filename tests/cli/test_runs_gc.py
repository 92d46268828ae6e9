"""`abyme runs gc`: says what would go, and removes it when told to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.runs import cell, scripted_rlm
from support.terminal import on_terminal


def command(*arguments: str, runs: Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "abyme", "runs", "gc", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ABYME_RUNS": str(runs)},
    )


@pytest.fixture
def made(runs: Path) -> list[str]:
    """Three runs, the newest first."""
    ids = [
        scripted_rlm(runs, [cell("FINAL(1)")]).completion(f"{n}? \x1b[31m" + "é" * 300, "text").run
        for n in range(3)
    ]
    return ids[::-1]


def test_a_dry_run_says_what_would_go(runs: Path, made: list[str]) -> None:
    done = command("--keep", "1", runs=runs)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and [line.split()[0] for line in lines[:2]] == made[1:]
    assert all(" complete " in line and " kB " in line for line in lines[:2])
    assert lines[2].startswith("2 of 3 runs would be removed: ") and lines[2].endswith(" kB")
    assert "--apply" in done.stderr and "\x1b" not in done.stdout
    assert len(list(runs.iterdir())) == 3


def test_apply_removes(runs: Path, made: list[str]) -> None:
    (runs / made[2] / "blobs" / "one").write_bytes(b"x" * 50_000)
    (runs / made[0] / "blobs" / "one").hardlink_to(runs / made[2] / "blobs" / "one")
    done = command("--keep", "1", "--apply", runs=runs)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.splitlines()[:2]) == set(made[1:])
    assert done.stdout.splitlines()[2].startswith("2 of 3 runs removed: ")
    assert done.stdout.endswith("; runs that stay share the rest\n")
    assert [path.name for path in runs.iterdir()] == made[:1]
    again = command("--keep", "1", "--apply", runs=runs)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == f"none of 1 run in {runs} is to be removed\n"


def test_without_a_criterion_it_says_which_there_are(runs: Path, made: list[str]) -> None:
    done = command(runs=runs)
    assert done.returncode == 0 and done.stdout.startswith("3 runs, ")
    assert done.stdout.endswith(f" in {runs}: 3 complete\n")
    assert all(word in done.stderr for word in ("--keep", "--older-than", "--status"))
    assert command("--apply", runs=runs).returncode == 2
    none = command(runs=runs / "none")
    assert (none.returncode, none.stdout) == (0, f"0 runs, 0 bytes, in {runs / 'none'}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--status", "going"), "'going' is none of complete, partial, failed, unfinished, unre"),
        (("--older-than", "long"), "'long' is no time: write 30min, 12h, 3d"),
        (("--keep", "-1"), "--keep"),
        (("failed",), "failed"),
    ],
)
def test_wrong_usage(runs: Path, arguments: tuple[str, ...], said: str) -> None:
    done = command(*arguments, runs=runs)
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr
    assert done.stderr.count("\n") == 1 and "abyme runs gc --help" in done.stderr


def test_what_cannot_be_removed_is_exit_1(runs: Path, made: list[str]) -> None:
    left = runs / ".removing" / "mine"
    left.mkdir(parents=True)
    done = command("--keep", "2", "--apply", runs=runs)
    assert done.returncode == 1 and done.stdout == f"{made[2]}\n"
    assert ".removing/mine was not removed: it is no run" in done.stderr
    (runs / made[0] / "journal.jsonl").write_text("{}\n")
    stays = command("--keep", "0", "--status", "unreadable", runs=runs)
    assert stays.returncode == 0 and f"{made[0]} stays: its journal does not" in stays.stderr


def test_on_a_terminal(runs: Path, made: list[str]) -> None:
    shown = on_terminal("runs", "gc", "--keep", "0", runs=runs)
    assert shown.code == 0 and all(len(line) <= 80 for line in shown.screen.splitlines())
    assert "\\x1b[31m" in shown.screen and made[0] in shown.screen
