"""``.gitignore``: the same files as git's own reading, and nothing hostile in them does harm."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abyme.context.documents import Data
from abyme.context.ignore import Rules
from abyme.context.load import load
from abyme.errors import DataError

IGNORED = "ignored by .gitignore"
MANY = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge here")
_count = itertools.count()


def loaded(context: Any, tmp_path: Path, **options: Any) -> Data:
    return load(context, folder=tmp_path / ".runs" / f"{next(_count)}" / "data", **options)


def names(data: Data) -> list[str]:
    return [document.name for document in data.documents]


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a folder of files from their contents by name; ``""`` as content is the name itself."""

    def make(files: dict[str, str], folder: str = "files") -> Path:
        for name, content in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content or name)
        return tmp_path / folder

    return make


def test_what_is_ignored_is_left_out_and_counted(tmp_path: Path, make: Make) -> None:
    files = make(
        {
            ".gitignore": "# built\n*.o\n/out/\n!keep.o\n",
            "a.c": "",
            "a.o": "",
            "keep.o": "",
            "out/x.c": "",
            "out/y.c": "",
            "src/out/z.c": "",
        }
    )
    data = loaded(files, tmp_path)
    assert names(data) == ["a.c", "keep.o", "src/out/z.c"]
    assert data.skipped == {"hidden": 1, IGNORED: 2}
    everything = loaded(files, tmp_path, ignore_files=False)
    assert len(everything.documents) == 6


def test_a_deeper_file_wins_and_an_ignored_folder_is_not_entered(
    tmp_path: Path, make: Make
) -> None:
    files = make(
        {
            ".gitignore": "*.log\ntmp\n",
            "a.log": "",
            "deep/.gitignore": "!*.log\n/b.txt\n",
            "deep/a.log": "",
            "deep/b.txt": "",
            "deep/er/b.txt": "",
            "tmp/.gitignore": "!*",
            "tmp/a.txt": "",
        }
    )
    assert names(loaded(files, tmp_path)) == ["deep/a.log", "deep/er/b.txt"]


def test_all_but_some_endings(tmp_path: Path, make: Make) -> None:
    files = make(
        {".gitignore": "*\n!*/\n!*.py\n", "a.py": "", "b.txt": "", "c/d.py": "", "c/e": ""}
    )
    assert names(loaded(files, tmp_path)) == ["a.py", "c/d.py"]


def test_the_repository_around_a_folder_speaks_too(tmp_path: Path, make: Make) -> None:
    make({".gitignore": "x.txt\n"})  # above the repository: not its business
    repository = make(
        {
            ".git/HEAD": "",
            ".git/info/exclude": "*.mine\n!b.tmp\n",
            ".gitignore": "*.tmp\n/sub/dir/only-here\nelsewhere/\n",
            "sub/.gitignore": "!a.tmp\n",
            "sub/dir/a.tmp": "",
            "sub/dir/b.tmp": "",
            "sub/dir/only-here": "",
            "sub/dir/c.mine": "",
            "sub/dir/x.txt": "",
            "sub/dir/deep/only-here": "",
            "elsewhere/named.txt": "",
        },
        "files/repository",
    )
    assert names(loaded(repository / "sub" / "dir", tmp_path)) == [
        "a.tmp",
        "deep/only-here",
        "x.txt",
    ]
    (tmp_path / "link").symlink_to(repository / "sub" / "dir")
    assert len(loaded(tmp_path / "link", tmp_path).documents) == 3
    # What is named is never ignored itself.
    assert names(loaded(repository / "elsewhere", tmp_path)) == ["named.txt"]
    assert names(loaded(repository / "sub" / "dir" / "b.tmp", tmp_path)) == ["b.tmp"]


def test_without_a_repository_folders_above_say_nothing(tmp_path: Path, make: Make) -> None:
    files = make({".gitignore": "*.txt\n", "sub/a.txt": ""})
    assert names(loaded(files / "sub", tmp_path)) == ["a.txt"]


def test_a_repository_within_another_has_its_own_rules(tmp_path: Path, make: Make) -> None:
    files = make(
        {
            ".git/HEAD": "",
            ".gitignore": "*.txt\n",
            "a.txt": "",
            "inner/.git/info/exclude": "*.md\n",
            "inner/a.txt": "",
            "inner/b.md": "",
            "inner/deep/a.txt": "",
        }
    )
    assert names(loaded(files, tmp_path)) == ["inner/a.txt", "inner/deep/a.txt"]


def test_hidden_files_on_demand_but_never_the_repository(tmp_path: Path, make: Make) -> None:
    files = make(
        {".git/HEAD": "", ".env": "", ".gitignore": ".env\n", ".ci/run.yml": "", "a.txt": ""}
    )
    data = loaded(files, tmp_path, hidden=True)
    assert names(data) == [".ci/run.yml", ".gitignore", "a.txt"]
    assert data.skipped == {"hidden": 1, IGNORED: 1}


def test_a_link_does_not_lead_to_what_is_ignored(tmp_path: Path, make: Make) -> None:
    files = make({".gitignore": "secret/\n", "secret/key.txt": "", "a.txt": ""})
    (files / "link").symlink_to("secret/key.txt")
    data = loaded(files, tmp_path)
    assert names(data) == ["a.txt"]
    assert data.skipped == {"hidden": 1, IGNORED: 1, "symbolic link": 1}


def test_where_all_is_ignored_the_error_says_how_to_read_it(tmp_path: Path, make: Make) -> None:
    files = make({".gitignore": "*\n", "a.txt": ""})
    with pytest.raises(DataError, match=r"1 ignored by \.gitignore\).*--no-ignore"):
        loaded(files, tmp_path)


