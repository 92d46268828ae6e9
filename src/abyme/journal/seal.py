"""By what a journal is known for this user's own, wherever it lies: seals beside it.

A seal is a keyed hash of a line's number and of the line's hash, which by the chain stands for all
lines before. The key is made once for each user and never leaves their folder for state, so
nobody else can make one: neither for a journal of their own, nor for one that they changed. Beside
a line of :data:`SEALED` there is always a seal, written before the line is. Lines after the last
seal may be anybody's. Where there can be no key there are no seals, and nothing depends on them.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from abyme.errors import JournalError
from abyme.events import (
    DataLoaded,
    DocumentLoaded,
    Event,
    QuestionAsked,
    RunForked,
    RunResumed,
    RunStarted,
)
from abyme.journal.files import open_regular, private
from abyme.journal.format import JOURNAL, SEAL, line_hash
from abyme.journal.reader import Record, lines_of

SEALED = (DataLoaded, RunResumed, RunForked, QuestionAsked)
"""What says on which terms a run goes on, and all that its data is."""
_TERMS = (RunStarted, RunResumed, RunForked, QuestionAsked)
_HEAD = b"\0abyme key 1\0"
"""Of the key's file: what begins so is taken for no text by anybody who reads a folder."""
_KEY = 32
_MAC = 32
_MOST = 1024 * 1024
"""Bytes of seals that are read."""


def put_seal(folder: Path, sequence: int, digest: str) -> None:
    """Seal the journal in ``folder`` up to its line ``sequence``, whose hash is ``digest``.

    Where that cannot be done it is not sealed.
    """
    with contextlib.suppress(OSError):
        key = _key(make=True)
        if key is None:
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        file = private(str(folder / SEAL), flags)
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                os.write(file, f"{sequence} {_mac(key, sequence, digest)}\n".encode())
        finally:
            os.close(file)


def is_sealed(folder: Path, records: Sequence[Record]) -> bool:
    """Whether this user's Abyme wrote what the journal in ``folder`` decides.

    That is: on which terms the run goes on, and which files are its data. ``records``: all of it,
    or its beginning, as :func:`~abyme.journal.reader.read` gave them. A folder into which others
    can write is nobody's own.
    """
    deciding = [record.seq for record in records if _decides(record.event)]
    try:
        return bool(deciding) and _is_private(folder) and _sealed_until(folder) >= deciding[-1]
    except (OSError, JournalError):
        return False


def has_seal(folder: Path) -> bool:
    """Whether there are seals at all, good or not."""
    return (folder / SEAL).is_file()


def _decides(event: Event) -> bool:
    return isinstance(event, _TERMS) or (isinstance(event, DocumentLoaded) and not event.owned)


def _sealed_until(folder: Path) -> int:
    """The number of the last line of which there is a seal; -1 where there is none."""
    key = _key(make=False)
    if key is None:
        return -1
    with open_regular(folder / SEAL) as file:
        seals = file.read(_MOST).split(b"\n")
    known: dict[bytes, set[bytes]] = {}
    for seal in seals:
        number, _, mac = seal.partition(b" ")
        known.setdefault(number, set()).add(mac)
    last = -1
    for sequence, (line, _) in enumerate(lines_of(folder)):
        if macs := known.get(str(sequence).encode()):
            right = _mac(key, sequence, line_hash(line)).encode()
            if any(hmac.compare_digest(right, mac) for mac in macs):
                last = sequence
    return last


def _mac(key: bytes, sequence: int, digest: str) -> str:
    message = f"abyme journal {sequence} {digest}".encode()
    return hashlib.blake2b(message, digest_size=_MAC, key=key).hexdigest()


def _is_private(folder: Path) -> bool:
    """Whether nobody but this user can write there."""
    found = [os.stat(folder), os.stat(folder / JOURNAL)]
    return all(each.st_uid == os.geteuid() and not each.st_mode & 0o022 for each in found)


# -- the key ---------------------------------------------------------------------------------------


def _key(*, make: bool) -> bytes | None:
    """This user's key; None where there is none and none can be made, or others could know it."""
    folder = _state_folder()
    if folder is None:
        return None
    path = folder / "key"
    with contextlib.suppress(FileNotFoundError):
        return _read_key(path)
    if not make or not _is_theirs(folder):
        return None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = folder / f"key.{secrets.token_hex(8)}.part"
    with open(new, "xb", opener=private) as file:
        file.write(_HEAD + secrets.token_bytes(_KEY))
    try:
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(new, path)
    finally:
        new.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes | None:
    with open_regular(path) as file:
        found = os.fstat(file.fileno())
        content = file.read(len(_HEAD) + _KEY + 1)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        return None
    head, key = content[: len(_HEAD)], content[len(_HEAD) :]
    return key if head == _HEAD and len(key) == _KEY else None


def _state_folder() -> Path | None:
    """Where the user's key lies; None for a user without a home. (platformdirs takes 40 ms.)"""
    named = os.environ.get("XDG_STATE_HOME", "")
    with contextlib.suppress(RuntimeError):
        if Path(named).is_absolute():
            return Path(named) / "abyme"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "abyme"
        return Path.home() / ".local" / "state" / "abyme"
    return None


def _is_theirs(folder: Path) -> bool:
    """Whether what is there of its path is this user's: who is root for a moment, in another
    user's home, leaves nothing there that the other could not read later."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return there.stat().st_uid == os.geteuid()
