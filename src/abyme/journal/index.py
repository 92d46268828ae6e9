"""A cache of what the runs in a folder were: ``RUNS/index.sqlite``.

Nothing depends on it: whatever is wrong with it, runs are read from their folders, and it is made
anew. It is read whole into memory and replaced whole by a rename. So there are no locks, no
journal of SQLite's own beside it, and no reader that sees half of it; of two processes that write
it at once the later wins, and what the other had read is read again.

The file is an SQLite database and a hash behind it, which holds only for this version of Abyme.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from abyme.journal.files import open_regular
from abyme.journal.format import VERSION
from abyme.journal.summary import RunSummary, time_of
from abyme.journal.wanted import Wanted, models_text, plain, searched_text
from abyme.version import __version__

INDEX = "index.sqlite"
_NEW = f".{INDEX}.new"
_ABANDONED_SECONDS = 60.0
_MOST = 256 * 1024 * 1024
"""Bytes of an index that are read into memory."""
_HASH = 16
_KEY = f"1 {__version__} {VERSION}".encode()[:64]
_MAGIC = b"SQLite format 3\0"
_APPLICATION = 0x6162796D
"""Written into the header of the database: by it an index is known from somebody's own file."""
_TABLE = (
    "CREATE TABLE runs (name TEXT PRIMARY KEY, stamp TEXT NOT NULL, bytes INTEGER, "
    "status TEXT NOT NULL, started REAL NOT NULL, models BLOB NOT NULL, words BLOB NOT NULL, "
    "summary BLOB NOT NULL)"
)
_SUMMARY = msgspec.json.Decoder(RunSummary)


class Known(NamedTuple):
    """What the index has of a run: for which state of its journal, its size on the disk in bytes
    (None where it was not measured), and whether it may be one that is asked for."""

    stamp: str
    bytes: int | None
    may_match: bool


class Index:
    """Rows in memory, a run each. Raises :class:`sqlite3.Error` where SQLite cannot be used."""

    def __init__(self, image: bytes = b"") -> None:
        self._rows = sqlite3.connect(":memory:", isolation_level=None)
        if image:
            self._rows.deserialize(image)
            self._rows.execute("PRAGMA trusted_schema = OFF")
            schema = self._rows.execute("SELECT sql FROM sqlite_master").fetchall()
            if schema != [(_TABLE,), (None,)]:  # the second is the index of its primary key
                raise sqlite3.DatabaseError("it has another table")
        else:
            self._rows.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._rows.execute(_TABLE)

    def known(self, wanted: Wanted) -> dict[str, Known]:
        """All runs by name. Who may match is at least whoever does."""
        where, values = _condition(wanted)
        rows = self._rows.execute(f"SELECT name, stamp, bytes, {where} FROM runs", values)
        return {
            name: Known(stamp, size if isinstance(size, int) else None, bool(may))
            for name, stamp, size, may in rows
        }

    def summary(self, folder: Path) -> RunSummary | None:
        """What the run in ``folder`` was, which is known; None where its row cannot be read."""
        query = "SELECT summary FROM runs WHERE name = ?"
        for (raw,) in self._rows.execute(query, (folder.name,)):
            with contextlib.suppress(msgspec.MsgspecError):
                found = _SUMMARY.decode(raw)
                return msgspec.structs.replace(found, run=folder.name, folder=str(folder))
        return None

    def put(self, stamp: str, summary: RunSummary) -> None:
        """Keep a run. One whose texts cannot be UTF-8 is not kept."""
        with contextlib.suppress(UnicodeEncodeError):
            row = (
                summary.run,
                stamp,
                None,
                summary.status,
                time_of(summary),
                models_text(summary).encode(),
                searched_text(summary).encode(),
                msgspec.json.encode(summary),
            )
            summary.run.encode()
            self._rows.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def measured(self, name: str, size: int) -> bool:
        """Keep what a run's folder takes on the disk, in bytes; whether the run is known."""
        with contextlib.suppress(UnicodeEncodeError):
            query = "UPDATE runs SET bytes = ? WHERE name = ?"
            return self._rows.execute(query, (size, name)).rowcount > 0
        return False

    def drop(self, names: Iterable[str]) -> None:
        """Forget runs."""
        self._rows.executemany("DELETE FROM runs WHERE name = ?", ((name,) for name in names))

    def image(self) -> bytes:
        """The database as it would lie in a file."""
        return self._rows.serialize()

    def close(self) -> None:
        """Give its memory back."""
        self._rows.close()


def load(runs: Path) -> Index | None:
    """The index of ``runs``: an empty one where the file is missing, damaged or of another version.

    None where there shall be none: in another user's folder, where the name belongs to something
    else (a link, a pipe, a folder, somebody's own database), and without SQLite.
    """
    try:
        if os.stat(runs).st_uid != os.geteuid():
            return None
        if not stat.S_ISREG(os.lstat(runs / INDEX).st_mode):
            return None
        with open_regular(runs / INDEX) as file:
            whole = file.read(_MOST)
    except FileNotFoundError:
        whole = b""
    except OSError:
        return None
    image, digest = whole[:-_HASH], whole[-_HASH:]
    if digest != _hash(image):
        is_database = image.startswith(_MAGIC) and len(image) >= 100
        if is_database and image[68:72] != _APPLICATION.to_bytes(4):
            return None
        image = b""
    for content in (image, b""):
        with contextlib.suppress(sqlite3.Error, AttributeError, LookupError):
            return Index(content)
    return None


def save(runs: Path, index: Index) -> None:
    """Write the index beside the runs. Where that cannot be done there is none, or the one before.

    It is not brought to the disk: what a crash of the machine leaves of it, its hash tells.
    """
    new = runs / _NEW
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(new, flags, 0o600)
    except FileExistsError:  # another process is writing it, or was killed doing so
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(new).st_mtime > _ABANDONED_SECONDS:
                new.unlink()
        return
    except OSError:
        return
    try:
        with os.fdopen(file, "wb") as target:
            image = index.image()
            target.write(image)
            target.write(_hash(image))
        new.replace(runs / INDEX)
    except (OSError, sqlite3.Error):
        with contextlib.suppress(OSError):
            new.unlink()


def _hash(image: bytes) -> bytes:
    return hashlib.blake2b(image, digest_size=_HASH, key=_KEY).digest()


def _condition(wanted: Wanted) -> tuple[str, list[object]]:
    """An SQL expression that is true at least of each row that ``wanted`` matches; its values."""
    parts: list[str] = ["started >= ?"]
    values: list[object] = [wanted.since]
    if wanted.statuses:
        # Who is going is not known to the index: it was unfinished when it was read.
        stored = {"unfinished" if status == "going" else status for status in wanted.statuses}
        parts.append(f"status IN ({', '.join('?' * len(stored))})")
        values += sorted(stored)
    for column, text in [("models", wanted.model), *(("words", word) for word in wanted.words)]:
        # As bytes: SQLite would fold the case of ASCII alone, and end a text at a NUL.
        parts.append(f"instr({column}, ?) > 0")
        values.append(plain(text).encode("utf-8", "surrogatepass"))
    return " AND ".join(parts), values
