"""One byte changed anywhere in a run's folder is found, and it is said where."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from abyme.cli.main import app
from abyme.errors import JournalError
from abyme.journal.format import SEAL
from abyme.journal.reader import read
from abyme.journal.seal import is_sealed
from abyme.journal.verify import Verification, verify
from abyme.journal.writer import Journal
from support.journals import events_in, message, started, write
from support.runs import ask, cell, settled

REPLIES = [
    cell("a = llm_query_batched(['x' * 5000, 'y'])\nprint('long ' * 600)"),
    cell("FINAL('forty', quotes=['the third line'])"),
    cell("FINAL('forty', quotes=['the third line'])"),
]
TEXT = "the first line\nthe second line\nthe third line\n"


@pytest.fixture
def folder(runs: Path) -> Path:
    """A run over a text that was handed over, with long texts and a quote."""
    answer = ask(runs, REPLIES, ["reply " * 2000, "reply"], TEXT)
    settled()
    return runs / answer.run


@pytest.fixture
def reading(runs: Path, tmp_path: Path) -> Path:
    """A run over files that lie elsewhere."""
    (tmp_path / "docs").mkdir()
    for name in ("one", "two"):
        (tmp_path / "docs" / name).write_text(f"{name}\n{TEXT}")
    code = "FINAL('forty', quotes=['one\\nthe first line'])"
    answer = ask(runs, [cell(code)] * 2, context=tmp_path / "docs")
    settled()
    return runs / answer.run


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def files_of(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def test_a_whole_run_is_whole(folder: Path) -> None:
    found = verify(folder)
    assert found.whole and not found.problems and not found.notes
    assert (found.documents, found.hashed, found.quotes) == (1, 1, 1)
    assert found.run == folder.name and found.lines == len(events_in(folder)) and found.texts >= 4
    assert found.compared == ""
    assert any(path.suffix == ".z" for path in files_of(folder))
    assert any(path.parent.parent.name == "blobs" and not path.suffix for path in files_of(folder))


def unpacked(path: Path) -> bytes | None:
    try:
        return zlib.decompress(path.read_bytes())
    except zlib.error:
        return None


def test_any_byte_of_any_file(folder: Path) -> None:
    """All bytes of all files would take a minute; every 37th meets every field.

    A few bits of a compressed text mean nothing to whoever unpacks it: the text is the same.
    """
    head = verify(folder).head
    for path in files_of(folder):
        whole = path.read_bytes()
        step = 1 if len(whole) < 100 else 37
        for at in [*range(0, len(whole), step), len(whole) - 1]:
            text = unpacked(path)
            flip(path, at)
            found = verify(folder, head)
            if path.name == SEAL:  # only its writer can check it
                assert found.whole and not is_sealed(folder, list(read(folder)))
                path.write_bytes(whole)
                continue
            assert found.whole == (text is not None and text == unpacked(path)), (path, at)
            name = str(path.relative_to(folder))
            if path.name != "journal.jsonl" and not found.whole:
                assert any(name in problem for problem in found.problems), (path, at)
            path.write_bytes(whole)
    assert verify(folder, head).whole


def test_where_the_journal_was_changed_is_said(folder: Path) -> None:
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)

    def problems(*changed: bytes) -> tuple[str, ...]:
        path.write_bytes(b"".join(changed))
        return verify(folder).problems

    n = next(at for at, line in enumerate(lines) if b'"user"' in line)
    later = next(at for at in range(n + 2, len(lines)) if b'"0/' in lines[at])
    said, *_ = problems(*lines[:n], lines[n].replace(b"user", b"User"), *lines[n + 1 :])[1:]
    assert f"line {n + 1} or {n + 2} was changed" in said
    (said,) = problems(*lines[:n], b"{" + lines[n], *lines[n + 1 :])
    assert said == f"journal.jsonl: line {n + 1} was changed: it is no JSON"
    (said,) = problems(*lines[:n], *lines[n + 1 :])
    missing = f"line {n + 1} was changed, or lines before it are missing: its number is"
    assert f"{missing} {n + 1}, not {n}" in said
    other = lines[later].replace(b'"0/', b'"1/')
    both = [*lines[:n], b"{" + lines[n], *lines[n + 1 : later], other, *lines[later + 1 :]]
    assert len(problems(*both)) == 2, "what follows a broken line is checked all the same"
    assert problems() == ("journal.jsonl has no whole line",)


def test_what_the_last_line_says_only_the_head_can_tell(folder: Path) -> None:
    path = folder / "journal.jsonl"
    head = verify(folder).head
    path.write_bytes(
        path.read_bytes().replace(b'"text":"forty","value"', b'"text":"fifty","value"')
    )
    assert events_in(folder) and verify(folder).whole
    found = verify(folder, head)
    assert not found.whole and found.compared == "different"


def test_an_earlier_head_and_a_journal_that_went_on(folder: Path) -> None:
    before = verify(folder)
    write(lambda: Journal.reopen(folder), message(9))
    found = verify(folder, before.head)
    assert (found.compared, found.compared_line) == ("earlier", before.lines) and found.whole
    found = verify(folder, found.head)
    assert (found.compared, found.compared_line) == ("same", before.lines + 1)


def test_a_torn_line_is_no_damage_but_a_changed_end_is(folder: Path) -> None:
    path = folder / "journal.jsonl"
    whole = path.read_bytes()
    for cut in (1, 5, 30, 100):
        path.write_bytes(whole + whole[:cut])
        found = verify(folder)
        assert found.whole and f"never finished ({cut} bytes)" in found.notes[0]
    for end in (b"x", b" x", b"{}", b"}\n"):
        path.write_bytes(whole[:-1] + end)
        assert not verify(folder).whole, end


def change(how: str, folder: Path) -> None:
    copy = next((folder / "data").iterdir())
    blob = next(path for path in files_of(folder / "blobs") if path.suffix == ".z")
    match how:
        case "a copy is gone":
            copy.unlink()
        case "a copy is longer":
            copy.write_text(TEXT + "more")
        case "a text is gone":
            blob.unlink()
        case "a text is cut":
            blob.write_bytes(blob.read_bytes()[:-3])
        case "a text has more behind it":
            blob.write_bytes(blob.read_bytes() + b"more")
        case "the other file of a text":
            blob.with_suffix("").write_text("other")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("a copy is gone", "data/000001.txt is not there"),
        ("a copy is longer", "data/000001.txt was changed: it has 50 bytes and had 46"),
        ("a text is gone", "a text of the journal is missing: blobs/"),
        ("a text is cut", "a text of the journal was altered: blobs/"),
        ("a text has more behind it", "a text of the journal was altered: blobs/"),
        ("the other file of a text", "has not the hash that is its name"),
    ],
)
def test_what_is_missing_or_added(folder: Path, how: str, said: str) -> None:
    change(how, folder)
    problems = verify(folder).problems
    assert any(said in problem for problem in problems), problems


def test_files_that_no_line_names(folder: Path) -> None:
    (folder / "blobs" / "ab").mkdir(exist_ok=True)
    left = folder / "blobs" / "ab" / "left.1.part"
    left.write_text("half")
    assert not verify(folder).notes, "it may be on its way"
    os.utime(left, (1, 1))
    found = verify(folder)
    assert found.whole and found.notes == ("files in blobs that no line names: 1",)
    (folder / "blobs" / "ab" / ("ab" * 32)).write_text("not its content")
    assert not verify(folder).whole
    shutil.rmtree(folder / "blobs" / "ab")
    (folder / "checkpoints" / "ab").mkdir(parents=True)
    (folder / "checkpoints" / "ab" / ("ab" * 32)).write_text("not its content")
    assert not verify(folder).whole


def test_files_elsewhere_are_known_by_identity(reading: Path, tmp_path: Path) -> None:
    one = tmp_path / "docs" / "one"
    found = verify(reading)
    assert (found.documents, found.hashed, found.quotes, found.whole) == (2, 0, 1, True)
    assert verify(reading, data=True).hashed == 2
    os.utime(one, ns=(1, 1))
    touched = verify(reading)
    assert touched.whole and touched.hashed == 1, "its hash is the same"
    one.write_text("One\n" + TEXT)
    found = verify(reading)
    assert len(found.problems) == 2
    assert "one was changed: it has not the hash that it had" in found.problems[0]
    assert "the quote 'one" in found.problems[1] and "does not stand in" in found.problems[1]
    one.unlink()
    found = verify(reading)
    assert found.whole and "one is not there: No such file" in found.notes[0]
    assert "cannot be checked" in found.notes[1]
    assert not verify(reading, data=True).whole, "it was asked for"


def test_a_change_that_keeps_size_and_time_is_found_where_asked_for(
    reading: Path, tmp_path: Path
) -> None:
    two = tmp_path / "docs" / "two"
    before = two.stat()
    with two.open("r+b") as file:
        file.write(b"T")
    os.utime(two, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert verify(reading).whole
    assert "two was changed" in verify(reading, data=True).problems[0]


def test_a_run_that_was_moved_is_whole(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    found = verify(moved)
    assert (found.whole, found.hashed, found.quotes) == (True, 1, 1)


def test_a_fork_is_whole_too(folder: Path, runs: Path) -> None:
    fork = write(lambda: Journal.fork(folder, runs, "f", 12), message(9))
    found = verify(fork)
    assert found.whole and found.lines == 13 and found.documents == 1


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot read"):
        verify(tmp_path)


def test_a_run_without_texts(runs: Path) -> None:
    folder = write(lambda: Journal(runs, "r", redact=True), started(redacted=True), message(0))
    found = verify(folder)
    assert found.redacted and found.whole
    said = " ".join(found.notes)
    assert "ends without an answer" in said and "kept without texts" in said
    assert "its folder data" not in said
    (folder / "data").mkdir()
    assert "its folder data is none of its own: such runs keep no copies" in verify(folder).notes


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(runs: Path) -> Command:
    """``abyme verify`` with these arguments: its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["verify", *arguments, "--runs", str(runs)])
        return done.exit_code, done.stdout

    return run


