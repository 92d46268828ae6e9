"""The journal on disk: readable whatever happened to its writer, and changed by nobody unseen."""

from __future__ import annotations

import asyncio
import compileall
import hashlib
import json
import os
import stat
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme import RLM
from abyme.errors import JournalError
from abyme.events import HostAnswered, MessageAdded, NodeStarted, OutputAdded
from abyme.inside import channel
from abyme.journal.format import FIRST_PREV
from abyme.journal.reader import find_run, read
from abyme.journal.writer import Journal
from support.runs import ask, cell, events_of, settled
from support.stub import Status, Stub


def written(runs: Path, *texts: str) -> Path:
    """A journal with one message for each text."""

    async def main() -> Path:
        journal = Journal(runs, "r")
        for index, text in enumerate(texts):
            journal.append(MessageAdded("0", index, "user", text))
        journal.append(OutputAdded("0", 1, "only listeners see this"))
        await journal.close()
        await journal.close()
        return journal.folder

    return asyncio.run(main())


@settings(deadline=None, max_examples=50)
@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=()), max_size=50).map(lambda t: t * 60), max_size=6
    )
)
def test_any_text_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = written(tmp_path_factory.mktemp("runs"), *texts)
    events = [record.event for record in read(folder)]
    assert events == [MessageAdded("0", i, "user", text) for i, text in enumerate(texts)]


