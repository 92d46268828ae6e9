"""Removing runs: what meets the criteria, and never what goes on or is no run."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from abyme.errors import JournalError
from abyme.journal.gc import REMOVING, Criteria, Spared, plan_removal, remove_runs
from abyme.journal.sizes import all_bytes, folder_bytes, freed_bytes
from abyme.journal.summary import run_folders
from abyme.journal.writer import Journal
from support.runs import ask, cell

_DAY = 86_400
EVERY = Criteria(keep=0)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The journal of a complete run."""
    runs = tmp_path_factory.mktemp("runs")
    return (runs / ask(runs, [cell("FINAL(1)")]).run / "journal.jsonl").read_bytes()


def make(runs: Path, journal: bytes, days: float = 0.5, status: str = "complete") -> Path:
    """A run folder that is so many days old."""
    at = time.time() - days * _DAY
    lines = journal.splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(at))}-abcdef"
    first |= {"at": at, "run": name}
    last["answer"]["status"] = status
    folder = runs / name
    (folder / "blobs" / "ab").mkdir(parents=True)
    whole = [json.dumps(first).encode(), *lines[1:-1]]
    whole += [] if status == "unfinished" else [json.dumps(last).encode()]
    (folder / "journal.jsonl").write_bytes(b"\n".join(whole) + b"\n")
    os.utime(folder / "journal.jsonl", (at, at))
    return folder


def chosen(runs: Path, criteria: Criteria) -> list[str]:
    return [summary.run for summary in plan_removal(runs, criteria).runs]


def test_all_criteria_must_be_met(runs: Path, journal: bytes) -> None:
    made = [
        make(runs, journal, days, status).name
        for days, status in [(1, "complete"), (2, "failed"), (3, "complete"), (40, "failed")]
    ]
    before = time.time() - 2.5 * _DAY
    assert chosen(runs, EVERY) == made
    assert chosen(runs, Criteria(keep=3)) == made[3:]
    assert chosen(runs, Criteria(keep=9)) == []
    assert chosen(runs, Criteria(before=before)) == made[2:]
    assert chosen(runs, Criteria(statuses=frozenset(["failed"]))) == [made[1], made[3]]
    failed = frozenset(["failed", "partial"])
    assert chosen(runs, Criteria(before=before, statuses=failed)) == made[3:]  # type: ignore[arg-type]
    os.utime(runs / made[3] / "journal.jsonl")
    assert chosen(runs, Criteria(before=before)) == [made[2]], "it was asked on"
    assert not Criteria().given and EVERY.given


def test_they_go_whole_and_nothing_else_does(runs: Path, journal: bytes) -> None:
    made = [make(runs, journal, days) for days in (1, 2, 3)]
    outside = runs.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (made[1] / "link").symlink_to(outside)
    names = [made[1].name, made[2].name]
    assert list(remove_runs(runs, names)) == [Spared(name, "") for name in names]
    assert run_folders(runs) == [made[0]] and (outside / "file").exists()
    assert not (runs / REMOVING).exists()
    assert list(remove_runs(runs, names)) == [Spared(name, "") for name in names], "they are gone"


