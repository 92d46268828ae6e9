"""Writing to the user's terminal, file or pipe: nothing that data says can act there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TextIO

from abyme.display import printable

_SURROGATE = re.compile("[\ud800-\udfff]")
_DRAWN = "·└⠋✓"


class OutputError(Exception):
    """Stdout is closed or full. What was to be printed is in the run's journal."""


def say(line: str) -> None:
    """One line on stderr; control characters of file names and errors cannot act there.

    Never raises: a stderr that is closed or full must not cost the answer.
    """
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(printable(line.replace("\n", " ")) + "\n")
        sys.stderr.flush()
    except (BlockingIOError, ValueError):
        pass
    except OSError:  # what it holds would be tried again at exit, and make that fail
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as we live


def put(text: str) -> None:
    """Text on stdout as UTF-8; a lone surrogate, which no UTF-8 and no JSON can hold, as U+FFFD.

    Raises :class:`BrokenPipeError` where the reader has left, :class:`OutputError` where stdout
    cannot be written otherwise.
    """
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raw = _SURROGATE.sub("\ufffd", text).encode()
    try:
        sys.stdout.buffer.write(raw if raw.endswith(b"\n") else raw + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to stdout: {error.strerror}") from error
    except AttributeError:
        raise OutputError("cannot write to stdout: it is closed") from None


def put_data(text: str) -> None:
    """:func:`put` for text that a model or a document wrote.

    On a terminal nothing in it may act; into a file or a pipe it goes exactly as it is.
    """
    put(printable(text) if is_terminal(sys.stdout) else text)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody is looking at ``stream``."""
    with contextlib.suppress(ValueError):  # closed
        return stream is not None and stream.isatty()
    return False


def is_lively(stream: TextIO | None) -> bool:
    """Whether ``stream`` is a terminal on which lines, in any letters, can be drawn again."""
    if stream is None or not is_terminal(stream):
        return False
    try:
        _DRAWN.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):  # as escapes they would be wider than measured
        return False
    return os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def width() -> int | None:
    """The columns of the terminal that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