def test_long_texts_are_stored_once_and_folders_are_private(runs: Path) -> None:
    folder = written(runs, "x" * 5000, "x" * 5000, "short")
    blobs = [path for path in (folder / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 1 and zlib.decompress(blobs[0].read_bytes()) == b"x" * 5000
    assert (folder / "journal.jsonl").stat().st_size < 1000
    for path in [folder, *folder.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_a_torn_last_line_is_passed_over_at_every_length(runs: Path) -> None:
    folder = written(runs, "one", "two", "three")
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = [record.event for record in read(folder)]
        complete = sum(1 for n in range(3) if cut >= sum(len(line) for line in lines[: n + 1]) - 1)
        assert len(kept) == complete


def test_a_changed_byte_a_missing_line_and_a_changed_blob_are_noticed(runs: Path) -> None:
    folder = written(runs, "one", "two" * 1000, "three", "four")
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(whole.replace(b'"one"', b'"One"'))
    with pytest.raises(JournalError, match="line 2 does not follow"):
        list(read(folder))
    path.write_bytes(b"".join([lines[0], *lines[2:]]))
    with pytest.raises(JournalError, match="line 2 does not follow"):
        list(read(folder))
    path.write_bytes(b"".join([lines[0], b"{garbage\n", *lines[1:]]))
    with pytest.raises(JournalError, match="line 2 is damaged"):
        list(read(folder))
    path.write_bytes(whole)
    blob = next(p for p in (folder / "blobs").rglob("*") if p.is_file())
    blob.write_text("other")
    with pytest.raises(JournalError, match="altered"):
        list(read(folder))
    blob.unlink()
    with pytest.raises(JournalError, match="missing"):
        list(read(folder))


def test_an_unknown_event_is_an_error_that_names_the_line(runs: Path) -> None:
    folder = written(runs, "one")
    line = {"seq": 0, "at": 1.0, "prev": "0" * 32, "event": "FromTheFuture"}
    (folder / "journal.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(JournalError, match=r"line 1.*FromTheFuture"):
        list(read(folder))


def test_a_journal_of_a_later_format_is_refused_in_one_line(runs: Path) -> None:
    answer = ask(runs, [cell("FINAL(1)")])
    path = runs / answer.run / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"format":3', b'"format":4', 1))
    with pytest.raises(JournalError, match="has format 4; this version of abyme reads up to 3"):
        events_of(runs, answer)


def test_runs_are_found_by_id_beginning_or_folder(runs: Path) -> None:
    folder = written(runs, "one")
    folder.rename(runs / "20260101-abc")
    written(runs, "one").rename(runs / "20260102-abd")
    assert find_run(runs, "20260101-abc").name == "20260101-abc"
    assert find_run(runs, "20260102").name == "20260102-abd"
    assert find_run(runs, str(runs / "20260102-abd")).name == "20260102-abd"
    with pytest.raises(JournalError, match="may be 2 runs"):
        find_run(runs, "2026")
    for wrong in ("nosuch", "", "*", "../x"):
        with pytest.raises(JournalError, match="there is no run"):
            find_run(runs, wrong)


def test_the_newest_are_named_by_their_time(runs: Path) -> None:
    for name in ("20260102-000000-aaaaaa", "20260101-000000-ffffff", "zzz", "2026 backup"):
        written(runs, "one").rename(runs / name)
    for name, at in (("20260102-000000-aaaaaa", 1e9), ("zzz", 2e9), ("2026 backup", 2e9)):
        os.utime(runs / name / "journal.jsonl", (at, at))
    ids = "20260102-000000-aaaaaa, 20260101-000000-ffffff"
    with pytest.raises(JournalError, match=f"the newest are {ids}, (zzz|2026 backup)$"):
        find_run(runs, "nosuch")
    with pytest.raises(JournalError, match=rf"may be 3 runs \({ids}, 2026 backup\)"):
        find_run(runs, "2026")
    with pytest.raises(JournalError, match=r"journal\.jsonl is no folder"):
        find_run(runs / "zzz" / "journal.jsonl", "x")


def damaged(at: str = "1.0", event: str = "", **fields: Any) -> bytes:
    """A first line with these fields."""
    event = event or json.dumps({"event": "HostAnswered", "key": "k", "value": 1, **fields})[1:-1]
    return f'{{"seq":0,"at":{at},"prev":"{FIRST_PREV}",{event}}}\n'.encode()


NESTED = '"event":"HostAnswered","key":"k","value":' + "[" * 900 + "]" * 900
ENDS = b'{"seq":1}\n'


@pytest.mark.parametrize(
    "journal",
    [
        *(damaged(at) for at in ("NaN", "-1e300", "1e300", "Infinity", '"x"', "null", "1" * 400)),
        damaged(event=NESTED),
        b"[" * 100_000 + b"\n" + ENDS,
        b'{"a":' * 100_000 + b"\n" + ENDS,
        damaged(value={"$blob": "0" * 64}),
        damaged(value={"$blob": ["x"]}),
        damaged(event='"event":["x"]'),
        damaged(event='"event":"RunStarted","format":"x"'),
        damaged(event='"event":"RunStarted","format":' + "9" * 400),
        damaged(event=r'"event":"\ud800"'),
        damaged(event=r'"event":"RunStarted","\ud800":1'),
    ],
)
def test_what_no_run_would_write_is_one_error(runs: Path, journal: bytes) -> None:
    folder = written(runs, "one")
    (folder / "journal.jsonl").write_bytes(journal)
    with pytest.raises(JournalError) as raised:
        list(read(folder))
    assert "\n" not in str(raised.value)


def test_a_journal_or_blob_that_is_no_file_is_not_waited_for(runs: Path) -> None:
    folder = written(runs, "x" * 5000)
    blob = next(path for path in (folder / "blobs").rglob("*") if path.is_file())
    for path in (blob, folder / "journal.jsonl"):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(JournalError, match="it is not a regular file"):
            list(read(folder))
    assert find_run(runs, "r") == folder, "found, so that it is said what is the matter"


def test_a_blob_that_is_no_text_is_an_error(runs: Path) -> None:
    folder = written(runs, "one")
    raw = b"\xff" * 3
    digest = hashlib.sha256(raw).hexdigest()
    (folder / "blobs" / digest[:2]).mkdir()
    (folder / "blobs" / digest[:2] / digest).write_bytes(raw)
    (folder / "journal.jsonl").write_bytes(damaged(value={"$blob": digest, "chars": 3}))
    with pytest.raises(JournalError, match="is no UTF-8"):
        list(read(folder))


def test_a_journal_is_never_in_memory_as_a_whole(runs: Path) -> None:
    folder = written(runs, *["x" * 1_900] * 2_000)
    whole = (folder / "journal.jsonl").stat().st_size
    tracemalloc.start()
    try:
        assert sum(1 for _ in read(folder)) == 2_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < whole / 10


def test_a_line_that_its_writer_is_still_writing_is_passed_over(runs: Path) -> None:
    folder = written(runs, "one", "two", "three")
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:20])
    records = read(folder)
    assert next(records).seq == 0
    with path.open("ab") as file:
        file.write(lines[1][20:] + lines[2])
    assert list(records) == []


def test_a_line_without_end_is_refused(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(runs, "one", "two" * 500)
    monkeypatch.setattr("abyme.journal.reader._LONGEST_LINE", 1_000)
    with pytest.raises(JournalError, match="has a line of over 1,000 bytes"):
        list(read(folder))


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def main() -> None:
        Journal(tmp_path / "file" / "runs", "r")

    with pytest.raises(JournalError, match="choose another folder with --runs or ABYME_RUNS"):
        asyncio.run(main())


def test_deep_and_odd_values_in_events(runs: Path) -> None:
    async def main() -> Path:
        journal = Journal(runs, "r")
        value = {"a": ["x" * 3000, {"b": "y" * 3000}], "c": None, "d": "\ud800"}
        journal.append(HostAnswered("k", value))
        await journal.close()
        return journal.folder

    (record,) = read(asyncio.run(main()))
    assert isinstance(record.event, HostAnswered)
    assert record.event.value["a"][1]["b"] == "y" * 3000 and record.event.value["d"] == "\ud800"


def test_a_full_disk_ends_the_run_with_its_answer_so_far(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: write(2) fails in the middle of a line."""
    # Else the limit would cut the bytecode that Python keeps of the worker's code, for good.
    compileall.compile_dir(Path(channel.__file__).parent, quiet=2)
    runs = tmp_path / "runs"
    pid = os.fork()
    if pid == 0:  # in a process of its own, because the limit would stay
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
        code = 9
        try:
            replies = [cell("answer['content'] = 'kept'")] + [cell("print('x' * 1500)")] * 20
            answer = ask(runs, replies)
            told = (answer.status, answer.text, "cannot be written" in answer.reason)
            code = 0 if told == ("partial", "kept", True) else 8
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    (folder,) = runs.iterdir()
    events = [record.event for record in read(folder)]
    assert any(isinstance(event, NodeStarted) for event in events)


@pytest.mark.parametrize("login", ["", "user:hunter2@"])
def test_keys_never_reach_the_journal(runs: Path, login: str) -> None:
    key = "sk-secret-0123456789"
    with Stub(lambda request: Status(401, {"error": {"message": f"bad key {key}"}})) as stub:
        url = stub.url.replace("http://", f"http://{login}")
        answer = RLM("m", base_url=url, api_key=key, runs=runs).completion("q", "text")
        sent = stub.requests[0].headers["authorization"]
    assert sent == (f"Bearer {key}" if not login else "Basic dXNlcjpodW50ZXIy")
    assert answer.status == "failed" and key not in answer.reason
    assert events_of(runs, answer)
    settled()
    for path in (runs / answer.run).rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes()
            assert b"hunter2" not in path.read_bytes()
