"""The files of a directory, and what of it is left out. No file but an ignore file is opened."""

from __future__ import annotations

import fnmatch
import heapq
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from abyme.context.ignore import Ignoring, Layers
from abyme.context.matching import Matching
from abyme.context.named import unreadable
from abyme.context.progress import Progress

HIDDEN = "hidden"
EXCLUDED = "excluded"
IGNORED = "ignored by .gitignore"
LINK = "symbolic link"
SPECIAL = "not a regular file"
UNREADABLE = "unreadable"
RUN = "run of abyme"
TWICE = "named twice"

_RUN_HOLDS = ("journal.jsonl", "blobs")
"""By these the folder of a run is known (:mod:`abyme.journal.format`): it quotes data, and is none.
"""
_SORTED_AT_ONCE = 50_000
"""Entries of a folder; sorting a million at once takes a second in which nothing else runs."""
_NAME = attrgetter("name")

Exclusion = Callable[[str, str], bool]


class Choice(NamedTuple):
    """What the caller wants of directories."""

    exclude: Sequence[str] = ()
    """``fnmatch`` patterns of paths within the directory, or of any component of them."""
    ignore_files: bool = True
    """Leave out what ``.gitignore`` files do."""
    hidden: bool = False
    """Read what is hidden too, but never ``.git``."""


class Found(NamedTuple):
    """A file in a directory: its path within it, with ``/``, and its path in the system."""

    name: str
    path: str
    leads_to: str = ""
    """The path within the directory of the file that a link leads to."""


def exclusion(patterns: Sequence[str]) -> Exclusion | None:
    """A test of (path within the directory, last component) against ``fnmatch`` patterns.

    A pattern that matches a folder leaves out all that lies in it.
    """
    if not patterns:
        return None
    parts = (fnmatch.translate(pattern.removeprefix("./").rstrip("/")) for pattern in patterns)
    matches = re.compile("|".join(parts)).match
    return lambda relative, name: bool(matches(name) or matches(relative))


