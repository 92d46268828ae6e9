"""Real amounts of data: 20,000 small files, and a log of 2 GB, which is written once a run."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from benchmarks.figures import Bench, Row
from benchmarks.large import LOOKED_AT, first_request, look_at, memory

_FOLDERS = 400
_FILES = 50
"""In each folder."""
_MEGABYTES = 2_000


def data(bench: Bench) -> list[Row]:
    """Files of 1 to 5 kB in folders, then one large file; takes 2 GB of the disk while it runs."""
    return [_many_files(bench), *_large_log(bench)]


def _many_files(bench: Bench) -> Row:
    tree = bench.folder / "tree"
    _grow(tree, bench.text(5).read_bytes())
    row = Row(
        f"{_FOLDERS * _FILES:,} files: completion() → first request",
        0,
        target=1.5,
        note="in a process that has asked before; floor: list the folders, open, fstat and read "
        "each file, send the same request over an open connection",
    )
    return first_request(bench, tree, partial(_look_at_all, str(tree)), row, rounds=5)


def _grow(tree: Path, text: bytes) -> None:
    """Always the same files: pieces of ``text`` that begin at different places."""
    for folder in range(_FOLDERS):
        path = tree / f"part-{folder // 20:02}" / f"folder-{folder:03}"
        path.mkdir(parents=True)
        for file in range(_FILES):
            begin = 200 * (folder * _FILES + file)
            size = 1_000 + (begin * 7) % 4_000
            (path / f"file-{file:02}.txt").write_bytes(text[begin : begin + size])


def _look_at_all(folder: str) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _look_at_all(entry.path)
            else:
                look_at(entry.path)


def _large_log(bench: Bench) -> list[Row]:
    log = bench.text(_MEGABYTES)
    row = Row("2 GB log: completion() → first request", 0, target=3.0, note=LOOKED_AT)
    try:
        return [
            first_request(bench, log, partial(look_at, log), row, rounds=7),
            *memory(bench, log),
        ]
    finally:
        log.unlink()
