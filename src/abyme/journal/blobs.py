"""Blobs of a run: bytes that lie in its folder by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path

from abyme.errors import JournalError
from abyme.journal.format import BLOBS, blob_path
from abyme.journal.summary import open_regular


class Blobs:
    """The blobs of the run in ``folder``, below ``kind``. Any thread may use it.

    Checkpoints lie apart from the journal's texts: they are dropped, and whoever wrote them could
    give one the content of a text.
    """

    def __init__(self, folder: Path, kind: str = BLOBS) -> None:
        self._folder = folder / kind

    def put(self, raw: bytes | bytearray) -> str:
        """Keep ``raw``; its SHA-256. Raises OSError where the disk is full and the like."""
        digest = hashlib.sha256(raw).hexdigest()
        path = self._folder / blob_path(digest)
        if not path.exists():
            path.parent.mkdir(exist_ok=True, mode=0o700, parents=True)
            partial = path.with_suffix(f".{threading.get_ident()}.part")
            try:
                with open(partial, "wb", opener=_private) as file:
                    file.write(raw)
                partial.replace(path)
            except OSError:
                with contextlib.suppress(OSError):
                    partial.unlink()
                raise
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes. Raises :class:`JournalError` where they are missing or were altered."""
        path = self._folder / blob_path(digest)
        try:
            with open_regular(path) as file:
                raw = file.read()
        except OSError as error:
            said = f"a text of the journal is missing: {path}: {error.strerror}"
            raise JournalError(said) from error
        if hashlib.sha256(raw).hexdigest() != digest:
            raise JournalError(f"a text of the journal was altered: {path}")
        return raw

    def drop(self, digest: str) -> None:
        """Keep it no longer."""
        with contextlib.suppress(OSError):
            (self._folder / blob_path(digest)).unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
