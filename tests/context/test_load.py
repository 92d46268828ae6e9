"""Loading: what is handed over comes back exactly, and what cannot be data is said in one line."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import resource
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abyme.context.documents import Data, Document, shown
from abyme.context.load import load
from abyme.context.matching import Pattern
from abyme.errors import DataError
from abyme.journal.format import DATA
from abyme.journal.writer import Journal

ANY_TEXT = st.text(st.characters(exclude_categories=()) | st.sampled_from("\0\r\n\t\ud800\udfff"))
EXACT = settings(deadline=None, suppress_health_check=list(HealthCheck))
_count = itertools.count()


def loaded(context: Any, tmp_path: Path, **options: Any) -> Data:
    return load(context, folder=tmp_path / ".runs" / f"{next(_count)}" / "data", **options)


def text_of(document: Document) -> str:
    raw = document.read(document.bom, document.bytes)
    return raw.decode(document.encoding, document.errors)


def texts(data: Data) -> dict[str, str]:
    return {document.name: text_of(document) for document in data.documents}


def refusal(context: Any, tmp_path: Path, **options: Any) -> str:
    """The message of the error, with the test's own folder taken out; always one plain line."""
    with pytest.raises(DataError) as caught:
        loaded(context, tmp_path, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 600
    return message.replace(f"{tmp_path}/", "")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


# Text handed over


@EXACT
@given(text=ANY_TEXT.filter(bool))
def test_any_str_comes_back_exactly(tmp_path: Path, text: str) -> None:
    data = loaded(text, tmp_path)
    assert data.kind == "text"
    assert text_of(data.documents[0]) == text


@EXACT
@given(text=st.text(min_size=1))
def test_any_utf8_file_comes_back_exactly(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.txt"
    plain = "plain text " * (len(text) + 1)  # so that a tenth is odd at most: this is no binary
    content = f"{plain}\n{text}\n".encode()
    path.write_bytes(content)
    document = loaded(path, tmp_path).documents[0]
    assert text_of(document).encode(document.encoding, document.errors) == content
    assert text_of(document) == content.decode()


@EXACT
@given(raw=st.binary(min_size=1, max_size=300))
def test_whatever_loads_can_be_decoded(tmp_path: Path, raw: bytes) -> None:
    with contextlib.suppress(DataError):
        assert text_of(loaded(raw, tmp_path).documents[0]) is not None


def test_a_str_larger_than_a_slice_with_a_surrogate_pair_on_the_border(tmp_path: Path) -> None:
    text = "a" * ((1 << 20) - 1) + "\ud83d\ude00" + "é\r\n" * 10
    assert text_of(loaded(text, tmp_path).documents[0]) == text


def test_a_str_is_text_even_where_it_names_a_file(tmp_path: Path, files: Path) -> None:
    (files / "a.txt").write_text("not this")
    data = loaded(str(files / "a.txt"), tmp_path)
    assert texts(data) == {"text": str(files / "a.txt")}


def test_text_handed_over_is_private(tmp_path: Path) -> None:
    document = loaded("secret", tmp_path).documents[0]
    path = Path(document.path)
    assert document.owned
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_bytes_are_decoded_like_a_file(tmp_path: Path) -> None:
    data = loaded("Grüße".encode("utf-16"), tmp_path)
    assert texts(data) == {"text": "Grüße"}
    assert data.documents[0].bom == 2


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room_for_the_data_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "data"
    with no_file_above(1 << 20), pytest.raises(DataError, match="free some space") as caught:
        load("x" * (3 << 20), folder=folder)
    assert str(caught.value) == (
        f"{shown(str(folder))} cannot take the data (File too large): "
        "free some space, or keep runs elsewhere (--runs, ABYME_RUNS)"
    )
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_or_was_used_is_said(tmp_path: Path) -> None:
    load("one", folder=tmp_path / "run" / "data")
    with pytest.raises(DataError, match=r"cannot take the data \(File exists\)"):
        load("two", folder=tmp_path / "run" / "data")
    assert (tmp_path / "run" / "data" / "000001.txt").read_text() == "one"
    with pytest.raises(DataError, match=r"cannot take the data \(Not a directory\)"):
        load("two", folder=tmp_path / "run" / "data" / "000001.txt" / "data")


# Names and kinds


def test_one_file_is_one_text_by_reference(tmp_path: Path, files: Path) -> None:
    (files / "a b.txt").write_text("hello")
    data = loaded(files / "a b.txt", tmp_path)
    assert (data.kind, data.documents[0].name) == ("text", "a b.txt")
    assert data.documents[0].path == str(files / "a b.txt")
    assert not data.documents[0].owned
    assert not (tmp_path / ".runs").exists()


def test_a_directory_is_named_by_paths_within_it_in_order(tmp_path: Path, files: Path) -> None:
    for name in ("b.txt", "a/z.txt", "a/b/c.txt", "c.txt"):
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_text(name)
    data = loaded(files, tmp_path)
    assert data.kind == "documents"
    assert list(texts(data).items()) == [
        (name, name) for name in ("a/b/c.txt", "a/z.txt", "b.txt", "c.txt")
    ]


def test_a_list_names_texts_by_place_and_keeps_their_order(tmp_path: Path, files: Path) -> None:
    (files / "f.txt").write_text("file")
    data = loaded(["one", b"two", files / "f.txt", "four"], tmp_path)
    assert texts(data) == {
        "text-0001": "one",
        "text-0002": "two",
        "f.txt": "file",
        "text-0004": "four",
    }


def test_a_dict_gives_the_names(tmp_path: Path, files: Path) -> None:
    (files / "f.txt").write_text("file")
    data = loaded({"a": "text", "b": b"bytes", "c": files / "f.txt", "d": files}, tmp_path)
    assert texts(data) == {"a": "text", "b": "bytes", "c": "file", "d/f.txt": "file"}


def test_directories_are_named_only_where_names_would_clash(tmp_path: Path, files: Path) -> None:
    for name in ("x/a.txt", "y/b.txt", "z/a.txt"):
        (files / name).parent.mkdir()
        (files / name).write_text(name)
    assert list(texts(loaded([files / "x", files / "y"], tmp_path))) == ["a.txt", "b.txt"]
    assert list(texts(loaded([files / "x", files / "z"], tmp_path))) == ["x/a.txt", "z/a.txt"]


def test_the_same_name_twice_gets_a_number(tmp_path: Path, files: Path) -> None:
    for name in ("x/a.txt", "y/a.txt", "z/a.txt"):
        (files / name).parent.mkdir()
        (files / name).write_text(name)
    data = loaded([files / name for name in ("x/a.txt", "y/a.txt", "z/a.txt")], tmp_path)
    assert texts(data) == {"a.txt": "x/a.txt", "a (2).txt": "y/a.txt", "a (3).txt": "z/a.txt"}


def test_names_with_spaces_line_ends_and_bytes_that_are_not_utf8(
    tmp_path: Path, files: Path
) -> None:
    names = ["with space.txt", "line\nend.txt", os.fsdecode(b"caf\xe9.txt"), "日本.txt"]
    for name in names:
        (files / name).write_text("here")
    data = loaded(files, tmp_path)
    assert sorted(document.name for document in data.documents) == sorted(names)
    assert set(texts(data).values()) == {"here"}


def test_a_relative_path_becomes_absolute(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "a.txt").write_text("here")
    monkeypatch.chdir(files)
    assert loaded(Path("a.txt"), tmp_path).documents[0].path == str(files / "a.txt")
    assert loaded(Path(), tmp_path).documents[0].path == str(files / "a.txt")


# What is left out


def test_what_is_left_out_of_a_directory_is_counted(tmp_path: Path, files: Path) -> None:
    (files / "good.txt").write_text("good")
    (files / ".hidden").write_text("hidden")
    (files / ".git").mkdir()
    (files / ".git" / "config").write_text("hidden with its folder")
    (files / "empty").touch()
    (files / "only-a-mark").write_bytes(b"\xef\xbb\xbf")
    (files / "binary").write_bytes(bytes(range(256)))
    (files / "left.log").write_text("excluded")
    os.mkfifo(files / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(files / "s"))
        data = loaded(files, tmp_path, exclude=["*.log"])
    assert list(texts(data)) == ["good.txt"]
    assert data.skipped == {
        "binary": 1,
        "empty": 2,
        "excluded": 1,
        "hidden": 2,
        "not a regular file": 2,
    }


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*.py", ["a/t.txt", "b/a/u.txt"]),
        ("a", ["s.py"]),
        ("a/", ["s.py"]),
        ("b/a", ["a/r.py", "a/t.txt", "s.py"]),
        ("b/*", ["a/r.py", "a/t.txt", "s.py"]),
        ("./a/r.py", ["a/t.txt", "b/a/u.txt", "s.py"]),
        ("[rs].py", ["a/t.txt", "b/a/u.txt"]),
        ("A", ["a/r.py", "a/t.txt", "b/a/u.txt", "s.py"]),
    ],
)
def test_exclude_matches_paths_and_components(
    tmp_path: Path, files: Path, pattern: str, left: list[str]
) -> None:
    for name in ("a/r.py", "a/t.txt", "b/a/u.txt", "s.py"):
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_text("x")
    assert list(texts(loaded(files, tmp_path, exclude=[pattern]))) == left


