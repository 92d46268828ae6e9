"""Which documents there are, and under which names. No file is opened here."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from abyme.context.named import named
from abyme.context.progress import Progress
from abyme.context.stream import Stream, is_stream, stream_name
from abyme.context.walk import Choice, Walk
from abyme.errors import DataError

Piece = str | bytes | os.PathLike[str] | Stream
"""A text, the bytes of one, the path of a file or directory, or a binary stream to be read to its
end. A ``str`` is never a path."""
Context = Piece | Sequence[Piece] | Mapping[str, Piece]


class Root:
    """A directory that the caller named, and what was left out of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.skipped: Counter[str] = Counter()
        self.loaded = 0


class Item(NamedTuple):
    """One document to be: handed over (``given``) or a file, found below ``root`` or named."""

    name: str
    path: str = ""
    given: str | bytes | Stream | None = None
    root: Root | None = None


def plan(
    context: Context, choice: Choice, run: Path, progress: Progress
) -> tuple[list[Item], list[Root], bool]:
    """The items, the directories among what was named, and whether it is one text alone."""
    roots: list[Root] = []

    def expand(name: str, piece: object) -> list[Item]:
        """One piece as items; ``name`` is for text, and for all else where the caller chose it."""
        if isinstance(piece, str | bytes):
            return [Item(name, given=piece)]
        if is_stream(piece):
            return [Item(name or stream_name(piece), given=piece)]
        if not isinstance(piece, os.PathLike):
            raise DataError(f"the context holds {_typed(piece)}: give str, bytes or paths")
        path = os.fsdecode(piece)
        if not stat.S_ISDIR(named(path).st_mode):
            return [Item(name or Path(path).name, path)]
        root = Root(path)
        roots.append(root)
        walk = Walk(str(Path(path).absolute()), choice, run, root.skipped, progress)
        return [Item(found.name, found.path, root=root) for found in walk.files()]

    if isinstance(context, Mapping):
        items = _chosen(context, expand)
    elif isinstance(context, list | tuple):
        items = _numbered(context, expand)
    else:
        items = expand("text" if isinstance(context, str | bytes) else "", context)
        return items, roots, not roots
    if not items and not roots:
        raise DataError("the context holds no documents: there is nothing to ask about")
    return items, roots, False


Expand = Callable[[str, object], list[Item]]


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


def _numbered(pieces: Sequence[Piece], expand: Expand) -> list[Item]:
    """The items of a list: texts get their place as name, paths the shortest that is clear."""
    items: list[Item] = []
    for place, piece in enumerate(pieces, start=1):
        items += expand(f"text-{place:04}" if isinstance(piece, str | bytes) else "", piece)
    if len({item.name for item in items}) == len(items):
        return items
    return _unique(
        item._replace(name=f"{_last(item.root.path)}/{item.name}") if item.root else item
        for item in items
    )


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