def test_the_command(folder: Path, command: Command) -> None:
    found = verify(folder)
    code, out = command()
    assert code == 0 and out.startswith(f"{folder.name}: whole\n  checked: ")
    assert "1 document (1 by hash), 1 quote" in out and f"head {found.head}\n" in out
    code, out = command(folder.name[:13], "--head", found.head.upper())
    assert code == 0 and f"head {found.head}, as given" in out
    code, out = command("--head", "0" * 32)
    assert code == 1 and f"{folder.name}: different" in out and "no line has the hash given" in out
    write(lambda: Journal.reopen(folder), message(9))
    code, out = command("--head", found.head)
    assert code == 0 and f"that of line {found.lines}: it went on after it" in out
    flip(next((folder / "data").iterdir()), 3)
    code, out = command()
    assert code == 1 and f"{folder.name}: damaged\n  ✗ data/000001.txt was changed" in out
    code, out = command("--json")
    body = json.loads(out)
    assert code == 1 and body.pop("whole") is False
    assert set(body) == set(Verification.__struct_fields__)


def test_nothing_that_a_folder_says_acts_on_a_terminal(
    runs: Path, tmp_path: Path, command: Command
) -> None:
    document = tmp_path / "a\x1b[2J\nfile"
    document.write_text("a\n")
    ask(runs, [cell("FINAL(1)")], context=document)
    document.unlink()
    code, out = command()
    assert code == 0 and "a\\x1b[2J file is not there" in out and "\x1b" not in out


def test_the_commands_usage(folder: Path, command: Command) -> None:
    from abyme.errors import ConfigError

    for wrong in ("", "xyz", "0" * 31):
        done = CliRunner().invoke(app, ["verify", str(folder), "--head", wrong])
        assert isinstance(done.exception, ConfigError), "which the command ends with code 2"
    done = CliRunner().invoke(app, ["verify", "nosuch", "--runs", str(folder.parent)])
    assert isinstance(done.exception, JournalError)
