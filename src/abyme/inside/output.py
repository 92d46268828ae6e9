"""What a cell prints: kept head and tail, counted in full, shown to the host as it comes."""

from __future__ import annotations

import io
import math
import threading
import time
from collections import deque
from collections.abc import Callable

from .shorten import gap_note

_STREAM_SECONDS = 0.1
_STREAM_CHARS = 4096
_SETTLE_SIZE = 8192
"""Characters that are put aside at most, each piece counted as one more: some are empty."""
_NOTE_CHARS = 100
"""Room for the line that says what is left out."""


class Output:
    """The text printed since :meth:`start`: a head, a tail and the true length.

    However much is printed, no more than about twice ``limit`` characters are kept, and
    :attr:`text` has at most ``limit``.
    ``stream``, where somebody wants it, is called with pieces of the head while the cell runs, a
    few times a second.
    """

    def __init__(self, limit: int, stream: Callable[[str], None] | None) -> None:
        self._head_limit = (limit - _NOTE_CHARS) * 3 // 5
        self._tail_limit = limit - _NOTE_CHARS - self._head_limit
        self._stream = stream
        self._lock = threading.RLock()
        self.start()

    def start(self) -> None:
        """Forget everything; a new cell begins."""
        self._head: list[str] = []
        self._head_chars = 0
        self._tail: deque[str] = deque()
        self._tail_chars = 0
        self._unsent: list[str] = []
        self._unsent_chars = 0
        self._due = math.inf if self._stream is None or self._head_limit <= 0 else 0.0
        self._written: list[str] = []
        self._written_size = 0
        self._characters = 0

    def add(self, text: str) -> None:
        """Take what was printed. Safe from any thread."""
        # A print is many small writes: they are only put aside here, without a lock (appending to
        # a list is atomic; a lost update of the size merely puts off the next settling).
        self._written.append(text)
        self._written_size = size = self._written_size + len(text) + 1
        if size >= _SETTLE_SIZE or (self._due < math.inf and time.monotonic() >= self._due):
            self._settle()

    def _settle(self) -> None:
        """Sort what was put aside into head and tail."""
        with self._lock:
            self._written_size = 0
            pieces = self._written[:]
            del self._written[: len(pieces)]  # what another thread has added meanwhile stays
            text = "".join(pieces)
            self._characters += len(text)
            room = self._head_limit - self._head_chars
            if room > 0 and text:
                piece = text[:room]
                self._head.append(piece)
                self._head_chars += len(piece)
                if self._stream is not None:
                    self._pass_on(piece, self._stream)
                if len(piece) == room:
                    self._due = math.inf  # of the tail nothing is shown while it comes
            else:
                piece = ""
            if rest := text[max(len(piece), len(text) - 2 * self._tail_limit) :]:
                self._keep_tail(rest)

    def _pass_on(self, piece: str, stream: Callable[[str], None]) -> None:
        self._unsent.append(piece)
        self._unsent_chars += len(piece)
        now = time.monotonic()
        if self._unsent_chars >= _STREAM_CHARS or now >= self._due:
            self._due = now + _STREAM_SECONDS
            text = "".join(self._unsent)
            self._unsent.clear()
            self._unsent_chars = 0
            stream(text)

    def _keep_tail(self, text: str) -> None:
        self._tail.append(text)
        self._tail_chars += len(text)
        # Dropping whole pieces keeps this cheap; the exact cut is made once, in `text`.
        while self._tail_chars - len(self._tail[0]) >= self._tail_limit:
            self._tail_chars -= len(self._tail.popleft())
        if len(self._tail) > 1024:
            joined = "".join(self._tail)
            self._tail = deque([joined])

    @property
    def characters(self) -> int:
        """The true length of what was printed."""
        self._settle()
        return self._characters

    def text(self) -> str:
        """Head, a note of what is left out where anything is, and tail."""
        self._settle()
        with self._lock:
            head, tail = "".join(self._head), "".join(self._tail)
            left_out = self._characters - len(head) - min(len(tail), self._tail_limit)
            if left_out <= 0:
                return head + tail
            note = gap_note(self._characters, left_out)
            return f"{head}\n{note}\n{tail[-self._tail_limit :]}"


class Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of the worker."""

    encoding = "utf-8"

    def __init__(self, output: Output, descriptor: int) -> None:
        self._output = output
        self._descriptor = descriptor

    def write(self, text: str, /) -> int:
        """Print ``text``; raises ``TypeError`` for anything but a ``str``, as files do."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        # str() makes an exact str of a subclass, whose slicing could lie about lengths.
        self._output.add(str(text) if type(text) is not str else text)
        return len(text)

    def writable(self) -> bool:
        """Always: it is an output stream."""
        return True

    def fileno(self) -> int:
        """The real descriptor; what is written there is shown too, after the printed text."""
        return self._descriptor

    def close(self) -> None:
        """Ignored: closing the stream would silence every later cell."""
