"""A journal that goes on: under a lock, behind its last whole line; and one that is a fork."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from abyme.errors import JournalError
from abyme.events import HostAnswered
from abyme.journal import files
from abyme.journal.reader import find_run, read
from abyme.journal.sizes import folder_bytes
from abyme.journal.writer import Journal
from support.journals import LONG, events_in, message, started, write


@pytest.fixture
def folder(runs: Path) -> Path:
    """A journal of four lines, of which one names a long text."""
    events = [started(), message(0), message(1, LONG), message(2)]
    return write(lambda: Journal(runs, "r"), *events)


def test_it_goes_on_behind_its_last_line(folder: Path) -> None:
    before = (folder / "journal.jsonl").read_bytes()
    assert write(lambda: Journal.reopen(folder), message(3, LONG)) == folder
    assert (folder / "journal.jsonl").read_bytes().startswith(before)
    assert events_in(folder)[1:] == [
        message(0),
        message(1, LONG),
        message(2),
        message(3, LONG),
    ]


def test_at_every_length_what_a_reader_takes_is_kept_and_the_rest_cut_off(folder: Path) -> None:
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    first = whole.index(b"\n")
    torn: list[int] = []

    def reopen() -> Journal:
        journal = Journal.reopen(folder)
        torn.append(journal.torn_bytes)
        return journal

    for cut in range(first, len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = events_in(folder)
        torn.clear()
        write(reopen, message(9))
        assert events_in(folder) == [*kept, message(9)]
        behind = cut - whole[:cut].rfind(b"\n") - 1
        assert torn == [0 if whole[cut : cut + 1] == b"\n" else behind]
    path.write_bytes(whole[:first] + b'\n{"seq":1,"at"\n')
    write(lambda: Journal.reopen(folder), message(9))
    assert len(events_in(folder)) == 2, "a broken line that has its line break is cut off too"


@pytest.mark.parametrize(
    "journal",
    [b"", b'{"seq":0', b"{\n{\n", b'{"seq":1,"prev":"' + b"0" * 32 + b'"}\n', b'{"seq":"0"}\n'],
)
def test_what_is_no_journal_is_not_gone_on_with(folder: Path, journal: bytes) -> None:
    (folder / "journal.jsonl").write_bytes(journal)
    with pytest.raises(JournalError):
        Journal.reopen(folder)
    assert (folder / "journal.jsonl").read_bytes() == journal, "and is left as it is"


def test_a_last_line_that_does_not_follow_is_refused(folder: Path) -> None:
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[3]]))
    with pytest.raises(JournalError, match="does not follow the one before"):
        Journal.reopen(folder)


def test_one_process_has_it_and_readers_may_read(folder: Path, runs: Path) -> None:
    async def main() -> None:
        journal = Journal.reopen(folder)
        with pytest.raises(JournalError, match="the run r is still going, here or in"):
            Journal.reopen(folder)
        journal.append(message(3))
        assert events_in(folder)[-1] == message(3)
        other = Journal(runs, "new")
        other.append(started())
        with pytest.raises(JournalError, match="the run new is still going"):
            Journal.reopen(other.folder)
        for each in (journal, other):
            await each.close()
        await Journal.reopen(folder).close()

    asyncio.run(main())


HOLDER = """
import asyncio, sys
from pathlib import Path
from abyme.journal.writer import Journal
async def main():
    journal = Journal.reopen(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


def test_a_process_that_is_killed_holds_nothing(folder: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(JournalError, match="still going, here or in another process"):
            Journal.reopen(folder)
        holder.kill()
        holder.wait(timeout=60)
        write(lambda: Journal.reopen(folder), message(3))
    assert events_in(folder)[-1] == message(3)


def test_whoever_asks_whether_it_is_going_does_not_hinder_it(folder: Path) -> None:
    path = folder / "journal.jsonl"
    with path.open("rb") as probing:
        fcntl.flock(probing, fcntl.LOCK_SH)
        tries: list[int] = []
        real = fcntl.flock

        def flock(descriptor: int, kind: int) -> None:
            tries.append(kind)
            if len(tries) == 3:
                real(probing, fcntl.LOCK_UN)
            real(descriptor, kind)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fcntl, "flock", flock)
            write(lambda: Journal.reopen(folder), message(3))
    assert len(tries) >= 3


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_does(
    runs: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(descriptor: int, kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    folder = write(lambda: Journal(runs, "r"), started())
    assert not files.is_locked(folder / "journal.jsonl")
    write(lambda: Journal.reopen(folder), message(0))
    assert len(events_in(folder)) == 2


def test_a_run_removed_meanwhile_is_not_written_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from abyme.journal import writer

    def lock(descriptor: int) -> bool:
        (folder / "journal.jsonl").unlink()
        return True

    monkeypatch.setattr(writer, "lock", lock)
    with pytest.raises(JournalError, match="the run r was removed meanwhile"):
        Journal.reopen(folder)


def test_a_missing_one_and_one_that_is_no_file(runs: Path, folder: Path) -> None:
    with pytest.raises(JournalError, match="cannot be written: No such file"):
        Journal.reopen(runs / "none")
    (folder / "journal.jsonl").unlink()
    os.mkfifo(folder / "journal.jsonl")
    with pytest.raises(JournalError, match="it is not a regular file"):
        Journal.reopen(folder)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What ``time.time`` says, one after the other."""
    times: list[float] = []
    monkeypatch.setattr(time, "time", lambda: times.pop(0))
    return times


def test_time_never_goes_back(runs: Path, clock: list[float]) -> None:
    clock += [100.0, 50.0, 101.5]
    folder = write(lambda: Journal(runs, "r"), started(), message(0), message(1))
    clock += [7.0, 200.0]
    write(lambda: Journal.reopen(folder), message(2), message(3))
    assert [record.at for record in read(folder)] == [100.0, 100.0, 101.5, 101.5, 200.0]


@pytest.mark.parametrize("links", [True, False])
def test_a_fork_begins_with_its_parents_lines(
    folder: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refused(*names: Any, **options: Any) -> None:
        raise OSError(errno.EXDEV, "another disk")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    (folder / "data").mkdir()
    (folder / "data" / "000000.txt").write_bytes(b"data")
    write(lambda: Journal.reopen(folder), message(3, "other " * 1000))
    before = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)

    fork = write(lambda: Journal.fork(folder, runs, "f", 3), message(7, LONG), message(8))

    assert fork == runs / "f"
    assert events_in(fork)[1:] == [message(0), message(1, LONG), message(7, LONG), message(8)]
    assert (fork / "journal.jsonl").read_bytes().startswith(b"".join(before[:3]))
    assert (folder / "journal.jsonl").read_bytes() == b"".join(before)
    copied = fork / "data" / "000000.txt"
    source = folder / "data" / "000000.txt"
    assert copied.read_bytes() == b"data"
    assert copied.stat().st_mtime_ns == source.stat().st_mtime_ns
    assert copied.samefile(source) == links
    blobs = [path for path in (fork / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 1, "what later lines of the parent name is not taken along"


def test_a_fork_of_a_line_that_only_misses_its_line_break(folder: Path, runs: Path) -> None:
    path = folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    fork = write(lambda: Journal.fork(folder, runs, "f", 4), message(3))
    assert events_in(fork) == [*events_in(folder), message(3)]


def test_a_fork_that_cannot_be_leaves_nothing(folder: Path, runs: Path) -> None:
    with pytest.raises(JournalError, match="has no whole line 5"):
        Journal.fork(folder, runs, "f", 5)
    for blob in (folder / "blobs").rglob("*.z"):
        blob.unlink()
    with pytest.raises(JournalError, match="a text of the journal is missing"):
        Journal.fork(folder, runs, "f", 4)
    assert not (runs / "f").exists()
    with pytest.raises(JournalError, match=r"cannot keep runs in .*File exists"):
        Journal.fork(folder, runs, "r", 1)
    assert len(list(folder.iterdir())) == 2, "what was there before is left alone"


def test_values_that_look_like_texts_are_carried_over(runs: Path) -> None:
    odd = {"$blob": LONG, "$sha256": {"$dict": 1, "x": LONG + "2"}}
    parent = write(lambda: Journal(runs, "r"), started(), HostAnswered("k", odd))
    fork = write(lambda: Journal.fork(parent, runs, "f", 2), message(0))
    assert events_in(fork)[1] == HostAnswered("k", odd)


def test_a_fork_is_a_run_once_its_own_line_is_there(runs: Path) -> None:
    """Killed before that, it would be its parent's second."""
    parent = write(lambda: Journal(runs, "r"), started())
    left = Journal.fork(parent, runs, "f", 1)
    assert not (left.folder / "journal.jsonl").exists()
    with pytest.raises(JournalError, match="no run 'f'"):
        find_run(runs, "f")
    left.abandon()
    write(lambda: Journal.fork(parent, runs, "g", 1), message(0))
    assert len(events_in(find_run(runs, "g"))) == 2


def test_what_a_killed_writer_left_unfinished_is_removed(folder: Path, tmp_path: Path) -> None:
    write(lambda: Journal.reopen(folder), message(3, LONG))
    (text,) = (path for path in (folder / "blobs").rglob("*") if path.is_file())
    outside = tmp_path / "outside" / "ab"
    outside.mkdir(parents=True)
    (folder / "blobs" / "zz").symlink_to(outside)
    (folder / "checkpoints").symlink_to(outside.parent)
    (outside / "mine.part").write_text("x")
    left = [text.with_suffix(suffix) for suffix in (".z.part", ".4711.part")]
    for path in left:
        path.write_bytes(b"half of it")
    assert folder_bytes(folder) > 3 * 4_096, "they count"
    write(lambda: Journal.reopen(folder), message(4))
    assert not any(path.exists() for path in left)
    assert text.exists() and (outside / "mine.part").exists()
