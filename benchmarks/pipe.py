"""A server in a process of its own, and this end of its pipe.

A process, so that it shares no interpreter lock with what is measured. It says its port in a line;
then orders come as lines on its stdin, each is answered by a line, and the end of stdin ends it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self


class Piped:
    """Starts the script ``file`` on entering and ends it on leaving. Orders and answers are JSON.

    Raises :class:`RuntimeError` where it has ended by itself.
    """

    def __init__(self, file: str) -> None:
        self._file = file

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, self._file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.port: int = self._read()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def order(self, order: Any) -> Any:
        """What the server answers to it."""
        assert self._process.stdin is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._file} has ended")
        return json.loads(line)