# The judge

PARTS = st.sampled_from(["a", "b", "ab", "ba", "a.o", "b.o", "a b", "]", "-", "A", "a\\", "#a"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
TOKENS = st.sampled_from(
    [*"ab.o*?/!#[]\\-^A ", "**", "**/", "/**/", "/**", "*.o", "[a-b]", "[!a]", "[[:alpha:]]", "\\"]
)
# A "?" is a character here and a byte in git: no character of these has two.
LINES = st.lists(TOKENS, min_size=1, max_size=6).map("".join)


@needs_git
@MANY
@given(
    lines=st.lists(LINES, min_size=1, max_size=5),
    deeper=st.lists(LINES, max_size=3),
    paths=st.lists(PATHS, min_size=6, max_size=12, unique=True),
)
def test_git_would_leave_out_the_same(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], deeper: list[str], paths: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "-c", "init.defaultBranch=m", "init", "-q", folder], check=True)
    for path in [*paths, "z"]:
        if not any(part.is_file() for part in (folder / path).parents):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / path).exists():
                (folder / path).write_text("x")
    (folder / ".gitignore").write_text("\n".join([*lines, "!/z"]))
    if (folder / "a").is_dir():
        (folder / "a" / ".gitignore").write_text("\n".join(deeper))
    ours = set(names(loaded(folder, tmp_path_factory.mktemp("run"))))
    assert ours == not_ignored(folder)


@needs_git
@pytest.mark.parametrize(
    "pattern",
    [
        *(r"**\/**b", r"**\/b", r"/**\/b", r"?/**\/b", r"**\/*\/b", r"***\/b", r"a\/**/b"),
        *("a**/b", "a**", "/a**", "a/c**", "a**/c/**/b", r"a**\/b", "a!**/b", r"\a**/b", "a*/**b"),
    ],
)
def test_stars_are_what_they_are_to_git(tmp_path: Path, make: Make, pattern: str) -> None:
    paths = ["b", "d/b", "a/b", "a/c/b", "ab", "ac/b", "a/ab", "a/c/ab", "a!b", "a!/x/b", "z"]
    paths = [path for path in paths if not any(other.startswith(f"{path}/") for other in paths)]
    folder = make({".gitignore": f"{pattern}\n!/z", **dict.fromkeys(paths, "")})
    subprocess.run(["git", "-c", "init.defaultBranch=m", "init", "-q", folder], check=True)
    assert set(names(loaded(folder, tmp_path))) == not_ignored(folder)


def not_ignored(folder: Path) -> set[str]:
    """What git would add."""
    listed = subprocess.run(
        ["git", "-C", folder, "ls-files", "-o", "--exclude-standard", "-z"],
        check=True,
        stdout=subprocess.PIPE,
    )
    found = {os.fsdecode(name) for name in listed.stdout.split(b"\0") if name}
    return {name for name in found if not name.endswith(".gitignore")}


# Hostile


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 30 + "*b", "a" * 255),
        ("/" + "*a" * 30 + "*b", "a" * 255),
        ("**/a/" * 12 + "b", "a/" * 120 + "c"),
        ("**/a*a*a*/" * 8 + "b", "aaaaaaaa/" * 120 + "c"),
        ("/**/a" * 12 + "*b", "a/" * 120 + "c"),
        ("[a-z]*" * 30 + "[0-9]", "a" * 255),
        ("?*" * 60 + "b", "a" * 255),
    ],
)
def test_no_pattern_takes_for_ever(pattern: str, path: str) -> None:
    rules = Rules([pattern])
    name = path.rpartition("/")[2]
    began = time.process_time()
    for _ in range(20):
        rules.verdict(path, name, folder=False)
    # Where a pattern backtracks without bound, one of these takes longer than the universe has.
    assert time.process_time() - began < 20


def test_ignore_files_that_are_none(tmp_path: Path, make: Make) -> None:
    files = make({f"{folder}/a.txt": "" for folder in ("fifo", "zero", "link", "folder", "bytes")})
    os.mkfifo(files / "fifo" / ".gitignore")
    (files / "zero" / ".gitignore").symlink_to("/dev/zero")
    (files / "rules").write_text("a.txt\n")
    (files / "link" / ".gitignore").symlink_to("../rules")
    (files / "folder" / ".gitignore").mkdir()
    (files / "bytes" / ".gitignore").write_bytes(
        b"\xff\xfe\0*\n\n[\n[z-a]\n\\\n!\n/\ncaf\xe9.txt\r\n"
    )
    (files / "bytes" / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    data = loaded(files, tmp_path)
    assert len(data.documents) == 6
    assert data.skipped == {"hidden": 5, IGNORED: 1}


def test_a_huge_ignore_file_is_read_in_part_and_this_is_counted(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    lines = "".join(f"name-{number}\n" for number in range(100_000))
    wild = "".join(f"{number}-*-x\n" for number in range(5_000))
    files = make({".gitignore": f"{wild}{lines}b.txt\n", "a.txt": "", "b.txt": "", "name-7": ""})
    began = time.process_time()
    data = loaded(files, tmp_path)
    assert names(data) == ["a.txt", "b.txt"]
    assert time.process_time() - began < 20
    assert data.skipped["ignore patterns beyond 1,000"] == 4_000
    assert not caplog.records, "a log would be written over what is shown"


def test_a_mark_and_windows_line_ends(tmp_path: Path, make: Make) -> None:
    files = make({"a.txt": "", "b.txt": "", "c.txt": ""})
    (files / ".gitignore").write_bytes(b"\xef\xbb\xbfa.txt\r\nb.txt\r\n")
    assert names(loaded(files, tmp_path)) == ["c.txt"]
