"""Which arguments are data and which is the question, in whatever order they come.

What exists is data; so is ``-``, and a pattern that matches something. The one argument that does
not exist is the question, unless it looks like a path: then it is a typo, and the nearest path that
exists is named.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import stat
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from abyme.context.documents import shown
from abyme.context.matching import Pattern, has_magic
from abyme.context.nearest import nearest_path
from abyme.errors import ConfigError, DataError

STDIN = "-"
_ASKING = re.compile(r"[^*?\[/.]*\w\?+")
"""What ends like a question: it is one, whatever it matches, where nothing else is."""
_ENDING = re.compile(r"[^.\s]\.[A-Za-z]\w{0,7}$")
_ALIKE = 0.8
"""How alike a single word must be to something that exists to be taken for a typo of it."""


class Asked(NamedTuple):
    """The question, and what it is asked about: see :data:`abyme.context.load.Context`."""

    question: str
    context: Any


def sort_arguments(words: Sequence[str], question: str | None, stdin: IO[str] | None) -> Asked:
    """The question and the data among ``words``; ``question``: given by its own option.

    ``stdin`` is data where ``-`` says so, and where nothing else is named and something is piped
    in. Raises :class:`ConfigError` for none or several questions and :class:`DataError` for what
    is missing.
    """
    if any(not word.strip() and not os.path.lexists(word) for word in words):
        raise ConfigError("an argument is empty: is a variable in the command not set?")
    data = {word: _data(word, stdin) for word in words}  # in their order, each once
    if question is None and None not in data.values():
        asking = (word for word in data if isinstance(data[word], Pattern))
        if word := next(filter(_ASKING.fullmatch, asking), None):
            data[word] = None
    others = [word for word, piece in data.items() if piece is None]
    if question is None:
        question = _question(others, words)
    elif others:
        raise DataError(_missing(others[0]))
    pieces = [piece for piece in data.values() if piece is not None] or [_piped(stdin)]
    return Asked(question, pieces[0] if len(pieces) == 1 else pieces)


def _data(word: str, stdin: IO[str] | None) -> Any:
    """What ``word`` names; None where it names nothing."""
    if word == STDIN:
        return _bytes_of(stdin)
    if os.path.lexists(word):
        return Path(word)
    if has_magic(word) and (pattern := Pattern(word)).matches_something():
        return pattern
    return None


def _bytes_of(stdin: IO[str] | None) -> Any:
    if stdin is None:
        raise DataError("standard input is closed: name files or folders")
    return stdin.buffer  # type: ignore[attr-defined]


def _piped(stdin: IO[str] | None) -> Any:
    """Standard input, where something is piped or redirected into it."""
    advice = "name files or folders, or pipe text in"
    try:
        mode = os.fstat(stdin.fileno()).st_mode if stdin is not None else 0
    except (OSError, ValueError):
        mode = 0
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        raise ConfigError(f"no data: {advice}")
    return _bytes_of(stdin)


def has_input(stdin: IO[str] | None) -> bool:
    """Whether text waits in standard input; not seen where whoever pipes it in is slow."""
    waiting = array.array("i", [0])
    try:
        if stdin is None:
            return False
        found = os.fstat(stdin.fileno())
        if stat.S_ISREG(found.st_mode):
            return found.st_size > 0
        if stat.S_ISFIFO(found.st_mode):
            fcntl.ioctl(stdin.fileno(), termios.FIONREAD, waiting)
    except (OSError, ValueError):
        return False
    return waiting[0] > 0


def _question(others: Sequence[str], words: Sequence[str]) -> str:
    """The one argument that is no data. Raises where it is not one, or may be a mistyped path."""
    wrong = [word for word in others if _is_path_like(word)]
    rest = [word for word in others if word not in wrong]
    if any(" " in word.strip() for word in rest):  # beside a sentence, a single word is a path
        wrong += [word for word in rest if " " not in word.strip()]
        rest = [word for word in rest if word not in wrong]
    if wrong:
        raise DataError(_missing(wrong[0]))
    if len(rest) == 1:
        return rest[0]
    if rest:
        listed = ", ".join(repr(shown(word, 40)) for word in rest[:4])
        more = ", …" if len(rest) > 4 else ""
        raise ConfigError(
            f"{len(rest)} arguments are no files ({listed}{more}), and one can be the question: "
            "put it in quotes"
        )
    if words:
        raise ConfigError("no question: all arguments name data; --question takes one that does")
    raise ConfigError('no question: abyme ask "What do you want to know?" FILES…')


def _is_path_like(word: str) -> bool:
    """Whether a word that names nothing was meant to name something."""
    if word.startswith(("./", "../", "/", "~/")) and "?" not in word:
        return True
    if _ASKING.fullmatch(word):
        return False
    if any(letter.isspace() for letter in word):
        near = nearest_path(word)
        return near is not None and near.likeness >= 0.9
    if "/" in word or _ENDING.search(word) or (has_magic(word) and not word.endswith("?")):
        return True
    near = nearest_path(word.rstrip("?"))
    return near is not None and near.likeness >= _ALIKE


def _missing(word: str) -> str:
    """Why ``word`` is no data, and what was probably meant."""
    if re.match(r"https?://", word):
        return f"{shown(word)} is an address, and none is fetched: download it, then name the file"
    if has_magic(word):
        return f"no file matches {shown(word)} (--question takes any text as a question)"
    near = nearest_path(word)
    if near is not None:
        return f"{shown(word)} does not exist: did you mean {shown(near.path)}?"
    return f"{shown(word)} does not exist: check the path (--question takes any text as a question)"
