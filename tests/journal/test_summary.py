"""What a run was, from two lines of its journal: right for every run, and never an exception."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme import Answer, Limits
from abyme.errors import JournalError, ModelError
from abyme.journal import summary as summaries
from abyme.journal.summary import (
    RunSummary,
    is_going,
    list_runs,
    newest_run,
    run_folders,
    summarise,
)
from support.runs import ask, cell, scripted_rlm


def aged(folder: Path, seconds: float = 3_600) -> Path:
    """The folder, its journal last written so long ago."""
    at = time.time() - seconds
    os.utime(folder / "journal.jsonl", (at, at))
    return folder


def cut(folder: Path, lines: int, torn: bytes = b"") -> Path:
    """The folder, its journal cut after so many lines."""
    path = folder / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]) + torn)
    return folder


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Somebody has the journal to write to it."""
    with (folder / "journal.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def test_every_status_and_its_figures(runs: Path) -> None:
    limits = Limits(max_turns=1, max_seconds=60)
    answers: list[Answer] = [
        ask(runs, [cell("FINAL(llm_query('q'))")], sub=["yes"]),
        ask(runs, [cell("x = 1"), "guess"], limits=limits),
        ask(runs, [ModelError("no")]),
    ]
    assert [answer.status for answer in answers] == ["complete", "partial", "failed"]
    for answer in answers:
        found = summarise(runs / answer.run)
        assert (found.run, found.folder) == (answer.run, str(runs / answer.run))
        assert (found.status, found.reason) == (answer.status, answer.reason)
        assert (found.usage, found.cost) == (answer.usage, answer.cost)
        assert (found.turns, found.seconds) == (answer.turns, answer.seconds)
        assert (found.question, found.model, found.sub_model) == ("what is it?", *["scripted"] * 2)
        assert abs(found.started - time.time()) < 600 and not found.problem


@pytest.mark.parametrize("characters", [1_999, 5_000, 500_000])
def test_long_questions_and_answers(runs: Path, characters: int) -> None:
    question = "é\ud800" * characters
    code = f"FINAL([['x' * 100] * 10] * {characters // 100})"
    rlm = scripted_rlm(runs, [cell(code)])
    answer = rlm.completion(question, "some text")
    found = summarise(runs / answer.run)
    assert found.status == "complete" and found.usage == answer.usage
    assert len(found.question) > 500 and question.startswith(found.question)


def test_a_run_without_an_end(runs: Path) -> None:
    folder = cut(runs / ask(runs, [cell("FINAL(1)")]).run, -1)
    fresh = summarise(folder)
    assert (fresh.status, fresh.question) == ("unfinished", "what is it?")
    assert fresh.cost is None and fresh.turns is None and fresh.seconds is not None
    (found,) = list_runs(runs)
    assert found.status == "unfinished"
    with held(folder):
        (found,) = list_runs(runs)
        assert found.status == "going", "a process holds the journal"
    torn = aged(cut(folder, 3, b'{"seq":3,"at":17'))
    assert summarise(torn).status == "unfinished"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The journal of a run."""
    runs = tmp_path_factory.mktemp("runs")
    answer = ask(runs, [cell("print(1)"), cell("FINAL(1)")])
    return (runs / answer.run / "journal.jsonl").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for journals that are no good."""
    yield tmp_path_factory.mktemp("20260101-000000-abcdef")


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_no_damage_raises(folder: Path, whole: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(whole)))
    kind = data.draw(st.sampled_from(["cut", "replace", "garbage", "nested"]))
    damaged = {
        "cut": whole[:at],
        "replace": whole[:at] + b"\xff\x00{" + whole[at + 3 :],
        "garbage": data.draw(st.binary(max_size=200)),
        "nested": b"[" * 100_000 + b"\n" + b'{"a":' * 100_000 + b"\n",
    }[kind]
    (folder / "journal.jsonl").write_bytes(damaged)
    found = summarise(folder)
    assert found.run == folder.name
    assert (found.status == "unreadable") == bool(found.problem)


def test_what_is_no_run_and_what_cannot_be_read(runs: Path) -> None:
    assert list(list_runs(runs)) == []
    with pytest.raises(JournalError, match="there are no runs in"):
        newest_run(runs)
    answer = ask(runs, [cell("FINAL(1)")])
    (runs / "notes").mkdir()
    (runs / "20990101-000000-ffffff").write_text("a file, no folder")
    (runs / "20200101-000000-aaaaaa").mkdir()
    (runs / "20200102-000000-aaaaaa").mkdir()
    (runs / "20200102-000000-aaaaaa" / "journal.jsonl").write_text("")
    later = runs / "20200103-000000-aaaaaa"
    later.mkdir()
    first = json.loads((runs / answer.run / "journal.jsonl").read_text().split("\n")[0])
    (later / "journal.jsonl").write_text(json.dumps({**first, "format": 99}) + "\n")
    found = {item.run: (item.status, item.problem) for item in list_runs(runs)}
    assert list(found) == [answer.run, *(f"2020010{n}-000000-aaaaaa" for n in (3, 2, 1))]
    assert found.pop(answer.run) == ("complete", "")
    assert {status for status, _ in found.values()} == {"unreadable"}
    problems = [problem for _, problem in found.values()]
    assert "format is 99" in problems[0] and "empty" in problems[1]
    assert "No such file" in problems[2]
    assert problems[1] == "empty: nothing was written to its journal"
    assert newest_run(runs).name == answer.run
    file = runs / "notes" / "file"
    file.write_text("")
    with pytest.raises(JournalError, match=r"file is no folder: .* --runs or ABYME_RUNS"):
        run_folders(file)


