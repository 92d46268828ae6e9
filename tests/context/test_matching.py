"""Patterns of paths: what they match is what a shell's do, what they read is what a walk reads."""

from __future__ import annotations

import glob
import itertools
from pathlib import Path
from typing import Any

import pytest

from abyme.context.documents import Data
from abyme.context.load import load
from abyme.context.matching import Pattern
from abyme.errors import DataError

_count = itertools.count()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, which is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text")


def loaded(context: Any, here: Path, **options: Any) -> Data:
    return load(context, folder=here.parent / f"{next(_count)}" / "data", **options)


def names(pattern: str, here: Path, **options: Any) -> list[str]:
    return [each.name for each in loaded(Pattern(pattern), here, **options).documents]


@pytest.mark.parametrize(
    "pattern",
    [
        "*.md",
        "**/*.md",
        "docs/**/*.md",
        "docs/*/*.md",
        "**/a/**/*.md",
        "**/[ab].md",
        "**/[!a].md",
        "./docs/?.md",
        "docs/../docs/*.md",
        "**/**/b.md",
        "*/README.md",
        "nowhere/*.md",
        "**/[.md",
    ],
)
def test_files_match_as_with_glob(here: Path, pattern: str) -> None:
    make(here, "a.md", "b.txt", "[.md", "docs/a.md", "docs/b.md", "docs/README.md")
    make(here, "docs/a/b.md", "docs/a/x/c.md", "x/docs/a/b/d.md", "x/README.md")
    matched = glob.glob(pattern, recursive=True)  # noqa: PTH207 - what is held against
    expected = {str(Path(path).resolve()) for path in matched}
    assert Pattern(pattern).matches_something() == bool(expected)
    if expected:
        data = loaded(Pattern(pattern), here)
        assert {str(Path(document.path).resolve()) for document in data.documents} == expected
        assert len(data.documents) == len(expected)
        absolute = loaded(Pattern(f"{here}/{pattern}"), here)
        assert len(absolute.documents) == len(expected)


def test_a_folder_that_matches_is_what_lies_in_it(here: Path) -> None:
    make(here, "src/tests/a.py", "src/x/tests/deep/b.py", "src/c.py", "top")
    assert names("**/tests", here) == ["src/tests/a.py", "src/x/tests/deep/b.py"]
    assert names("src/*", here) == ["c.py", "tests/a.py", "x/tests/deep/b.py"]
    assert names("**", here) == names("*", here)
    assert names("*/", here) == ["src/c.py", "src/tests/a.py", "src/x/tests/deep/b.py"]


def test_names_are_told_apart_where_two_patterns_clash(here: Path) -> None:
    make(here, "a/x.md", "b/x.md")
    data = loaded([Pattern("a/*.md"), Pattern("b/*.md")], here)
    assert [document.name for document in data.documents] == ["a/x.md", "b/x.md"]


def test_what_a_walk_leaves_out_is_left_out_and_counted(here: Path) -> None:
    make(here, "a.md", ".hidden.md", "deps/b.md", "old/c.md", "gone.md", ".git/d.md")
    make(here.parent, "secret/e.md")
    (here / "binary.md").write_bytes(bytes(300))
    (here / ".gitignore").write_text("deps/\ngone.md\n")
    (here / "out").symlink_to("../secret")
    (here / "out.md").symlink_to("../secret/e.md")
    (here / "round").symlink_to(".")
    (here / "rootlink").symlink_to("/")
    (here / "self.md").symlink_to("self.md")
    (here / "again.md").symlink_to("a.md")
    (here / "other.txt").symlink_to("a.md")
    data = loaded(Pattern("**/*.md"), here, exclude=["old"])
    assert [document.name for document in data.documents] == ["a.md"]
    assert data.skipped == {
        "binary": 1,
        "excluded": 1,
        "hidden": 2,
        "ignored by .gitignore": 2,
        "named twice": 1,
        "symbolic link": 5,
    }
    assert ".hidden.md" in names("*.md", here, hidden=True)
    assert "gone.md" in names("*.md", here, ignore_files=False)


def test_a_link_that_matches_alone_is_read(here: Path) -> None:
    make(here, "log-7")
    (here / "latest").symlink_to("log-7")
    (here / "last").symlink_to("log-7")
    assert names("la*t", here) == ["last"]
    assert names("latest*", here) == ["latest"]


def test_folders_that_cannot_hold_a_match_are_not_walked(here: Path) -> None:
    make(here, "a.md", "deep/er/b.md", "deep/.git/c.md")
    (here / "deep" / "link").symlink_to("nowhere")
    assert loaded(Pattern("*.md"), here).skipped == {}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (".e*", r"no readable text matches \.e\* \(left out: 1 hidden\): .*--hidden"),
        ("*.log", r"no readable text matches \*\.log \(left out: 1 ignored .*--no-ignore"),
        ("*.csv", r"no readable text matches \*\.csv: name files"),
    ],
)
def test_where_nothing_is_left_it_is_said(here: Path, pattern: str, message: str) -> None:
    make(here, ".env", "a.log")
    (here / ".gitignore").write_text("*.log\n")
    with pytest.raises(DataError, match=message):
        loaded(Pattern(pattern), here)


def test_a_pattern_is_interruptible(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abyme.context.progress._EVERY", 0.0)
    make(here, *(f"{number // 100}/{number}.txt" for number in range(200)))

    def stop(documents: int, size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loaded(Pattern("**/*.csv"), here, on_progress=stop)
