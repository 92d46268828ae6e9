"""How a run lies on disk, in one place.

::

    RUN/                      mode 0700, named by the run's id
        journal.jsonl         one event a line, appended, never rewritten
        blobs/ab/abcdef…      long texts, by the SHA-256 of their UTF-8 bytes
        checkpoints/ab/ab…    bytes that a worker made, by their SHA-256; only a worker reads them
        data/                 copies of text that the caller handed over; files are not copied

A line is ``{"seq": n, "at": seconds, "prev": hash, "event": …}``. ``prev`` is the SHA-256 of the
line before (without its newline), 32 hex digits; 32 zeros on the first. The first event of a run
names the :data:`VERSION` of this format. A string longer than
:data:`INLINE_CHARS` anywhere in an event is ``{"$blob": sha256, "chars": n}`` instead; an object of
the user's that has the key ``$blob`` or ``$dict`` is wrapped as ``{"$dict": object}``. Lone
surrogates are written as JSON escapes.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()
VERSION = 1
INLINE_CHARS = 2_000
FIRST_PREV = "0" * 32
JOURNAL = "journal.jsonl"
BLOBS = "blobs"
CHECKPOINTS = "checkpoints"
DATA = "data"
BLOB = "$blob"
DICT = "$dict"


def line_hash(line: bytes) -> str:
    """The hash by which the next line names this one."""
    return hashlib.sha256(line).hexdigest()[:32]


def encode_line(record: dict[str, Any]) -> bytes:
    """One journal line without its newline, in UTF-8.

    With a lone surrogate in it, the standard library's encoder, which writes it as an escape.
    """
    try:
        return _ENCODER.encode(record)
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":")).encode("ascii")


def encode_short(event: Any) -> bytes | None:
    """An event as JSON, where none of its texts can need a blob or an escape; else None.

    Nearly all events, and several times as fast as walking through their values.
    """
    try:
        body = _ENCODER.encode(event)
    except UnicodeEncodeError:
        return None
    return body if len(body) <= INLINE_CHARS and b'"$' not in body else None


def blob_path(digest: str) -> str:
    """Where the blob lies, below the blobs folder."""
    return f"{digest[:2]}/{digest}"
