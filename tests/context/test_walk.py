"""Directories as they are found: hostile ones, changing ones, and ones with files of every kind."""

from __future__ import annotations

import csv
import io
import itertools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abyme.context import walk
from abyme.context.documents import Data, Document
from abyme.context.load import load

_count = itertools.count()


def loaded(context: Any, tmp_path: Path, **options: Any) -> Data:
    return load(context, folder=tmp_path / ".runs" / f"{next(_count)}" / "data", **options)


def text_of(document: Document) -> str:
    raw = document.read(document.bom, document.bytes)
    return raw.decode(document.encoding, document.errors)


def texts(data: Data) -> dict[str, str]:
    return {document.name: text_of(document) for document in data.documents}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def test_folders_nested_deeper_than_a_path_can_say(tmp_path: Path, files: Path) -> None:
    (files / "top.txt").write_text("top")
    here = os.open(files, os.O_RDONLY)
    try:
        for depth in range(2_500):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
            if depth % 500 == 0:
                os.close(os.open("deep.txt", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        data = loaded(files, tmp_path)
        assert texts(data) == {"top.txt": "top"}
        assert data.skipped["unreadable"] == 1  # where the path becomes longer than the system's
        assert data.skipped["empty"] >= 4
    finally:
        os.close(here)
        subprocess.run(["rm", "-rf", str(files)], check=True)


def test_links_that_go_round_and_links_to_devices(tmp_path: Path, files: Path) -> None:
    (files / "a").mkdir()
    (files / "a" / "up").symlink_to("..")
    (files / "a" / "self").symlink_to("self")
    (files / "zero").symlink_to("/dev/zero")
    (files / "null").symlink_to("/dev/null")
    (files / "a" / "a.txt").write_text("a")
    data = loaded(files, tmp_path)
    assert texts(data) == {"a/a.txt": "a"}
    assert data.skipped == {"symbolic link": 4}


def test_names_as_long_as_they_can_be_and_as_odd(tmp_path: Path, files: Path) -> None:
    names = [
        "n" * 255,
        "é" * 127,
        "a b",
        " ",
        "tab\there",
        "line\nend",
        "-rf",
        "quote'\"",
        "\x1b[31m",
        os.fsdecode(b"\xff\xfe"),
        "日本語.md",
        "a\\b",
    ]
    for name in names:
        (files / name).write_text("here")
    data = loaded(files, tmp_path)
    assert sorted(texts(data)) == sorted(names)


class Changing:
    """A stream that is read when the folders have been walked, and before their files are."""

    def __init__(self, change: Callable[[], None]) -> None:
        self._parts = iter([b"piped in"])
        self._change = change

    def read(self, size: int) -> bytes:
        self._change()
        return next(self._parts, b"")


def test_a_folder_that_changes_while_it_is_loaded(tmp_path: Path, files: Path) -> None:
    for number in range(10):
        (files / f"{number}").mkdir()
        (files / f"{number}" / "a.txt").write_text("a")

    def change() -> None:
        for number in (3, 4, 5):
            (files / f"{number}" / "a.txt").unlink(missing_ok=True)
        (files / "4" / "a.txt").mkdir()
        (files / "5" / "a.txt").symlink_to("/etc/hostname")
        (files / "6" / "a.txt").write_text("more than before")
        stream._change = lambda: None

    stream = Changing(change)
    data = loaded([stream, files], tmp_path)
    assert texts(data) == {
        "stdin": "piped in",
        **{f"{number}/a.txt": "a" for number in (0, 1, 2, 7, 8, 9)},
        "6/a.txt": "more than before",
    }
    assert data.skipped == {"not a regular file": 1, "unreadable": 2}


def test_a_folder_too_large_to_be_sorted_at_once_comes_in_order(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_SORTED_AT_ONCE", 7)
    for number in range(300):
        (files / f"{number:03}").write_text("x")
    data = loaded(files, tmp_path)
    assert [document.name for document in data.documents] == [f"{n:03}" for n in range(300)]


def test_files_of_every_kind_and_encoding_side_by_side(tmp_path: Path, files: Path) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([["name", "note"], ["Ünal, A.", 'said "hi"\nand left']] * 20)
    written = {
        "table.csv": (table.getvalue(), "utf-8"),
        "excel.csv": ("name;größe\r\nMüller;10\r\n" * 40, "utf-16"),
        "plain16.txt": ("wide text without any mark, as some systems write it\n" * 5, "utf-16-le"),
        "big16.txt": ("wide text without any mark, as some systems write it\n" * 5, "utf-16-be"),
        "read me.md": ("# Überschrift\n\n- *Punkt*\n", "utf-8-sig"),
        "old.txt": ("Größe, Straße, Mädchen und Äpfel\n" * 30, "latin-1"),
        "gb.txt": (
            "这是一个用于测试编码检测的中文文本。我们希望它能够被正确识别。\n" * 30,
            "gb18030",
        ),
        "sjis.txt": (
            "これは日本語のテキストです。文字コードの判定を試験します。\n" * 30,
            "shift_jis",
        ),
        "code.py": ("def größe():\n    return 'ß'\n", "utf-8"),
        "mac.txt": ("one line\ranother line\r" * 20, "ascii"),
        "log": ("\x1b[31mred\x1b[0m line\n" * 50, "utf-8"),
    }
    for name, (text, encoding) in written.items():
        (files / name).write_bytes(text.encode(encoding))
    data = loaded(files, tmp_path)
    assert texts(data) == {name: text for name, (text, _) in written.items()}
    assert data.skipped == {}
