"""Which documents there are, and under which names. No file is opened here."""

from __future__ import annotations

import difflib
import fnmatch
import itertools
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from abyme.context.documents import shown
from abyme.errors import DataError

HIDDEN = "hidden"
EXCLUDED = "excluded"
LINK = "symbolic link"
SPECIAL = "not a regular file"
UNREADABLE = "unreadable"
OWN = "this run's own folder"

_HINTS_AMONG = 10_000
"""Names of a folder that are looked at for one like a name that is missing."""

Piece = str | bytes | os.PathLike[str]
"""A text, the bytes of one, or the path of a file or directory. A ``str`` is never a path."""
Context = Piece | Sequence[Piece] | Mapping[str, Piece]
Exclusion = Callable[[str, str], bool]


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
    given: str | bytes | None = None
    root: Root | None = None


class Found(NamedTuple):
    """A file in a directory: its path within it, with ``/``, and its path in the system."""

    name: str
    path: str


def plan(
    context: Context, exclude: Sequence[str], run: Path
) -> tuple[list[Item], list[Root], bool]:
    """The items, the directories among what was named, and whether it is one text alone."""
    roots: list[Root] = []
    excluded = exclusion(exclude)

    def expand(name: str, piece: object) -> list[Item]:
        """One piece as items; ``name`` is for text, and for paths where the caller chose it."""
        if isinstance(piece, str | bytes):
            return [Item(name, given=piece)]
        if not isinstance(piece, os.PathLike):
            raise DataError(f"the context holds {_typed(piece)}: give str, bytes or paths")
        path = os.fsdecode(piece)
        if not stat.S_ISDIR(named(path).st_mode):
            return [Item(name or Path(path).name, path)]
        root = Root(path)
        roots.append(root)
        base = str(Path(path).absolute())
        files = walk(base, excluded=excluded, skipped=root.skipped, run=run)
        return [Item(found.name, found.path, root=root) for found in files]

    if isinstance(context, Mapping):
        items = _chosen(context, expand)
    elif isinstance(context, list | tuple):
        items = _numbered(context, expand)
    else:
        is_path = isinstance(context, os.PathLike)
        items = expand("" if is_path else "text", context)
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
        items += expand("" if isinstance(piece, os.PathLike) else f"text-{place:04}", piece)
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


def exclusion(patterns: Sequence[str]) -> Exclusion:
    """A test of (path within the directory, last component) against ``fnmatch`` patterns.

    A pattern that matches a folder leaves out all that lies in it.
    """
    if not patterns:
        return lambda relative, name: False
    parts = (fnmatch.translate(pattern.removeprefix("./").rstrip("/")) for pattern in patterns)
    matches = re.compile("|".join(parts)).match
    return lambda relative, name: bool(matches(name) or matches(relative))


def walk(root: str, *, excluded: Exclusion, skipped: Counter[str], run: Path) -> Iterator[Found]:
    """The files below ``root``, sorted by name within each folder; what is left out is counted.

    Left out: what is hidden, excluded or no regular file; links to folders, and links to files
    that lie outside ``root`` or would be left out themselves (a stranger's folder must not reach
    ``~/.ssh``); the folder ``run``, whose journal grows while it is read. Raises
    :class:`DataError` where ``root`` itself cannot be listed.
    """
    try:
        stack = [("", _listed(root))]
    except OSError as error:
        raise unreadable(root, error) from error
    own = _stat(run)
    while stack:
        prefix, entries = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            continue
        relative = prefix + entry.name
        if reason := _left_out(entry, relative, excluded):
            skipped[reason] += 1
        elif entry.is_symlink():
            if target := _inside(root, entry.path, excluded):
                yield Found(relative, target)
            else:
                skipped[LINK] += 1
        elif entry.is_file(follow_symlinks=False):
            yield Found(relative, entry.path)
        elif own and os.path.samestat(own, entry.stat(follow_symlinks=False)):
            skipped[OWN] += 1
        else:
            try:
                stack.append((relative + "/", _listed(entry.path)))
            except OSError:
                skipped[UNREADABLE] += 1


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _listed(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=lambda entry: entry.name))


def _left_out(entry: os.DirEntry[str], relative: str, excluded: Exclusion) -> str | None:
    if entry.name.startswith("."):
        return HIDDEN
    if excluded(relative, entry.name):
        return EXCLUDED
    usual = entry.is_symlink() or entry.is_file(follow_symlinks=False)
    return None if usual or entry.is_dir(follow_symlinks=False) else SPECIAL


def _inside(root: str, link: str, excluded: Exclusion) -> str | None:
    """The regular file within ``root`` that ``link`` leads to, or None where there is none."""
    try:
        target = Path(link).resolve(strict=True)
        parts = target.relative_to(Path(root).resolve()).parts
    except (OSError, RuntimeError, ValueError):  # it leads nowhere, in a circle, or out of root
        return None
    for end, name in enumerate(parts, start=1):
        if name.startswith(".") or excluded("/".join(parts[:end]), name):
            return None
    return str(target) if target.is_file() else None


def named(path: str) -> os.stat_result:
    """What lies at a path that the caller named: a regular file or a directory.

    Links are followed. Raises :class:`DataError` for all else, without opening it: a FIFO would
    wait for ever, and a device may do anything.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(_missing(path)) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise unreadable(path, error) from error
    if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
        return found
    raise DataError(
        f"{shown(path)} is {_kind(found.st_mode)}, not a file: save what it gives to a file first"
    )


def unreadable(path: str, error: OSError | ValueError) -> DataError:
    """A :class:`DataError` for a named path that the system refuses to open or list."""
    why = error.strerror if isinstance(error, OSError) else str(error)
    denied = isinstance(error, PermissionError)
    advice = "check its permissions (ls -l)" if denied else "check the path"
    return DataError(f"{shown(path)} cannot be read ({why}): {advice}")


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a FIFO (named pipe)"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def _missing(path: str) -> str:
    """Why there is nothing at ``path``, with the nearest name that there is."""
    gap = Path(path)
    if gap.is_symlink():
        target = shown(str(gap.readlink()))
        return f"{shown(path)} is a symbolic link to {target}, which does not exist: check the link"
    while gap.parent != gap and not os.path.lexists(gap.parent):
        gap = gap.parent
    if not gap.parent.is_dir():
        return f"{shown(path)} does not exist: {shown(str(gap.parent))} is not a folder"
    try:
        with os.scandir(gap.parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, _HINTS_AMONG)]
    except OSError:
        names = []
    near = difflib.get_close_matches(gap.name, names, n=1)
    hint = f"did you mean {shown(str(gap.parent / near[0]))}?" if near else "check the path"
    return f"{shown(path)} does not exist: {hint}"