def test_links_are_followed_only_to_files_that_would_be_read_anyway(
    tmp_path: Path, files: Path
) -> None:
    (files / "real.txt").write_text("real")
    (files / ".env").write_text("SECRET")
    (tmp_path / "outside.txt").write_text("outside")
    links = {
        "inside": "real.txt",
        "hidden": ".env",
        "outside": "../outside.txt",
        "dangling": "nowhere",
        "circle": "circle",
        "folder": ".",
    }
    for name, target in links.items():
        (files / name).symlink_to(target)
    data = loaded(files, tmp_path)
    assert texts(data) == {"real.txt": "real"}
    assert data.skipped == {"hidden": 1, "symbolic link": 5, "named twice": 1}


def test_links_that_are_named_are_followed(tmp_path: Path, files: Path) -> None:
    (tmp_path / "outside.txt").write_text("outside")
    (files / "link").symlink_to("../outside.txt")
    assert texts(loaded(files / "link", tmp_path)) == {"link": "outside"}


def test_the_folder_of_the_run_is_no_data(tmp_path: Path, files: Path) -> None:
    run = files / "runs" / "now"
    run.mkdir(parents=True)
    (run / "journal.jsonl").write_text("{}")
    (run / "blobs").mkdir()
    (files / "a.txt").write_text("a")
    data = load([files, "more"], folder=run / "data")
    assert list(texts(data)) == ["a.txt", "text-0002"]
    assert data.skipped == {"run of abyme": 1}


