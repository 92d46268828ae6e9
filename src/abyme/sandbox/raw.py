"""What a process writes to its standard output past Python's streams: the beginning is kept."""

from __future__ import annotations

import asyncio
import os

_KEPT_BYTES = 4_000


class RawOutput:
    """Reads the descriptor ``source``, which is closed at the end, on the event loop.

    All is read, so that a writer never waits; the first bytes are kept.
    """

    def __init__(self, source: int) -> None:
        self._source: int | None = source
        self._kept = bytearray()
        self._loop = asyncio.get_running_loop()
        os.set_blocking(source, False)
        self._loop.add_reader(source, self._read)

    def forget(self) -> None:
        """A new cell begins: what was written before is not its output."""
        self._kept.clear()

    def text(self) -> str:
        """The beginning of what was written since."""
        self._read()
        return self._kept.decode("utf-8", "replace")

    def close(self) -> None:
        """Read what is there and read no more. May be called again."""
        self._read()
        self._end()

    def _read(self) -> None:
        if self._source is None:
            return
        try:
            data = os.read(self._source, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
        self._kept += data[: max(0, _KEPT_BYTES - len(self._kept))]

    def _end(self) -> None:
        if self._source is not None:
            self._loop.remove_reader(self._source)
            os.close(self._source)
            self._source = None
