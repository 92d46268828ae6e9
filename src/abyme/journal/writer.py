"""Writing a run's journal: every event is on its way to the disk before anything acts on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import Any

import msgspec

from abyme.errors import JournalError
from abyme.events import PASSING, Event
from abyme.journal.blobs import Blobs
from abyme.journal.format import (
    BLOB,
    BLOBS,
    DATA,
    DICT,
    FIRST_PREV,
    INLINE_CHARS,
    JOURNAL,
    encode_line,
    encode_short,
    line_hash,
)
from abyme.threads import in_thread

_SYNC_SECONDS = 0.1


def new_run_id() -> str:
    """A run's id: sortable by time, unlikely to meet another: ``20260131-235959-1a2b3c``."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


class Journal:
    """The journal of one run, in the folder ``runs / run``, which it makes.

    "Appended" means that ``write`` has returned: the event survives the end of the process by
    whatever signal. ``fdatasync`` follows off the critical path, at most 0.1 s behind; what a
    crash of the machine itself loses is that much.
    """

    def __init__(self, runs: Path, run: str) -> None:
        self.run = run
        self.folder = runs / run
        self.data_folder = self.folder / DATA
        self.blobs = Blobs(self.folder)
        self._sequence = 0
        self._previous = FIRST_PREV
        self._sync_timer: asyncio.TimerHandle | None = None
        self._syncing: asyncio.Future[None] | None = None
        self._failure: str = ""
        try:
            runs.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.mkdir(mode=0o700)
            (self.folder / BLOBS).mkdir(mode=0o700)
            self._file = os.open(
                self.folder / JOURNAL,
                os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                0o600,
            )
        except OSError as error:
            raise JournalError(
                f"cannot keep runs in {runs}: {error.strerror}; choose another folder with --runs "
                "or ABYME_RUNS"
            ) from error

    def append(self, event: Event) -> None:
        """Write one event. Raises :class:`JournalError`; after that nothing more is written."""
        if isinstance(event, PASSING):
            return
        if self._failure:
            raise JournalError(self._failure)
        line = self._line(event)
        try:
            self._write(line + b"\n")
        except OSError as error:
            raise self._failed(error) from error
        self._sequence += 1
        self._previous = line_hash(line)
        self._sync_soon()

    @property
    def head(self) -> str:
        """The hash of the last line: whoever keeps it can tell later that nothing was changed."""
        return self._previous

    async def close(self) -> None:
        """Sync and close. Idempotent."""
        if self._file < 0:
            return
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        if self._syncing is not None:
            await self._syncing
        file, self._file = self._file, -1
        try:
            await in_thread(_sync, file)
        finally:
            os.close(file)

    def _line(self, event: Event) -> bytes:
        head = {"seq": self._sequence, "at": round(time.time(), 6), "prev": self._previous}
        body = encode_short(event)
        if body is not None:
            return encode_line(head)[:-1] + b"," + body[1:]
        return encode_line({**head, **self._with_blobs(msgspec.to_builtins(event))})

    def _write(self, line: bytes) -> None:
        # A full disk may take a part of the line: what is torn there, a reader passes over.
        while line:
            line = line[os.write(self._file, line) :]

    def _with_blobs(self, value: Any) -> Any:
        if isinstance(value, str):
            return value if len(value) <= INLINE_CHARS else self._blob(value)
        if isinstance(value, dict):
            body = {key: self._with_blobs(item) for key, item in value.items()}
            return {DICT: body} if BLOB in value or DICT in value else body
        if isinstance(value, list | tuple):
            return [self._with_blobs(item) for item in value]
        return value

    def _blob(self, text: str) -> dict[str, Any]:
        try:
            digest = self.blobs.put(text.encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise self._failed(error) from error
        return {BLOB: digest, "chars": len(text)}

    def _failed(self, error: OSError) -> JournalError:
        self._failure = (
            f"the journal in {self.folder} cannot be written: {error.strerror}; free some space "
            "or choose another disk with --runs or ABYME_RUNS"
        )
        return JournalError(self._failure)

    def _sync_soon(self) -> None:
        if self._sync_timer is None:
            loop = asyncio.get_running_loop()
            self._sync_timer = loop.call_later(_SYNC_SECONDS, self._start_sync)

    def _start_sync(self) -> None:
        self._sync_timer = None
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.ensure_future(in_thread(_sync, self._file))
        else:
            self._sync_soon()


def _sync(file: int) -> None:
    # A disk that cannot sync (some network and test file systems) still has what was written.
    with contextlib.suppress(OSError):
        getattr(os, "fdatasync", os.fsync)(file)
