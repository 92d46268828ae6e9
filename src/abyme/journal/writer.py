"""Writing a run's journal: every event is on its way to the disk before anything acts on it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec

from abyme.errors import JournalError
from abyme.events import PASSING, Event
from abyme.journal.blobs import COMPRESS_FROM, Blobs
from abyme.journal.files import descriptor_of, lock, release, several, sync, sync_path, unlock
from abyme.journal.format import (
    BLOB,
    BLOBS,
    CHECKPOINTS,
    DATA,
    DICT,
    FIRST_PREV,
    INLINE_CHARS,
    JOURNAL,
    MARKS,
    UNNAMED,
    encode_line,
    encode_short,
    line_hash,
)
from abyme.journal.redaction import redacted
from abyme.journal.reopening import Tail, copy_lines, is_without_texts, mend
from abyme.journal.seal import SEALED, put_seal
from abyme.threads import in_thread

_SYNC_SECONDS = 0.1
_AT_CLOSE = 256 * 1024
"""Bytes of texts that are still compressed when the journal is closed: tens of milliseconds."""


_behind: set[asyncio.Task[None]] = set()
"""Journals that are closed, and on their way to the disk."""


def new_run_id() -> str:
    """A run's id: sortable by time, unlikely to meet another: ``20260131-235959-1a2b3c``."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


