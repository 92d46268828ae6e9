"""What folders take on the disk, and how much of it would be free without them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

_BLOCK = 512
"""Bytes of a block as ``stat`` counts them, whatever the disk's own are."""


def folder_bytes(folder: Path) -> int:
    """Bytes that ``folder`` takes on the disk; 0 where it is gone. A file counts once in it."""
    return all_bytes([folder])


def all_bytes(folders: Iterable[Path]) -> int:
    """Bytes that ``folders`` take together: what they share as hard links counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder in folders:
        for entry in _entries(folder):
            if entry.st_nlink > 1:
                if (entry.st_dev, entry.st_ino) in seen:
                    continue
                seen.add((entry.st_dev, entry.st_ino))
            total += entry.st_blocks * _BLOCK
    return total


def freed_bytes(folders: Iterable[Path]) -> int:
    """Bytes that are free once all ``folders`` are removed.

    A file that has a further name outside of them stays, and is not counted.
    """
    shared: dict[tuple[int, int], os.stat_result] = {}
    names: Counter[tuple[int, int]] = Counter()
    total = 0
    for folder in folders:
        for entry in _entries(folder):
            inode = (entry.st_dev, entry.st_ino)
            if entry.st_nlink > 1 and not _is_folder(entry):
                names[inode] += 1
                shared[inode] = entry
            else:
                total += entry.st_blocks * _BLOCK
    gone = (entry for inode, entry in shared.items() if names[inode] >= entry.st_nlink)
    return total + sum(entry.st_blocks * _BLOCK for entry in gone)


def _is_folder(entry: os.stat_result) -> bool:
    return stat.S_ISDIR(entry.st_mode)


def _entries(folder: Path) -> Iterator[os.stat_result]:
    """All that lies in ``folder``, and itself. No link is followed; what cannot be read is passed
    over."""
    waiting = [str(folder)]
    with contextlib.suppress(OSError):
        yield os.lstat(folder)
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