def test_runs_kept_in_the_data_are_no_data(tmp_path: Path, files: Path) -> None:
    for run in ("old", "older"):
        Journal(files / "runs", run)
        (files / "runs" / run / DATA).mkdir()
        (files / "runs" / run / DATA / "000001.txt").write_text("piped in then")
    (files / "link").symlink_to(f"runs/old/{DATA}/000001.txt")
    (files / "journal.jsonl").write_text("a journal of somebody else's")
    data = loaded(files, tmp_path)
    assert list(texts(data)) == ["journal.jsonl"]
    assert data.skipped == {"run of abyme": 2, "symbolic link": 1}
    with pytest.raises(DataError, match="left out: 2 run of abyme"):
        loaded(files / "runs", tmp_path)
    # What is named itself is what is asked about.
    assert "piped in then" in texts(loaded(files / "runs" / "old", tmp_path)).values()


# The same file through several names


def test_a_file_that_is_named_twice_is_loaded_once(tmp_path: Path, files: Path) -> None:
    (files / "a.txt").write_text("a")
    (files / "sub").mkdir()
    (files / "sub" / "b.txt").write_text("b")
    (files / "link").symlink_to("a.txt")
    (tmp_path / "again").symlink_to("files")
    a, b = files / "a.txt", files / "sub" / "b.txt"

    def names(*pieces: Path | Pattern) -> tuple[list[str], int]:
        data = loaded(list(pieces), tmp_path)
        return [document.name for document in data.documents], data.skipped["named twice"]

    assert names(a, Path(f"{files}/sub/../a.txt"), files / "link") == (["a.txt"], 2)
    assert names(files, a) == (["sub/b.txt", "a.txt"], 2)  # and the link in the folder
    assert names(b, files / "sub") == (["b.txt"], 1)
    assert names(files, tmp_path / "again", files / "sub") == (["a.txt", "sub/b.txt"], 5)
    assert names(Pattern(f"{files}/*.txt"), Pattern(f"{files}/a*")) == (["a.txt"], 1)


def test_a_file_that_is_named_is_an_error_where_its_folder_leaves_it_out(
    tmp_path: Path, files: Path
) -> None:
    (files / "a.txt").write_text("a")
    (files / "b.bin").write_bytes(bytes(300))
    assert "b.bin is binary data" in refusal([files, files / "b.bin"], tmp_path)


