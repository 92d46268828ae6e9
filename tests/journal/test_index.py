"""The index of runs is a cache: with it, without it and with a damaged one, the same rows."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abyme.errors import JournalError, ModelError
from abyme.journal import find, index
from abyme.journal.find import Found, find_runs
from abyme.journal.gc import remove_runs
from abyme.journal.index import INDEX
from abyme.journal.summary import STATUSES, RunSummary, summarise
from abyme.journal.wanted import EVERYTHING, Wanted
from support.nobody import passed_as_nobody
from support.runs import ask, cell

_HOUR = 3_600


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The events of a run, as they lie on the disk."""
    runs = tmp_path_factory.mktemp("runs")
    answer = ask(runs, [cell("FINAL(1)")])
    text = (runs / answer.run / "journal.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def make(runs: Path, name: str, lines: list[dict[str, Any]], **changes: Any) -> Path:
    """A run folder with this journal, an hour old: ``changes`` to its first and last line."""
    first = {**lines[0], "run": changes.pop("run", name)}
    last = {**lines[-1], "answer": {**lines[-1]["answer"]}}
    for field, value in changes.items():
        if field in ("status", "reason"):
            last["answer"][field] = value
        else:
            first[field] = value
    events = [first, *lines[1:-1]] + ([last] if changes.get("status") != "unfinished" else [])
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "journal.jsonl"
    journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    at = time.time() - _HOUR
    os.utime(journal, (at, at))
    return folder


def some(runs: Path, lines: list[dict[str, Any]], count: int = 5) -> list[Path]:
    return [
        make(runs, f"20260101-00000{n}-abcdef", lines, question=f"question {n}?")
        for n in range(count)
    ]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that are read from their folders from now on."""
    read: list[str] = []

    def noting(folder: Path) -> RunSummary:
        read.append(folder.name)
        return summarise(folder)

    monkeypatch.setattr(find, "summarise", noting)
    return read


def test_only_what_changed_is_read_again(
    runs: Path, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = some(runs, lines)
    read = counted(monkeypatch)
    whole = find_runs(runs)
    assert len(read) == 5 and whole == find_runs(runs, indexed=False)
    assert (runs / INDEX).stat().st_mode & 0o777 == 0o600
    read.clear()
    assert find_runs(runs) == whole and read == []
    make(runs, folders[2].name, lines, question="another?")
    shutil.rmtree(folders[0])
    new = make(runs, "20260102-000000-abcdef", lines)
    found = find_runs(runs)
    assert sorted(read) == sorted([folders[2].name, new.name])
    assert found == find_runs(runs, indexed=False) and found.total == 5
    with sqlite3.connect(runs / INDEX) as rows:
        names = [name for (name,) in rows.execute("SELECT name FROM runs ORDER BY name")]
    rows.close()
    assert names == sorted(folder.name for folder in [*folders[1:], new])


def test_a_run_that_is_going_or_cannot_be_read_is_read_each_time(
    runs: Path, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    going = make(runs, "20260101-000000-abcdef", lines, status="unfinished")
    os.utime(going / "journal.jsonl")
    (runs / "20260101-000001-abcdef").mkdir()
    read = counted(monkeypatch)
    with (going / "journal.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert [run.status for run in find_runs(runs).runs] == ["unreadable", "going"]
        (going / "data").write_bytes(b"x" * 100_000)
        assert (find_runs(runs).runs[1].bytes or 0) > 100_000
    assert len(read) == 4
    assert [run.status for run in find_runs(runs).runs] == ["unreadable", "unfinished"]
    at = time.time() - _HOUR
    os.utime(going / "journal.jsonl", (at, at))
    assert find_runs(runs, Wanted(statuses=frozenset(["going"]))).runs == []
    with (going / "journal.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (held,) = find_runs(runs, Wanted(statuses=frozenset(["going"]))).runs
        assert held.run == going.name
    (found,) = find_runs(runs, Wanted(statuses=frozenset(["unfinished"]))).runs
    assert found.run == going.name


def test_the_limit_and_whether_more_match(runs: Path, lines: list[dict[str, Any]]) -> None:
    some(runs, lines)
    make(runs, "20260102-000000-abcdef", lines, status="failed")
    complete = Wanted(statuses=frozenset(["complete"]))
    for indexed in (False, True, True):
        found = find_runs(runs, complete, limit=4, indexed=indexed)
        assert (len(found.runs), found.total, found.more) == (4, 6, True)
        assert not find_runs(runs, complete, limit=5, indexed=indexed).more
        assert find_runs(runs, limit=1, indexed=indexed).runs[0].status == "failed"


_words = st.sampled_from(
    ["river", "ÉTÉ", "été", "straße", "STRASSE", "a\x00b", "漢字", "r", "\ud800", "x  y"]
)
_runs = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["complete", "partial", "failed", "unfinished"]),
        "question": st.lists(_words, max_size=3).map(" ".join),
        "model": st.sampled_from(["gpt-5-mini", "GPT-5", "qwen3", "Straße"]),
        "at": st.sampled_from([1e9, 1.7e9, 1.7e9 + 0.5]),
    }
)
_wanted = st.builds(
    Wanted,
    statuses=st.frozensets(st.sampled_from(STATUSES), max_size=3),
    model=st.sampled_from(["", "gpt", "MINI", "strasse", "\n", "scripted"]),
    since=st.sampled_from([0.0, 1.5e9, 1.7e9 + 0.5, 2e9]),
    words=st.lists(
        _words | st.sampled_from(["", "RIVER", "ssE", "text", "%", "_"]), max_size=2
    ).map(tuple),
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    first=st.lists(_runs, max_size=5),
    then=st.lists(_runs, max_size=5),
    asked=st.lists(_wanted, min_size=1, max_size=3),
    limit=st.none() | st.integers(0, 4),
)
def test_with_and_without_the_index_the_rows_are_the_same(
    tmp_path: Path,
    lines: list[dict[str, Any]],
    first: list[dict[str, Any]],
    then: list[dict[str, Any]],
    asked: list[Wanted],
    limit: int | None,
) -> None:
    runs = tmp_path / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    for version in (first, then):
        for number, changes in enumerate(version):
            make(runs, f"20260101-00000{number}-abcdef", lines, **changes)
        for wanted in asked:
            expected = find_runs(runs, wanted, limit=limit, indexed=False)
            assert find_runs(runs, wanted, limit=limit) == expected
            matching = [run for run in find_runs(runs, indexed=False).runs if wanted.matches(run)]
            assert find_runs(runs, wanted).runs == matching


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_damage_shows(tmp_path: Path, lines: list[dict[str, Any]], data: st.DataObject) -> None:
    runs = tmp_path / "runs"
    if not runs.exists():
        some(runs, lines)
    whole = find_runs(runs)
    image = (runs / INDEX).read_bytes()
    at = data.draw(st.integers(100, len(image)))
    damaged = data.draw(
        st.sampled_from(
            [
                image[:at],
                image[:at] + b"\xff\x00" + image[at + 2 :],
                image[:at] + bytes(4096) + image[at + 4096 :],
                image + b"x",
                b"",
                b"no database at all" * 100,
            ]
        )
    )
    (runs / INDEX).write_bytes(damaged)
    assert find_runs(runs) == whole
    if damaged != image:
        assert (runs / INDEX).read_bytes() != damaged, "it was made anew"
    assert index.load(runs) is not None


def unchanged(runs: Path, whole: Found) -> None:
    before = os.lstat(runs / INDEX)
    assert find_runs(runs) == whole
    after = os.lstat(runs / INDEX)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize(
    "put",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("elsewhere"),
    ],
)
def test_what_is_no_index_is_left_alone(
    runs: Path, lines: list[dict[str, Any]], put: Callable[[Path], None]
) -> None:
    some(runs, lines)
    whole = find_runs(runs, indexed=False)
    put(runs / INDEX)
    unchanged(runs, whole)


def test_somebodys_own_database_is_left_alone(runs: Path, lines: list[dict[str, Any]]) -> None:
    some(runs, lines)
    whole = find_runs(runs, indexed=False)
    with sqlite3.connect(runs / INDEX) as own:
        own.execute("CREATE TABLE runs (mine)")
    own.close()
    unchanged(runs, whole)


def test_one_of_another_version_is_made_anew(
    runs: Path, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    some(runs, lines)
    whole = find_runs(runs)
    read = counted(monkeypatch)
    monkeypatch.setattr(index, "_KEY", b"another version")
    assert find_runs(runs) == whole and len(read) == 5
    assert find_runs(runs) == whole and len(read) == 5


def test_rows_of_another_shape_are_read_from_the_folders(
    runs: Path, lines: list[dict[str, Any]]
) -> None:
    some(runs, lines)
    whole = find_runs(runs)
    for change in (
        "UPDATE runs SET bytes = 'many'",
        "UPDATE runs SET summary = 'no JSON'",
        "UPDATE runs SET summary = x'7b7d', name = name || 'x'",
        "CREATE TRIGGER later AFTER DELETE ON runs BEGIN DELETE FROM runs; END",
        "DROP TABLE runs",
    ):
        rows = index.load(runs)
        assert rows is not None
        rows._rows.execute(change)
        index.save(runs, rows)
        assert find_runs(runs) == whole


@pytest.mark.parametrize("put", [os.mkdir, os.mkfifo, Path.touch])
def test_where_it_cannot_be_written_there_is_none(
    runs: Path, lines: list[dict[str, Any]], put: Callable[[Path], None]
) -> None:
    some(runs, lines)
    put(runs / index._NEW)
    whole = find_runs(runs, indexed=False)
    assert find_runs(runs) == whole
    assert not (runs / INDEX).exists()


def test_what_a_killed_writer_left_is_cleared(runs: Path, lines: list[dict[str, Any]]) -> None:
    some(runs, lines)
    (runs / index._NEW).touch()
    os.utime(runs / index._NEW, (0, 0))
    find_runs(runs)
    find_runs(runs)
    assert (runs / INDEX).exists() and not (runs / index._NEW).exists()


def test_a_full_disk_leaves_no_half_of_it(
    runs: Path, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    some(runs, lines)
    monkeypatch.setattr(index, "_hash", lambda image: (_ for _ in ()).throw(OSError(28, "full")))
    rows = index.Index()
    index.save(runs, rows)
    assert not (runs / INDEX).exists() and not (runs / index._NEW).exists()


def test_processes_at_once(runs: Path, lines: list[dict[str, Any]]) -> None:
    some(runs, lines)
    code = (
        "import os, sys; from pathlib import Path; from abyme.journal.find import find_runs\n"
        "runs = Path(sys.argv[1])\n"
        "for n in range(20):\n"
        "    os.utime(runs / f'20260101-00000{n % 5}-abcdef' / 'journal.jsonl', (n, n))\n"
        "    assert len(find_runs(runs).runs) == 5\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(runs)]) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0, 0, 0, 0]
    assert find_runs(runs) == find_runs(runs, indexed=False)


def test_without_sqlite(
    runs: Path, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    some(runs, lines)
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    assert len(find_runs(runs).runs) == 5 and not (runs / INDEX).exists()


def test_words_are_found_in_all_that_is_said(runs: Path) -> None:
    document = runs.parent / "contracts.txt"
    document.write_text("some text")
    made = ask(runs, [cell("FINAL(1)")], context=document)
    failed = ask(runs, [ModelError("the endpoint burnt down")])
    for words, expected in {
        ("what", "IT?"): {made.run, failed.run},
        ("contracts.txt",): {made.run},
        ("burnt  DOWN",): {failed.run},
        ("scripted", "contracts"): {made.run},
        ("it? the",): set(),
    }.items():
        assert {run.run for run in find_runs(runs, Wanted(words=words)).runs} == expected, words
    assert find_runs(runs, EVERYTHING).runs[1].documents == ("contracts.txt",)


def test_a_folder_that_is_read_only(runs: Path, lines: list[dict[str, Any]]) -> None:
    some(runs, lines)
    whole = find_runs(runs, indexed=False)
    runs.chmod(0o500)
    try:
        assert find_runs(runs) == whole
        assert os.geteuid() == 0 or not (runs / INDEX).exists()
        with (
            pytest.raises(JournalError, match="cannot remove runs from")
            if os.geteuid()
            else (contextlib.nullcontext())
        ):
            list(remove_runs(runs, []))
    finally:
        runs.chmod(0o700)


def test_a_folder_that_is_read_only_for_its_user() -> None:
    if os.geteuid() == 0:
        assert passed_as_nobody(Path(__file__), "-k", "that_is_read_only", seconds=60) == 2
