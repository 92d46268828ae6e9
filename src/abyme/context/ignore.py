"""What the ``.gitignore`` files of a directory, and of the repository around it, leave out.

Read as git reads them: the last pattern of a file that matches decides, a deeper file before the
one above it, and ``.git/info/exclude`` after all of them. A repository within another has rules
of its own alone.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from abyme.context.patterns import FOLDER, translate

_FILE = ".gitignore"
_MOST_BYTES = 1 << 20
"""Of an ignore file: what comes after is not read."""
_MOST_WILDCARDS = 1_000
"""Patterns of a file, plain names and ``*.ending`` not counted: those after them are left out."""
BEYOND = f"ignore patterns beyond {_MOST_WILDCARDS:,}"
_LONGEST = 1_000
"""Characters of a pattern."""
# A link is not followed (git does not either), a FIFO not waited for.
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
_WILD = re.compile(r"[*?\[\\]")
_ENDING = re.compile(r"\*(\.[^.*?\[\\]+)")


class Rules:
    """The patterns of one file."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._leave_out: list[bool] = []
        self._plain: dict[str, int] = {}  # names, "*.ending", paths with a slash before them
        names: list[tuple[int, str]] = []
        paths: list[tuple[int, str]] = []
        for line in lines:
            self._add(line, names, paths)
        self.beyond = max(0, len(names) + len(paths) - _MOST_WILDCARDS)
        self._names = _Alternatives(names[:_MOST_WILDCARDS])
        self._paths = _Alternatives(paths[: _MOST_WILDCARDS - len(names[:_MOST_WILDCARDS])])

    def _add(self, line: str, names: list[tuple[int, str]], paths: list[tuple[int, str]]) -> None:
        """Read one line: into the table where it names things plainly, else as an expression."""
        pattern = _without_trailing_spaces(line)
        leave_out = not pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        if line.startswith("#") or not pattern or len(pattern) > _LONGEST:
            return
        tail = ""
        if pattern.endswith("/"):
            pattern, tail = pattern[:-1], FOLDER
        number = len(self._leave_out)
        is_path = "/" in pattern
        pattern = pattern.removeprefix("/")
        if not pattern:
            return
        self._leave_out.append(leave_out)
        if not _WILD.search(pattern):
            self._plain["/" * is_path + pattern + tail] = number
        elif not is_path and (ending := _ENDING.fullmatch(pattern)):
            self._plain[f"*{ending[1]}{tail}"] = number
        elif (expression := translate(pattern)) is not None:
            whole = expression + (rf"{FOLDER}\Z" if tail else rf"{FOLDER}?\Z")
            (paths if is_path else names).append((number, whole))

    def __bool__(self) -> bool:
        return bool(self._leave_out)

    def verdict(self, path: str, name: str, *, folder: bool) -> bool | None:
        """Whether the file leaves out ``path`` (``name`` is its end), or None: it says nothing."""
        plain = self._plain
        ending = f"*{name[name.rfind('.') :]}" if "." in name else ""
        last = max(plain.get(name, -1), plain.get(ending, -1), plain.get(f"/{path}", -1))
        if folder:
            name, path = name + FOLDER, path + FOLDER
            ending += FOLDER
            last = max(last, plain.get(name, -1), plain.get(ending, -1), plain.get(f"/{path}", -1))
        last = max(last, self._names.last(name), self._paths.last(path))
        return None if last < 0 else self._leave_out[last]


class _Alternatives:
    """Numbered expressions as one, the last of them first."""

    def __init__(self, numbered: list[tuple[int, str]]) -> None:
        self._numbers = [number for number, _ in reversed(numbered)]
        joined = "|".join(f"({expression})" for _, expression in reversed(numbered))
        self._match = re.compile(joined, re.DOTALL).match if numbered else None

    def last(self, text: str) -> int:
        """The number of the last expression that matches ``text``; -1 where none does."""
        if self._match is None or (found := self._match(text)) is None or not found.lastindex:
            return -1
        return self._numbers[found.lastindex - 1]


def _without_trailing_spaces(line: str) -> str:
    """The line without spaces at its end, but for one that a backslash keeps."""
    bare = line.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if backslashes % 2 and len(bare) < len(line) else bare


class _Layer(NamedTuple):
    """A file's rules, and how a path within the directory is seen from the file's folder."""

    rules: Rules
    above: str
    """What comes before the path, where the file lies above the directory."""
    cut: int
    """Characters of the path that are left out, where it lies in a folder of it."""


Layers = tuple[_Layer, ...]
"""The ignore files that speak for a folder's entries, the one that decides first at the end."""


class Ignoring:
    """The ignore files of the directory ``root``, each read when its folder is come to.

    Patterns that are too many are counted in ``skipped``.
    """

    def __init__(self, root: str, skipped: Counter[str]) -> None:
        self._root = root
        self._skipped = skipped
        self._folders: dict[str, Layers] = {}

    def layers(self, folder: str) -> Layers:
        """Those that speak for the entries of ``folder``: "" for the root itself, else "a/b/"."""
        if (layers := self._folders.get(folder)) is None:
            above = self.layers(folder[: folder.rfind("/", 0, -1) + 1]) if folder else ()
            read = () if folder else _around(os.path.realpath(self._root))
            here = f"{self._root}/{folder}"
            if _is_repository(here):
                above, read = (), _layer(f"{here}.git/info/exclude", "", len(folder))
            read += _layer(here + _FILE, "", len(folder))
            if beyond := sum(layer.rules.beyond for layer in read):
                self._skipped[BEYOND] += beyond
            layers = self._folders[folder] = above + read
        return layers

    def leaves_out(self, path: str, *, folder: bool, layers: Layers | None = None) -> bool:
        """Whether ``path``, whose folder is not left out itself, is. ``layers``: its folder's."""
        parent, _, name = path.rpartition("/")
        if layers is None:
            layers = self.layers(f"{parent}/" if parent else "")
        for rules, above, cut in reversed(layers):
            verdict = rules.verdict(above + path[cut:], name, folder=folder)
            if verdict is not None:
                return verdict
        return False


def _around(root: str) -> Layers:
    """The files of the folders above ``root``, from the one that is a repository down."""
    layers: list[Layers] = []
    folder, below = root, ""
    while not _is_repository(f"{folder}/"):
        folder, _, name = folder.rpartition("/")
        if not name:
            return ()  # no repository is around it
        below = f"{name}/{below}"
        layers.append(_layer(f"{folder}/{_FILE}", below, 0))
    if below:
        layers.append(_layer(f"{folder}/.git/info/exclude", below, 0))
    return tuple(layer for some in reversed(layers) for layer in some)


def _is_repository(folder: str) -> bool:
    return os.path.lexists(f"{folder}.git")


def _layer(path: str, above: str, cut: int) -> Layers:
    """The file's rules as a layer; none where there is no such file or nothing in it."""
    text = _read(path)
    rules = Rules(text.split("\n")) if text else None
    return (_Layer(rules, above, cut),) if rules else ()


def _read(path: str) -> str:
    """The file's text as names are decoded; nothing where it is no file that can be read."""
    try:
        descriptor = os.open(path, _OPEN)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        raw = os.pread(descriptor, _MOST_BYTES, 0)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    if len(raw) == _MOST_BYTES:
        raw = raw[: raw.rfind(b"\n") + 1]
    return os.fsdecode(raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n"))