def test_newest_first_also_within_a_second_and_under_other_names(runs: Path) -> None:
    made = [ask(runs, [cell("FINAL(1)")]).run for _ in range(4)]
    assert [folder.name for folder in run_folders(runs)] == made[::-1]
    (runs / made[3]).rename(runs / "kept")
    aged(runs / "kept", 7 * 86_400)
    assert [folder.name for folder in run_folders(runs)] == [*made[2::-1], "kept"]


def test_what_the_first_and_the_last_line_say_must_be_possible(runs: Path) -> None:
    folder = runs / ask(runs, [cell("FINAL(1)")]).run
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for at in ("NaN", "Infinity", "-1e300", "1e300", "-1", "1" * 400, '"1"', "null", "[]"):
        first = re.sub(rb'"at":[^,]*', b'"at":' + at.encode(), lines[0])
        path.write_bytes(b"".join([first, *lines[1:]]))
        found = summarise(folder)
        assert found.status == "unreadable" and found.problem.startswith("its first line: "), at
        assert found.started == 0.0
    for seconds in ("NaN", "1e300", "-1"):
        last = re.sub(rb'"seconds":[^,]*', b'"seconds":' + seconds.encode(), lines[-1])
        path.write_bytes(b"".join([*lines[:-1], last]))
        found = summarise(folder)
        assert found.status == "unreadable" and found.problem.startswith("its last line: ")
    for end in (b"[" * 100_000, b'{"at":' * 100_000, b'{"at":NaN}', b'{"at":1e999}', b"[1]"):
        path.write_bytes(lines[0] + end + b"\n")
        found = summarise(aged(folder))
        assert (found.status, found.seconds) == ("unfinished", None)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(runs: Path, make: Callable[[Path], None]) -> None:
    folder = runs / "20260101-000000-abcdef"
    folder.mkdir(parents=True)
    make(folder / "journal.jsonl")
    found = summarise(folder)
    assert (found.status, found.problem) == ("unreadable", "it is not a regular file")
    assert [item.run for item in list_runs(runs)] == [folder.name]
    with pytest.raises(JournalError, match=r"no run in .* can be read: `abyme runs` says why"):
        newest_run(runs)


def test_the_newest_run_is_one_that_could_be_written(runs: Path) -> None:
    run = ask(runs, [cell("FINAL(1)")]).run
    for number, journal in enumerate((b"", b'{"seq":0,"at":17', b"[[[[")):
        folder = runs / f"20990101-00000{number}-abcdef"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(journal)
    assert newest_run(runs).name == run


def test_going_is_what_is_held(runs: Path) -> None:
    folder = runs / ask(runs, [cell("FINAL(1)")]).run
    assert not is_going(folder)
    cut(folder, -1)
    assert not is_going(folder), "it was just written, and killed"
    with (folder / "journal.jsonl").open("ab"):
        assert not is_going(folder), "whoever reads it does not write it"
    with held(folder):
        assert is_going(folder)


def test_where_locks_do_not_tell_going_is_what_was_just_written(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    folder = cut(runs / ask(runs, [cell("FINAL(1)")]).run, -1)
    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert is_going(folder) and [found.status for found in list_runs(runs)] == ["going"]
    assert not is_going(aged(folder))
    assert [found.status for found in list_runs(runs)] == ["unfinished"]


def test_only_those_asked_for_are_read(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        ask(runs, [cell("FINAL(1)")])
    read: list[Path] = []

    def noting(folder: Path) -> RunSummary:
        read.append(folder)
        return summarise(folder)

    monkeypatch.setattr(summaries, "summarise", noting)
    listed = list_runs(runs)
    next(listed)
    assert len(read) == 1


def test_of_a_long_journal_only_the_ends_are_read(runs: Path) -> None:
    folder = runs / ask(runs, [cell("FINAL(1)")]).run
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    with (folder / "journal.jsonl").open("wb") as file:
        file.write(lines[0])
        file.seek(2**40, os.SEEK_CUR)  # a terabyte that takes no room on the disk
        file.write(b"\n" + lines[-1])
    assert summarise(folder).status == "complete"


def test_a_fork_is_known_by_its_first_line(runs: Path) -> None:
    run = ask(runs, [cell("FINAL(1)")]).run
    folder = (runs / run).rename(runs / "20260203-040506-abcdef")
    found = summarise(folder)
    assert found.fork_of == run and found.status == "complete"
    assert time.strftime("%Y%m%d-%H%M%S", time.localtime(found.started)) == folder.name[:15]
    assert summarise(folder.rename(runs / "kept")).fork_of == "", "somebody gave it a name"


@pytest.mark.parametrize("kind", ["RunResumed", "RunForked", "QuestionAsked"])
def test_the_last_line_may_name_newer_terms(runs: Path, kind: str) -> None:
    folder = runs / ask(runs, [cell("FINAL(1)")]).run
    terms = {"version": "9", "model": "later", "sub_model": "small"}
    for value, model in ((terms, "later"), ({"model": 3}, "scripted"), (None, "scripted")):
        with cut(folder, 5).joinpath("journal.jsonl").open("a") as file:
            file.write(json.dumps({"event": kind, "at": time.time(), "terms": value}) + "\n")
        found = summarise(aged(folder))
        assert (found.status, found.model) == ("unfinished", model)


def test_the_first_documents_are_named(runs: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(12):
        (texts / f"{number:02}.txt").write_text("some text")
    found = summarise(runs / ask(runs, [cell("FINAL(1)")], context=texts).run)
    assert found.documents == tuple(f"{number:02}.txt" for number in range(10))
