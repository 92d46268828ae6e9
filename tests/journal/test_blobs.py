"""Long texts: compressed behind the run, and whole at every moment of it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest

from abyme.errors import JournalError
from abyme.journal import blobs as module
from abyme.journal import files, writer
from abyme.journal.blobs import Blobs
from abyme.journal.reader import read
from abyme.journal.writer import Journal
from support.journals import LONG, events_in, message, started, write
from support.runs import ask, cell

RAW = LONG.encode()


def never() -> bool:
    return False


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "blobs").rglob("*") if path.is_file())


def test_only_what_gets_smaller_is_compressed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    noise, short, long = os.urandom(9_000), b"x" * 4_096, b"x" * 4_097
    digests = [blobs.put(raw) for raw in (noise, short, long)]
    blobs.settle(digests, never)
    assert files_in(tmp_path) == sorted([digests[0], digests[1], f"{digests[2]}.z"])
    assert [blobs.get(digest) for digest in digests] == [noise, short, long]
    assert [blobs.put(raw) for raw in (noise, short, long)] == digests
    assert len(files_in(tmp_path)) == 3, "what is there compressed is not written again"
    blobs.drop(digests[2])
    with pytest.raises(JournalError, match="missing"):
        blobs.get(digests[2])


def test_none_is_compressed_where_time_is_short(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digests = [blobs.put(bytes([n]) * 5_000) for n in range(20)]
    blobs.sync(digests)
    assert files_in(tmp_path) == sorted(digests)


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_a_full_disk_while_compressing_leaves_it_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(RAW)

    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if step == "open":
            patch.setattr(module, "private", full)
        elif step == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(Path, "replace", full)
        blobs.settle([digest], never)
    assert files_in(tmp_path) == [digest] and blobs.get(digest) == RAW


def test_a_full_disk_while_writing_a_text_is_said(runs: Path, monkeypatch: Any) -> None:
    async def main() -> None:
        journal = Journal(runs, "r")
        journal.append(started())
        monkeypatch.setattr(module, "private", full)
        with pytest.raises(JournalError, match="No space left on device; free some space"):
            journal.append(message(0, LONG))
        with pytest.raises(JournalError, match="cannot be written"):
            journal.append(message(1))
        await journal.close()

    def full(path: str, flags: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    asyncio.run(main())
    assert len(events_in(runs / "r")) == 1 and files_in(runs / "r") == []


def test_it_can_be_read_at_any_moment(tmp_path: Path) -> None:
    """Readers while texts are compressed under them: each is there, plain or packed."""
    blobs = Blobs(tmp_path)
    digests = [blobs.put(RAW + bytes([n])) for n in range(60)]
    done = threading.Event()
    failed: list[BaseException] = []

    def reader() -> None:
        try:
            while not done.is_set():
                for digest in digests:
                    assert blobs.get(digest).startswith(RAW)
                    assert blobs.beginning(digest, 10) == RAW[:10]
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=reader)
    thread.start()
    blobs.settle(digests, never)
    done.set()
    thread.join(60)
    assert not failed and all(name.endswith(".z") for name in files_in(tmp_path))


def test_a_bomb_is_not_unpacked(runs: Path) -> None:
    folder = write(lambda: Journal(runs, "r"), started(), message(0, LONG))
    (name,) = files_in(folder)
    path = folder / "blobs" / name[:2] / name
    path.write_bytes(zlib.compress(bytes(300_000_000), 9))
    with pytest.raises(JournalError, match="altered"):
        list(read(folder))
    assert len(Blobs(folder).beginning(name.removesuffix(".z"), 100)) == 100


def test_a_text_longer_than_its_line_says_is_refused(runs: Path) -> None:
    folder = write(lambda: Journal(runs, "r"), started(), message(0, LONG))
    path = folder / "journal.jsonl"
    raw = path.read_bytes()
    for wrong in (b'"chars":10', b'"chars":-1', b'"chars":"x"', b'"chars":true', b'"x":1'):
        path.write_bytes(raw.replace(f'"chars":{len(LONG)}'.encode(), wrong))
        with pytest.raises(JournalError, match=r"altered|does not say how long"):
            list(read(folder))


@pytest.mark.parametrize("damage", [b"", b"x", b"\x78\x9c"])
def test_a_damaged_packed_text(tmp_path: Path, damage: bytes) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(RAW)
    blobs.settle([digest], never)
    path = tmp_path / "blobs" / digest[:2] / f"{digest}.z"
    for raw in (damage, path.read_bytes()[:-1], path.read_bytes() + b"x"):
        path.write_bytes(raw)
        with pytest.raises(JournalError, match="altered"):
            blobs.get(digest)
        assert isinstance(blobs.beginning(digest, 5), bytes)


def test_texts_are_compressed_while_the_run_goes_on(runs: Path) -> None:
    async def main() -> None:
        journal = Journal(runs, "r")
        journal.append(message(0, LONG))
        assert files_in(runs / "r") == [hashlib.sha256(RAW).hexdigest()]
        async with asyncio.timeout(60):
            while not files_in(runs / "r")[0].endswith(".z"):
                await asyncio.sleep(0.01)
        journal.append(message(1, LONG))
        await journal.close()

    asyncio.run(main())
    assert events_in(runs / "r") == [message(0, LONG), message(1, LONG)]
    assert len(files_in(runs / "r")) == 1


def test_close_does_not_wait_for_much_to_be_compressed(runs: Path) -> None:
    few = write(lambda: Journal(runs, "few"), *(message(n, f"{n}" + LONG) for n in range(3)))
    many = write(lambda: Journal(runs, "many"), *(message(n, f"{n}" + LONG) for n in range(60)))
    assert all(name.endswith(".z") for name in files_in(few))
    assert not any(name.endswith(".z") for name in files_in(many))
    assert len(events_in(many)) == 60


class Disk:
    """What was brought to the disk, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[str] = []
        real = {"fsync": os.fsync, "fdatasync": os.fdatasync}

        def note(name: str, descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
            self.synced.append(Path(path).name)
            real[name](descriptor)

        for name in real:
            monkeypatch.setattr(os, name, lambda descriptor, name=name: note(name, descriptor))


def test_durable_waits_for_the_disk_at_every_event(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)

    async def main() -> None:
        journal = Journal(runs, "r", durable=True)
        journal.append(started())
        assert disk.synced[-1] == "journal.jsonl"
        journal.append(message(0))
        assert disk.synced.count("journal.jsonl") == 2
        journal.append(message(1, LONG))
        (name,) = files_in(runs / "r")
        assert not name.endswith(".z"), "it waits for the disk, not for the compressor"
        assert disk.synced.index(name) < len(disk.synced) - 1
        assert disk.synced[-1] == "journal.jsonl"
        await journal.close()
        assert files_in(runs / "r") == [f"{name}.z"]

    asyncio.run(main())


def test_texts_reach_the_disk_before_the_lines_that_name_them(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    folder = write(lambda: Journal(runs, "r"), message(0, LONG), message(1, "x" * 3_000))
    names = files_in(folder)
    assert set(disk.synced) >= {"journal.jsonl", "r", "runs", "blobs", names[0][:2]}
    assert disk.synced[-1] == "journal.jsonl"
    assert any(name.removesuffix(".part") in names for name in disk.synced[:-1])


def test_a_disk_that_fails_ends_a_durable_run_and_no_other(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    assert len(events_in(write(lambda: Journal(runs, "r"), started()))) == 1
    with pytest.raises(JournalError, match="Input/output error"):
        write(lambda: Journal(runs, "d", durable=True), started())


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_disk_that_cannot_sync_does(
    runs: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def cannot(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fdatasync", cannot)
    assert len(events_in(write(lambda: Journal(runs, "r", durable=True), started()))) == 1


def test_what_is_done_in_several_threads_is_done_once(tmp_path: Path) -> None:
    done: list[int] = []
    files.several(done.append, range(100))
    assert sorted(done) == list(range(100))
    files.several(done.append, [])


def test_a_folder_that_became_read_only_ends_the_run_and_says_why(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For root there is no such folder: what the kernel would say stands for it."""

    def refused(path: str, flags: int) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(module, "private", refused)
    answer = ask(runs, [cell("answer['content'] = 'kept'"), cell("print('x' * 5000)")])
    assert answer.status == "failed" and "Read-only file system" in answer.reason


def test_a_folder_without_rights_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path) -> None:
        raise OSError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(writer, "_make_folder", refused)
    with pytest.raises(JournalError, match=r"cannot keep runs in .*: Permission denied; choose"):
        Journal(tmp_path, "r")