class Journal:
    """The journal of one run, in the folder ``runs / run``, which it makes.

    "Appended" means that ``write`` has returned: the event survives the end of the process by
    whatever signal. ``fdatasync`` follows off the critical path, begun at most 0.1 s behind; what a
    crash of the machine itself loses is that much. With ``durable``, ``append`` waits for it. With
    ``redact``, hashes stand in the place of texts. One process at a time writes to a journal;
    whoever wants to read it may.
    """

    def __init__(
        self, runs: Path, run: str, *, redact: bool = False, durable: bool = False
    ) -> None:
        folder = runs / run
        try:
            _make_folder(folder)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            file = os.open(folder / JOURNAL, flags, 0o600)
        except OSError as error:
            raise _cannot_keep(runs, error) from error
        self._begin(folder, file, Tail(0, FIRST_PREV, 0.0), redact=redact, durable=durable)

    @classmethod
    def reopen(cls, folder: Path, *, durable: bool = False) -> Journal:
        """Go on with the journal in ``folder``, of this format's version or an earlier one.

        What was torn behind its last line is cut off (``torn_bytes``), and unfinished files that a
        killed writer left are removed. The chain is checked in its
        last two lines only: read it whole *after* this. Raises :class:`JournalError` where there is
        none, where it cannot be written, and where somebody has it already.
        """
        path = folder / JOURNAL
        try:
            file = descriptor_of(path, os.O_RDWR | os.O_APPEND)
            try:
                _hold(file, folder)
                tail, redact = mend(file, path), is_without_texts(path)
            except BaseException:
                os.close(file)
                raise
        except OSError as error:
            said = f"the journal in {folder} cannot be written: {error.strerror}"
            raise JournalError(said) from error
        journal = cls.__new__(cls)
        journal._begin(folder, file, tail, redact=redact, durable=durable)
        for kind in (BLOBS, CHECKPOINTS):
            Blobs(folder, kind).sweep()
        return journal

    @classmethod
    def fork(
        cls, parent: Path, runs: Path, run: str, lines: int, *, durable: bool = False
    ) -> Journal:
        """A new run's journal that begins with the first ``lines`` lines of ``parent``'s folder.

        The texts that these name and the parent's data are in the new folder too, on the same disk
        without taking room. May take long where they have to be copied. Raises
        :class:`JournalError`, and then leaves nothing behind.
        """
        folder = runs / run
        try:
            _make_folder(folder)
        except OSError as error:
            raise _cannot_keep(runs, error) from error
        try:
            tail = copy_lines(parent, folder, lines)
            file = descriptor_of(folder / UNNAMED, os.O_RDWR | os.O_APPEND)
            redact = is_without_texts(folder / UNNAMED)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                said = f"cannot fork {parent.name} into {folder}: {error.strerror}"
                raise JournalError(said) from error
            raise
        journal = cls.__new__(cls)
        journal._begin(folder, file, tail, redact=redact, durable=durable)
        journal._unnamed = True
        return journal

    def _begin(self, folder: Path, file: int, tail: Tail, *, redact: bool, durable: bool) -> None:
        self.run = folder.name
        self.folder = folder
        self.data_folder = folder / DATA
        self.blobs = Blobs(folder)
        self.torn_bytes = tail.torn_bytes
        self._file = file
        self._sequence = tail.sequence
        self._previous = tail.previous
        self._at = tail.at
        self._redact = redact
        self._durable = durable
        self._sync_timer: asyncio.TimerHandle | None = None
        self._syncing: asyncio.Future[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._failure = ""
        self._unnamed = False
        self._closing = False
        self._new: dict[str, int] = {}
        """Texts that are not on the disk for certain yet, and their bytes."""
        self._packing = 0
        """Bytes of those that are on their way now."""
        self._folders: list[Path] = [folder, folder.parent]
        """Folders whose names are not."""
        lock(file)  # of a new folder: it is free

    def append(self, event: Event) -> None:
        """Write one event. Raises :class:`JournalError`; after that nothing more is written."""
        if isinstance(event, PASSING):
            return
        if self._failure:
            raise JournalError(self._failure)
        line = self._line(event)
        digest = line_hash(line)
        if isinstance(event, SEALED):
            self._seal(self._sequence, digest)
        try:
            self._write(line + b"\n")
            if self._unnamed:
                (self.folder / UNNAMED).rename(self.folder / JOURNAL)
                self._unnamed = False
            if self._durable:
                self._wait()
        except OSError as error:
            raise self._failed(error) from error
        self._sequence += 1
        self._previous = digest
        if not self._durable or self._new:
            self._sync_soon()

    @property
    def head(self) -> str:
        """The hash of the last line: whoever keeps it can tell later that nothing was changed."""
        return self._previous

    def seal(self) -> None:
        """Say that all lines so far are this user's: what else it is that they decide."""
        self._seal(self._sequence - 1, self._previous)

    def abandon(self) -> None:
        """Let go of a journal to which nothing was appended."""
        file, self._file = self._file, -1
        release(file)

    async def close(self) -> None:
        """Write no more, and wait until all is on the disk. Idempotent."""
        self.leave()
        if self._settling is not None:
            await asyncio.shield(self._settling)

    def leave(self) -> None:
        """Write no more; others may. What is not on the disk yet follows by itself."""
        if self._file < 0:
            return
        self._closing = self._packing + sum(self._new.values()) > _AT_CLOSE
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        file, self._file = self._file, -1
        unlock(file)
        self._settling = asyncio.create_task(self._finish(file))
        _behind.add(self._settling)
        self._settling.add_done_callback(_behind.discard)

    async def _finish(self, file: int) -> None:
        try:
            if self._syncing is not None:
                await self._syncing
            await self._bring_to_disk(file)
        finally:
            os.close(file)

    def _line(self, event: Event) -> bytes:
        self._at = max(self._at, round(time.time(), 6))
        head = {"seq": self._sequence, "at": self._at, "prev": self._previous}
        if self._redact:
            return encode_line({**head, **redacted(event)})
        body = encode_short(event)
        if body is not None:
            return encode_line(head)[:-1] + b"," + body[1:]
        return encode_line({**head, **self._with_blobs(msgspec.to_builtins(event))})

    def _seal(self, sequence: int, digest: str) -> None:
        if not self._redact:  # such a run is not gone on with
            put_seal(self.folder, sequence, digest)

    def _write(self, line: bytes) -> None:
        # A full disk may take a part of the line: what is torn there, a reader passes over.
        while line:
            line = line[os.write(self._file, line) :]

    def _with_blobs(self, value: Any) -> Any:
        if isinstance(value, str):
            return value if len(value) <= INLINE_CHARS else self._blob(value)
        if isinstance(value, dict):
            body = {key: self._with_blobs(item) for key, item in value.items()}
            return body if MARKS.isdisjoint(value) else {DICT: body}
        if isinstance(value, list | tuple):
            return [self._with_blobs(item) for item in value]
        return value

    def _blob(self, text: str) -> dict[str, Any]:
        raw = text.encode("utf-8", "surrogatepass")
        try:
            digest, new = self.blobs.keep(raw)
        except OSError as error:
            raise self._failed(error) from error
        if new:
            self._new[digest] = len(raw)
        return {BLOB: digest, "chars": len(text)}

    def _failed(self, error: OSError) -> JournalError:
        self._failure = (
            f"the journal in {self.folder} cannot be written: {error.strerror}; free some space "
            "or choose another disk with --runs or ABYME_RUNS"
        )
        return JournalError(self._failure)

    # -- the way to the disk -------------------------------------------------------------------

    def _sync_soon(self) -> None:
        if self._sync_timer is None:
            loop = asyncio.get_running_loop()
            self._sync_timer = loop.call_later(_SYNC_SECONDS, self._start_sync)

    def _start_sync(self) -> None:
        self._sync_timer = None
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.ensure_future(self._bring_to_disk(self._file))
        else:
            self._sync_soon()

    def _wait(self) -> None:
        """Bring all that was appended to the disk now; what is to be compressed is so later."""
        folders, self._folders = self._folders, []
        self.blobs.sync(self._new)
        self._new = {digest: size for digest, size in self._new.items() if size > COMPRESS_FROM}
        several(sync_path, folders)
        sync(self._file)

    async def _bring_to_disk(self, file: int) -> None:
        """Texts first, so that no line on the disk names one that is not there."""
        new, self._new = self._new, {}
        folders, self._folders = self._folders, []
        self._packing = sum(new.values())

        def work() -> None:
            self.blobs.settle(new, lambda: self._closing)
            several(sync_path, folders)
            with contextlib.suppress(OSError):  # it is written: the kernel tries again
                sync(file)

        await in_thread(work)
        self._packing = 0


def on_their_way() -> set[asyncio.Task[None]]:
    """What brings journals that were left to the disk, in the running loop."""
    loop = asyncio.get_running_loop()
    return {task for task in _behind if task.get_loop() is loop}


def _make_folder(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(mode=0o700)
    (folder / BLOBS).mkdir(mode=0o700)


def still_going(folder: Path) -> JournalError:
    """What whoever would go on with the run in ``folder`` is told while somebody writes to it."""
    return JournalError(
        f"the run {folder.name} is still going, here or in another process: wait for its end"
    )


def _hold(file: int, folder: Path) -> None:
    """Be the journal's only writer. Raises :class:`JournalError` where somebody else is."""
    if not lock(file):
        raise still_going(folder)
    try:
        found, here = os.stat(folder / JOURNAL), os.fstat(file)
    except FileNotFoundError:
        found, here = None, None
    if found is None or here is None or not os.path.samestat(found, here):
        raise JournalError(f"the run {folder.name} was removed meanwhile")


def _cannot_keep(runs: Path, error: OSError) -> JournalError:
    why = error.strerror
    if error.errno == errno.EEXIST:
        why = f"{why}: {error.filename}"
    return JournalError(
        f"cannot keep runs in {runs}: {why}; choose another folder with --runs or ABYME_RUNS"
    )
