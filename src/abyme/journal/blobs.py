"""Blobs of a run: bytes that lie in its folder by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from abyme.errors import JournalError
from abyme.journal.files import link, open_regular, private, several, sync_path
from abyme.journal.format import BLOBS, COMPRESSED, blob_path

COMPRESS_FROM = 4_096
"""Bytes, a block of most disks: what takes no more than one cannot take less."""
_LEVEL = 4
"""Of zlib. 6 takes two and a half times as long and saves 5 % more, in source and prose."""
_BLOCK = 1 << 18
_PACKING = threading.Lock()
"""Held while a text is compressed: one at a time in this process, since runs want its cores."""
MOST = 1 << 30
"""Bytes that are unpacked where nobody says how long a text is."""


class Blobs:
    """The blobs of the run in ``folder``, below ``kind``. Any thread may use it.

    Checkpoints lie apart from the journal's texts: they are dropped, and whoever wrote them could
    give one the content of a text.
    """

    def __init__(self, folder: Path, kind: str = BLOBS) -> None:
        self._folder = folder / kind

    def put(self, raw: bytes | bytearray) -> str:
        """Keep ``raw``; its SHA-256. Raises OSError where the disk is full and the like."""
        return self.keep(raw)[0]

    def keep(self, raw: bytes | bytearray) -> tuple[str, bool]:
        """As :meth:`put`; also whether it was not there before."""
        digest = hashlib.sha256(raw).hexdigest()
        path = self._path(digest)
        if path.exists() or path.with_suffix(COMPRESSED).exists():
            return digest, False
        partial = path.with_suffix(f".{threading.get_ident()}.part")
        try:
            try:
                file = open(partial, "wb", opener=private)  # noqa: SIM115
            except FileNotFoundError:
                path.parent.mkdir(exist_ok=True, mode=0o700, parents=True)
                file = open(partial, "wb", opener=private)  # noqa: SIM115
            with file:
                file.write(raw)
            partial.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        return digest, True

    def get(self, digest: str, most: int = MOST) -> bytes:
        """The bytes. Raises :class:`JournalError` where they are missing or were altered.

        No more than ``most`` bytes are ever unpacked.
        """
        path, raw = self._read(digest, most)
        if raw is None or hashlib.sha256(raw).hexdigest() != digest:
            raise JournalError(f"a text of the journal was altered: {path}")
        return raw

    def beginning(self, digest: str, length: int) -> bytes:
        """Its first ``length`` bytes, unchecked; nothing where it is missing or damaged."""
        with contextlib.suppress(OSError):
            path = self._path(digest)
            for _ in range(2):  # it may be compressed meanwhile
                with contextlib.suppress(FileNotFoundError), open_regular(path) as file:
                    return file.read(length)
                with (
                    contextlib.suppress(FileNotFoundError, zlib.error),
                    open_regular(path.with_suffix(COMPRESSED)) as file,
                ):
                    return zlib.decompressobj().decompress(file.read(length + 1_024), length)
        return b""

    def link_from(self, other: Blobs, digest: str) -> None:
        """Have a blob of another run too. Raises :class:`JournalError` where it is missing there.

        Raises :class:`OSError` where the disk is full and the like.
        """
        for name in (digest, digest + COMPRESSED, digest):  # it may be compressed meanwhile
            target = self._folder / blob_path(name)
            target.parent.mkdir(exist_ok=True, mode=0o700, parents=True)
            try:
                link(other._folder / blob_path(name), target)
                return
            except FileNotFoundError:
                continue
            except FileExistsError:
                return
        raise JournalError(f"a text of the journal is missing: {other._path(digest)}")

    def drop(self, digest: str) -> None:
        """Keep it no longer."""
        for path in (self._path(digest), self._path(digest).with_suffix(COMPRESSED)):
            with contextlib.suppress(OSError):
                path.unlink()

    def sweep(self) -> None:
        """Remove what writers that were killed had not finished; for whoever is the only one.

        What another thread still compresses after its journal was left then stays as it is.
        """
        if self._folder.is_symlink():  # whose files would that remove?
            return
        with contextlib.suppress(OSError), os.scandir(self._folder) as below:
            for folder in below:
                if folder.is_dir(follow_symlinks=False):
                    _remove_partial(Path(folder.path))

    def settle(self, digests: Iterable[str], should_stop: Callable[[], bool]) -> None:
        """Bring these to the disk, the longer ones compressed where that makes them smaller.

        From the moment ``should_stop`` says so, nothing more is compressed. Never raises: what
        cannot be compressed stays as it is.
        """
        found = list(digests)
        several(lambda digest: self._settle(digest, should_stop), found)
        folders = {self._path(digest).parent for digest in found}
        several(sync_path, [*folders, self._folder] if folders else [])

    def sync(self, digests: Iterable[str]) -> None:
        """Bring these to the disk as they are."""
        self.settle(digests, lambda: True)

    def _settle(self, digest: str, should_stop: Callable[[], bool]) -> None:
        path = self._path(digest)
        try:
            worth = not should_stop() and path.stat().st_size > COMPRESS_FROM
            if worth and _compress(path, should_stop):
                return
        except OSError:  # a full disk: it is read as it is
            pass
        sync_path(path)

    def _read(self, digest: str, most: int) -> tuple[Path, bytes | None]:
        """Where the blob lies, and its bytes; None where they are damaged or too many."""
        plain = self._path(digest)
        missing: OSError | None = None
        for path in (plain, plain.with_suffix(COMPRESSED), plain):
            try:
                return path, _content(path, most)
            except FileNotFoundError as error:
                missing = missing or error
            except OSError as error:
                missing = error
                break
        said = f"a text of the journal is missing: {path}: {missing.strerror if missing else ''}"
        raise JournalError(said) from missing

    def _path(self, digest: str) -> Path:
        return self._folder / blob_path(digest)


def _remove_partial(folder: Path) -> None:
    for path in folder.iterdir():
        if path.suffix == ".part":
            with contextlib.suppress(OSError):
                path.unlink()


def _compress(path: Path, should_stop: Callable[[], bool]) -> bool:
    """Put the compressed file in the place of the plain one; False where that is not worth it.

    The compressed one is on the disk before the plain one goes: at any moment there is one of them,
    whole, whatever happens to this process or the machine.
    """
    parts = _packed(path, should_stop)
    if parts is None:
        return False
    target = path.with_suffix(COMPRESSED)
    partial = path.with_suffix(f"{COMPRESSED}.part")
    try:
        with open(partial, "wb", opener=private) as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    path.unlink()
    return True


def _packed(path: Path, should_stop: Callable[[], bool]) -> list[bytes] | None:
    """What the file's bytes are compressed; None where that is not worth it."""
    packer = zlib.compressobj(_LEVEL)
    parts: list[bytes] = []
    with _PACKING, open_regular(path) as file:
        while block := file.read(_BLOCK):
            if should_stop():
                return None
            parts.append(packer.compress(block))
        parts.append(packer.flush())
        return parts if sum(map(len, parts)) < file.tell() else None


def content_hash(path: Path) -> str:
    """The SHA-256 of what the file of a blob holds; empty where it is damaged or unreadable."""
    try:
        raw = _content(path, MOST)
    except OSError:
        return ""
    return "" if raw is None else hashlib.sha256(raw).hexdigest()


def _content(path: Path, most: int) -> bytes | None:
    """What a file holds, unpacked; None where it is damaged or more than ``most`` bytes."""
    most = min(most, MOST)  # a line may claim any length
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        raw = b"" if size > most else file.read(most + 1)
    if size > most or len(raw) > most:
        return None
    return _unpacked(raw, most) if path.suffix == COMPRESSED else raw


def _unpacked(packed: bytes, most: int) -> bytes | None:
    """What was compressed; None where that is damaged, unfinished, or more than ``most`` bytes."""
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(packed, most + 1)
    except zlib.error:
        return None
    whole = unpacker.eof and not unpacker.unused_data and len(raw) <= most
    return raw if whole else None