def test_what_goes_on_stays(runs: Path, journal: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    held = make(runs, journal, 2, "unfinished")
    just_made = runs / time.strftime("%Y%m%d-%H%M%S-ffffff")
    (just_made / "blobs").mkdir(parents=True)
    with (held / "journal.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        plan = plan_removal(runs, EVERY)
        assert plan.runs == [] and plan.total == 2
        problems = ["it is going on", "it was just made"]
        assert sorted(spared.problem for spared in plan.spared) == problems
        names = [held.name, just_made.name]
        assert [spared.problem for spared in remove_runs(runs, names)] == problems
    assert sorted(path.name for path in run_folders(runs)) == sorted(names)
    os.utime(held / "journal.jsonl")
    assert chosen(runs, EVERY) == [held.name], "it was killed just now"

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert chosen(runs, EVERY) == []
    assert list(remove_runs(runs, [held.name])) == [Spared(held.name, "it is going on")]


def test_nobody_goes_on_with_what_is_being_removed(
    runs: Path, journal: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(runs, journal, 1, "unfinished")
    seen: list[str] = []

    def trying(name: str, *, dir_fd: int) -> None:
        for where in (runs, runs / REMOVING):
            with pytest.raises(JournalError) as raised:
                Journal.reopen(where / name)
            seen.append(str(raised.value))

    monkeypatch.setattr(shutil, "rmtree", trying)
    assert list(remove_runs(runs, [folder.name])) == [Spared(folder.name, "")]
    assert "No such file" in seen[0] and "is still going" in seen[1]


def test_what_is_no_run_stays(runs: Path, journal: bytes) -> None:
    elsewhere = make(runs.parent / "elsewhere", journal, 9)
    runs.mkdir()
    (runs / elsewhere.name).symlink_to(elsewhere)
    (runs / "notes").mkdir()
    (runs / "notes" / "journal.jsonl").write_text('{"my": "journal"}\n')
    torn = runs / "20260101-000001-abcdef"
    torn.mkdir()
    (torn / "journal.jsonl").write_bytes(journal[:50])
    linked = runs / "20260101-000002-abcdef"
    linked.mkdir()
    (linked / "journal.jsonl").symlink_to(elsewhere / "journal.jsonl")
    full = runs / "20260101-000003-abcdef"
    (full / "blobs" / "x").mkdir(parents=True)
    (full / "blobs" / "file").write_text("")
    plan = plan_removal(runs, EVERY)
    assert plan.runs == [] and len(plan.spared) == plan.total == 5
    assert dict(plan.spared)[elsewhere.name] == "it is a link"
    names = [spared.run for spared in plan.spared]
    assert all(spared.problem for spared in remove_runs(runs, names))
    assert len(run_folders(runs)) == 5 and elsewhere.exists()


def test_an_empty_folder_of_a_run_goes(runs: Path) -> None:
    empty, started = runs / "20260101-000001-abcdef", runs / "20260101-000002-abcdef"
    empty.mkdir(parents=True)
    (started / "blobs").mkdir(parents=True)
    (started / "journal.jsonl").touch()
    for path in (empty, started / "journal.jsonl"):
        os.utime(path, (1e9, 1e9))
    names = [started.name, empty.name]
    assert chosen(runs, Criteria(before=time.time() - _DAY)) == names
    assert list(remove_runs(runs, names)) == [Spared(name, "") for name in names]


def test_what_an_earlier_removal_left_goes_too(runs: Path, journal: bytes) -> None:
    folder = make(runs, journal, 1)
    half = runs / REMOVING / "20260101-000000-abcdef"
    half.mkdir(parents=True)
    (half / "blob").touch()
    (runs / REMOVING / "mine").mkdir()
    assert run_folders(runs) == [folder]
    done = list(remove_runs(runs, [folder.name]))
    assert done == [Spared(f"{REMOVING}/mine", "it is no run"), Spared(folder.name, "")]
    assert not half.exists() and (runs / REMOVING / "mine").exists()


def test_a_link_in_the_place_of_the_bin_is_not_followed(runs: Path, journal: bytes) -> None:
    folder = make(runs, journal, 1)
    outside = runs.parent / "outside"
    outside.mkdir()
    (runs / REMOVING).symlink_to(outside)
    with pytest.raises(JournalError, match="cannot remove runs from"):
        list(remove_runs(runs, [folder.name]))
    assert folder.exists()


def test_two_at_once(runs: Path, journal: bytes) -> None:
    names = [make(runs, journal, days).name for days in range(1, 30)]
    code = (
        "import sys; from pathlib import Path; from abyme.errors import JournalError\n"
        "from abyme.journal.gc import remove_runs\n"
        "try: assert not any(s.problem for s in remove_runs(Path(sys.argv[1]), sys.argv[2:]))\n"
        "except JournalError as error: assert 'another process' in str(error)\n"
    )
    command = [sys.executable, "-c", code, str(runs), *names]
    started = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert list(runs.iterdir()) == []


def test_what_cannot_be_removed_is_said_and_tried_again(
    runs: Path, journal: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [make(runs, journal, days) for days in (1, 2)]
    remove = shutil.rmtree

    def refusing(name: str, *, dir_fd: int) -> None:
        if name == folders[0].name:
            raise PermissionError(13, "Permission denied")
        remove(name, dir_fd=dir_fd)

    monkeypatch.setattr(shutil, "rmtree", refusing)
    first, second = remove_runs(runs, [folder.name for folder in folders])
    left = runs / REMOVING / folders[0].name
    assert first.problem == f"Permission denied; what is left of it is in {left}"
    assert second.problem == "" and run_folders(runs) == []
    monkeypatch.undo()
    assert list(remove_runs(runs, [])) == [] and not (runs / REMOVING).exists()


def test_what_is_shared_is_not_freed(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    (one / "blob").write_bytes(b"x" * 100_000)
    (one / "again").hardlink_to(one / "blob")
    own = folder_bytes(one)
    (two / "blob").hardlink_to(one / "blob")
    assert 100_000 <= own == folder_bytes(one) < 150_000
    assert freed_bytes([one]) < 100_000 <= freed_bytes([one, two]) == all_bytes([one, two])
    (two / "link").symlink_to("/")
    os.mkfifo(two / "pipe")
    assert folder_bytes(two) < 150_000
    assert folder_bytes(tmp_path / "none") == freed_bytes([tmp_path / "none"]) == 0
