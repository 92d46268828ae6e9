"""Server-sent events, as far as model endpoints use them: bytes in, payloads out."""

from __future__ import annotations

from abyme.errors import BadReply

MAX_LINE = 1024 * 1024
"""Bytes of one line. No honest endpoint comes near it; without a cap one could fill the memory."""

_FIELDS = (b"data", b"error", b"event", b"id", b"retry", b"")
"""Names that start a line of an event stream; a comment's is empty."""


class EventStream:
    """Cuts a byte stream into the payloads of its events, wherever the chunks were split.

    Lines may end in LF, CRLF or CR; comments (keep-alives) and other fields are skipped; the space
    after ``data:`` is optional; several ``data:`` lines of one event are joined by LF. Payloads
    stay bytes, so that a character split between two chunks is whole again before it is decoded.
    A field named ``error``, as older llama.cpp servers send it, counts as ``{"error": …}``.
    """

    def __init__(self) -> None:
        self.seen = False
        """Whether a field or comment of an event stream has come: if not, it was none."""
        self._tail = bytearray()
        self._data: list[bytes] = []
        self._first = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads that ``chunk`` completes. Raises BadReply for an endless line."""
        if b"\n" not in chunk and b"\r" not in chunk and not self._tail.endswith(b"\r"):
            self._tail += chunk  # in place: a long line must not be copied with each of its chunks
            self._check_tail()
            return []
        lines = bytes(self._tail + chunk).splitlines(keepends=True)
        self._tail = bytearray()
        # A bare CR at the end may be half of a CRLF: it waits for the next chunk, too.
        if lines and not lines[-1].endswith(b"\n"):
            self._tail = bytearray(lines.pop())
            self._check_tail()
        return self._events(lines)

    def _check_tail(self) -> None:
        if len(self._tail) > MAX_LINE:
            raise BadReply(f"the endpoint streamed a line of more than {MAX_LINE:,} bytes")

    def finish(self) -> list[bytes]:
        """The payload of a last event that the end of the stream cut short of its blank line."""
        lines, self._tail = [bytes(self._tail), b"\n"], bytearray()
        return self._events(lines)

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events = []
        for raw in lines:
            line = raw.rstrip(b"\r\n")
            if self._first:
                line = line.removeprefix(b"\xef\xbb\xbf")
                self._first = False
            if line:
                self._field(line)
            elif self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        self.seen = self.seen or name in _FIELDS
        if name == b"data":
            self._data.append(value)
        elif name == b"error":
            self._data.append(b'{"error":%s}' % value)