def test_hard_links_of_a_folder_and_names_of_a_dict_stay(tmp_path: Path, files: Path) -> None:
    (files / "a.txt").write_text("a")
    (files / "b.txt").hardlink_to(files / "a.txt")
    assert list(texts(loaded(files, tmp_path))) == ["a.txt", "b.txt"]
    assert list(texts(loaded([files, "more"], tmp_path))) == ["a.txt", "b.txt", "text-0002"]
    assert list(texts(loaded([files / "a.txt", files], tmp_path))) == ["a.txt"]
    either = {"x": files / "a.txt", "y": files / "a.txt"}
    assert texts(loaded(either, tmp_path)) == {"x": "a", "y": "a"}


def test_empty_texts_of_a_list_are_left_out(tmp_path: Path) -> None:
    data = loaded(["a", "", b"", "d"], tmp_path)
    assert texts(data) == {"text-0001": "a", "text-0004": "d"}
    assert data.skipped == {"empty": 2}


class Scripted:
    """A stream that calls a function before each part it gives."""

    def __init__(self, *parts: bytes, before: Callable[[], object]) -> None:
        self._parts = iter(parts)
        self._before = before

    def read(self, size: int) -> bytes:
        self._before()
        return next(self._parts, b"")


def test_progress_is_told(tmp_path: Path, files: Path) -> None:
    told: list[tuple[int, int]] = []
    (files / "a.txt").write_text("12345")
    slow = Scripted(b"abc", b"de", before=lambda: time.sleep(0.11))
    after = Scripted(b"xyz", before=lambda: time.sleep(0.11))
    loaded([files, slow, after], tmp_path, on_progress=lambda *so_far: told.append(so_far))
    assert told == [(1, 8), (1, 10), (2, 10), (2, 13), (3, 13)]


def test_progress_comes_where_all_is_left_out_and_may_end_the_loading(
    tmp_path: Path, files: Path
) -> None:
    for number in range(2_000):
        (files / f".{number}").touch()
    began = time.monotonic()

    def stop(documents: int, size: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        while time.monotonic() < began + 60:
            with contextlib.suppress(DataError):
                loaded([files] * 50, tmp_path, on_progress=stop)


# Bad input


def test_a_missing_path_names_the_nearest(tmp_path: Path, files: Path) -> None:
    (files / "report.txt").write_text("x")
    assert refusal(files / "reprot.txt", tmp_path) == (
        "files/reprot.txt does not exist: did you mean files/report.txt?"
    )
    assert refusal(tmp_path / "fils" / "deep" / "report.txt", tmp_path) == (
        "fils/deep/report.txt does not exist: did you mean files?"
    )
    assert refusal(files / "zzz", tmp_path) == "files/zzz does not exist: check the path"
    assert refusal(files / "report.txt" / "x", tmp_path) == (
        "files/report.txt/x does not exist: files/report.txt is not a folder"
    )


def test_links_that_lead_nowhere(tmp_path: Path, files: Path) -> None:
    (files / "dangling").symlink_to("nowhere")
    (files / "circle").symlink_to("circle")
    assert refusal(files / "dangling", tmp_path) == (
        "files/dangling is a symbolic link to nowhere, which does not exist: check the link"
    )
    assert "Too many levels of symbolic links" in refusal(files / "circle", tmp_path)


def test_what_is_no_file_is_never_opened(tmp_path: Path, files: Path) -> None:
    os.mkfifo(files / "fifo")  # opening it would wait for ever
    advice = "not a file: save what it gives to a file first"
    assert refusal(files / "fifo", tmp_path) == f"files/fifo is a FIFO (named pipe), {advice}"
    assert refusal(Path("/dev/null"), tmp_path) == f"/dev/null is a device, {advice}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(files / "s"))
        assert refusal(files / "s", tmp_path) == f"files/s is a socket, {advice}"


def test_empty_data(tmp_path: Path, files: Path) -> None:
    (files / "empty.txt").touch()
    (files / "mark.txt").write_bytes(b"\xff\xfe")
    nothing = "is empty: there is nothing to ask about"
    assert refusal(files / "empty.txt", tmp_path) == f"files/empty.txt {nothing}"
    assert refusal([files / "empty.txt", "text"], tmp_path) == f"files/empty.txt {nothing}"
    assert refusal(files / "mark.txt", tmp_path) == f"files/mark.txt {nothing}"
    assert refusal("", tmp_path) == f"the data {nothing}"
    assert refusal(["", b""], tmp_path) == f"the data {nothing}"
    assert refusal([], tmp_path) == (
        "the context holds no documents: there is nothing to ask about"
    )


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_without_a_size(tmp_path: Path) -> None:
    assert refusal(Path("/proc/self/status"), tmp_path) == (
        "/proc/self/status has no size of its own (as files in /proc): copy it to a file first"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.pdf",
            b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
            "is a PDF, not text: turn it into text first, for instance with pdftotext",
        ),
        (
            "a.gz",
            gzip.compress(b"text" * 100, mtime=0),
            "is gzip data, not text: unpack it first, for instance with zcat",
        ),
        (
            "a.docx",
            b"PK\x03\x04\x14\x00\x06\x00" + b"\0" * 50,
            "is a zip archive (or .docx, .xlsx), not text: unzip it or save it as text first",
        ),
        (
            "a.png",
            b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
            "is an image, not text: read its text first, for instance with tesseract",
        ),
        (
            "a.bin",
            bytes(range(256)) * 4,
            "is binary data (NUL bytes), not text: convert it to text first",
        ),
    ],
)
def test_binary_data(tmp_path: Path, files: Path, name: str, content: bytes, message: str) -> None:
    (files / name).write_bytes(content)
    assert refusal(files / name, tmp_path) == f"files/{name} {message}"
    assert refusal({name: content}, tmp_path) == f"what was given as {name} {message}"


