"""Which documents there are, and under which names. No file is opened here."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from abyme.context.matching import Pattern
from abyme.context.named import named
from abyme.context.progress import Progress
from abyme.context.stream import Stream, is_stream, stream_name
from abyme.context.walk import TWICE, Choice, Walk
from abyme.errors import DataError

Piece = str | bytes | os.PathLike[str] | Pattern | Stream
"""A text, the bytes of one, the path of a file or directory, a pattern of paths, or a binary stream
to be read to its end. A ``str`` is never a path."""
Context = Piece | Sequence[Piece] | Mapping[str, Piece]


class Root:
    """A directory that the caller named, or the base of a pattern, and what was left out of it."""

    def __init__(self, path: str, pattern: str = "") -> None:
        self.path = path
        self.pattern = pattern
        self.skipped: Counter[str] = Counter()
        self.loaded = 0


class Item(NamedTuple):
    """One document to be: handed over (``given``) or a file, found below ``root`` or named."""

    name: str
    path: str = ""
    given: str | bytes | Stream | None = None
    root: Root | None = None


def plan(
    context: Context, choice: Choice, skipped: Counter[str], progress: Progress
) -> tuple[list[Item], list[Root], bool]:
    """The items, the directories among what was named, and whether it is one text alone.

    What a directory leaves out is counted in its root, what else is left out in ``skipped``.
    """
    roots: list[Root] = []

    def walked(root: Root, pattern: Pattern | None = None) -> list[Item]:
        roots.append(root)
        wanted = pattern.matching() if pattern else None
        walk = Walk(str(Path(root.path).absolute()), choice, root.skipped, progress, wanted)
        return [Item(found.name, found.path, root=root) for found in walk.found()]

    def expand(name: str, piece: object) -> list[Item]:
        """One piece as items; ``name`` is for text, and for all else where the caller chose it."""
        if isinstance(piece, str | bytes):
            return [Item(name, given=piece)]
        if is_stream(piece):
            return [Item(name or stream_name(piece), given=piece)]
        if isinstance(piece, Pattern):
            return walked(Root(piece.base, piece.text), piece)
        if not isinstance(piece, os.PathLike):
            raise DataError(f"the context holds {_typed(piece)}: give str, bytes or paths")
        path = os.fsdecode(piece)
        if not stat.S_ISDIR(named(path).st_mode):
            return [Item(name or Path(path).name, path)]
        return walked(Root(path))

    if isinstance(context, Mapping):
        items = _chosen(context, expand)
    elif isinstance(context, list | tuple):
        items = _numbered(context, expand, skipped, progress)
    else:
        items = expand("text" if isinstance(context, str | bytes) else "", context)
        return items, roots, not roots
    if not items and not roots:
        raise DataError("the context holds no documents: there is nothing to ask about")
    return items, roots, False


Expand = Callable[[str, object], list[Item]]
_Key = tuple[int, int]
"""Device and inode of a file."""


def _chosen(pieces: Mapping[str, Piece], expand: Expand) -> list[Item]:
    """The items of a dict: its keys are the names, and folders for what a directory holds."""
    items: list[Item] = []
    for name, piece in pieces.items():
        if not isinstance(name, str):
            raise DataError(f"a document's name must be a str, not {_typed(name)}")
        found = expand(name, piece)
        items += [
            item._replace(name=f"{name}/{item.name}") if item.root else item for item in found
        ]
    return _unique(items)


def _numbered(
    pieces: Sequence[Piece], expand: Expand, skipped: Counter[str], progress: Progress
) -> list[Item]:
    """The items of a list: texts get their place as name, paths the shortest that is clear."""
    expanded = [
        expand(f"text-{place:04}" if isinstance(piece, str | bytes) else "", piece)
        for place, piece in enumerate(pieces, start=1)
    ]
    items = expanded[0] if len(expanded) == 1 else _once(expanded, skipped, progress)
    if len({item.name for item in items}) == len(items):
        return items
    return _unique(
        item._replace(name=f"{_last(item.root.path)}/{item.name}") if item.root else item
        for item in items
    )


def _once(pieces: list[list[Item]], skipped: Counter[str], progress: Progress) -> list[Item]:
    """The items of several pieces without files that were named before, whatever their names.

    What was named itself comes before what was found. Hard links in one folder stay as they are:
    each is as much a file of it as the other.
    """
    keyed = [[(item, _key(item, progress)) for item in piece] for piece in pieces]
    alone = {key for piece in keyed for item, key in piece if key and item.root is None}
    before: set[_Key] = set()
    once: list[Item] = []
    for piece in keyed:
        kept: set[_Key] = set()
        for item, key in piece:
            if key and (key in before or (item.root is not None and key in alone)):
                (item.root.skipped if item.root else skipped)[TWICE] += 1
                continue
            once.append(item)
            if key:
                kept.add(key)
        before |= kept
    return once


def _key(item: Item, progress: Progress) -> _Key | None:
    """Which file an item is; None for what was handed over, and for what is gone."""
    progress.beat()
    try:
        found = os.stat(item.path) if item.given is None else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def _unique(items: Iterable[Item]) -> list[Item]:
    """The items, "notes.txt" following its like as "notes (2).txt"."""
    numbers: dict[str, int] = {}
    unique: list[Item] = []
    for item in items:
        name = item.name
        while name in numbers:
            numbers[item.name] += 1
            stem, dot, ending = item.name.rpartition(".")
            stem, ending = (stem, dot + ending) if stem and "/" not in ending else (item.name, "")
            name = f"{stem} ({numbers[item.name]}){ending}"
        numbers[name] = 1
        unique.append(item._replace(name=name))
    return unique


def _last(path: str) -> str:
    return Path(path).resolve().name or "root"


def _typed(value: object) -> str:
    return f"a value of type {type(value).__name__}"