class Walk:
    """The files below ``root``, sorted by name within each folder; what is left out is counted.

    Left out: what is hidden, excluded, ignored or no regular file; links to folders, and links to
    files that lie outside ``root`` or would be left out themselves (a stranger's folder must not
    reach ``~/.ssh``); the folders of runs, this one's own among them. With ``wanted``, all that it
    does not want is passed over and not counted.
    """

    def __init__(
        self,
        root: str,
        choice: Choice,
        skipped: Counter[str],
        progress: Progress,
        wanted: Matching | None = None,
    ) -> None:
        self._root = root
        self._wanted = wanted
        self._hidden = choice.hidden
        self._excluded = exclusion(choice.exclude)
        self._ignoring = Ignoring(root, skipped) if choice.ignore_files else None
        self._skipped = skipped
        self._progress = progress

    def found(self) -> list[Found]:
        """The files, each once: a link to one that is here itself is counted, not read.

        Raises :class:`DataError` where the root itself cannot be listed.
        """
        files = list(self._files())
        names = {file.name for file in files if not file.leads_to}
        once: list[Found] = []
        for file in files:
            if file.leads_to in names:
                self._skipped[TWICE] += 1
                continue
            if file.leads_to:
                names.add(file.leads_to)
            once.append(file)
        return once

    def _files(self) -> Iterator[Found]:
        """Each file, and each link that may be followed."""
        try:
            stack = [("", self._layers(""), self._listed(self._root))]
        except OSError as error:
            raise unreadable(self._root, error) from error
        while stack:
            prefix, layers, entries = stack[-1]
            for entry in entries:
                self._progress.beat()
                relative = prefix + entry.name
                if self._wanted is not None and not self._is_wanted(self._wanted, prefix, entry):
                    continue
                if entry.is_file(follow_symlinks=False):
                    if reason := self._left_out(relative, entry.name, layers, folder=False):
                        self._skipped[reason] += 1
                    else:
                        yield Found(relative, entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    if (inner := self._entered(entry, relative, layers)) is not None:
                        stack.append(inner)
                        break
                elif followed := self._followed(entry, relative, layers):
                    yield followed
            else:
                stack.pop()

    def _is_wanted(self, wanted: Matching, prefix: str, entry: os.DirEntry[str]) -> bool:
        if entry.is_dir(follow_symlinks=False):
            return wanted.enters(prefix, entry.name)
        if wanted.takes(prefix, entry.name, folder=False):
            return True
        is_folder = entry.is_symlink() and os.path.isdir(entry.path)  # noqa: PTH112 - never raises
        if is_folder and wanted.enters(prefix, entry.name):
            self._skipped[LINK] += 1  # never entered, but what is wanted may lie there
        return False

    def _entered(
        self, entry: os.DirEntry[str], relative: str, layers: Layers
    ) -> tuple[str, Layers, Iterator[os.DirEntry[str]]] | None:
        """What there is to walk in a folder, or None where it is left out, and counted."""
        reason = self._left_out(relative, entry.name, layers, folder=True)
        if not reason and _is_run(entry.path):
            reason = RUN
        try:
            if not reason:
                prefix = relative + "/"
                return prefix, self._layers(prefix), self._listed(entry.path)
        except OSError:
            reason = UNREADABLE
        self._skipped[reason] += 1
        return None

    def _followed(self, entry: os.DirEntry[str], relative: str, layers: Layers) -> Found | None:
        """What a link leads to that may be followed; what else is no file is counted."""
        reason = self._left_out(relative, entry.name, layers, folder=False)
        if not reason and not entry.is_symlink():
            reason = SPECIAL
        inside = None if reason else self._inside(entry.path)
        if inside is None:
            self._skipped[reason or LINK] += 1
            return None
        return Found(relative, *inside)

    def _layers(self, prefix: str) -> Layers:
        return () if self._ignoring is None else self._ignoring.layers(prefix)

    def _left_out(self, relative: str, name: str, layers: Layers, *, folder: bool) -> str | None:
        if name.startswith(".") and (not self._hidden or name == ".git"):
            return HIDDEN
        if self._excluded is not None and self._excluded(relative, name):
            return EXCLUDED
        if (
            layers
            and self._ignoring is not None
            and self._ignoring.leaves_out(relative, folder=folder, layers=layers)
        ):
            return IGNORED
        return None

    def _inside(self, link: str) -> tuple[str, str] | None:
        """The file of this directory that ``link`` leads to and that is not left out, or None.

        Its path in the system, and within the directory.
        """
        try:
            target = Path(link).resolve(strict=True)
            parts = target.relative_to(Path(self._root).resolve()).parts
        except (OSError, RuntimeError, ValueError):  # it leads nowhere, in a circle, or out of root
            return None
        prefix = ""
        for place, name in enumerate(parts, start=1):
            folder = place < len(parts)
            if self._left_out(prefix + name, name, self._layers(prefix), folder=folder):
                return None
            if folder and _is_run(f"{self._root}/{prefix}{name}"):
                return None
            prefix += f"{name}/"
        return (str(target), "/".join(parts)) if target.is_file() else None

    def _listed(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """The folder's entries by name."""
        parts: list[list[os.DirEntry[str]]] = [[]]
        with os.scandir(folder) as entries:
            for entry in entries:
                self._progress.beat()
                if len(parts[-1]) >= _SORTED_AT_ONCE:
                    parts[-1].sort(key=_NAME)
                    parts.append([])
                parts[-1].append(entry)
        parts[-1].sort(key=_NAME)
        return iter(parts[0]) if len(parts) == 1 else heapq.merge(*parts, key=_NAME)


def _is_run(folder: str) -> bool:
    return all(os.path.lexists(f"{folder}/{name}") for name in _RUN_HOLDS)