def test_a_directory_without_text_says_what_it_holds(tmp_path: Path, files: Path) -> None:
    advice = "name files, or another folder"
    assert refusal(files, tmp_path) == f"files holds no readable text (it is empty): {advice}"
    (files / "a").touch()
    (files / "b").write_bytes(bytes(range(256)))
    (files / ".c").touch()
    expected = f"files holds no readable text (left out: 1 binary, 1 empty, 1 hidden): {advice}"
    assert refusal(files, tmp_path) == expected
    assert refusal(["text", files], tmp_path) == expected


@contextlib.contextmanager
def nobody() -> Iterator[Path]:
    """A folder, and within the block a user whom permissions bind: root may read everything."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "good.txt").write_text("good")
        (folder / "closed.txt").write_text("closed")
        (folder / "closed.txt").chmod(0)
        (folder / "closed").mkdir(mode=0)
        if root:
            os.seteuid(65_534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            (folder / "closed").chmod(0o700)


def test_what_may_not_be_read(tmp_path: Path) -> None:
    why = "cannot be read (Permission denied): check its permissions (ls -l)"
    with nobody() as folder:
        data = loaded(folder, tmp_path)
        assert (list(texts(data)), data.skipped) == (["good.txt"], {"unreadable": 2})
        for name in ("closed.txt", "closed", "closed/deeper"):
            assert refusal(folder / name, tmp_path) == f"{folder / name} {why}"


def test_a_file_that_vanishes_while_loading_is_left_out(tmp_path: Path, files: Path) -> None:
    for number in range(501):
        (files / f"{number:03}.txt").write_text("x")

    def change() -> None:
        (files / "499.txt").unlink(missing_ok=True)
        (files / "500.txt").unlink(missing_ok=True)
        if not (files / "500.txt").exists():
            os.mkfifo(files / "500.txt")

    data = loaded([Scripted(b"piped in", before=change), files], tmp_path)
    assert len(data.documents) == 500
    assert data.skipped == {"not a regular file": 1, "unreadable": 1}


def test_paths_that_no_system_takes(tmp_path: Path) -> None:
    assert "cannot be read (embedded null byte)" in refusal(Path("a\0b"), tmp_path)
    assert "File name too long" in refusal(tmp_path / ("n" * 5_000), tmp_path)
    assert "does not exist" in refusal(tmp_path / "line\nend\x1b[31m", tmp_path)
    assert "does not exist" in refusal(tmp_path / os.fsdecode(b"caf\xe9"), tmp_path)


def test_values_of_the_wrong_type(tmp_path: Path) -> None:
    advice = "give str, bytes or paths"
    assert refusal(7, tmp_path) == f"the context holds a value of type int: {advice}"
    assert refusal(["a", None], tmp_path) == f"the context holds a value of type NoneType: {advice}"
    assert refusal([["a"]], tmp_path) == f"the context holds a value of type list: {advice}"
    assert refusal({1: "a"}, tmp_path) == "a document's name must be a str, not a value of type int"
