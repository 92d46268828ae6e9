"""How a run lies on disk, in one place; ``docs/journal.md`` has all of it.

::

    RUN/                      mode 0700, named by the run's id
        journal.jsonl         one event a line, appended, never rewritten; its writer holds a lock
        blobs/ab/abcdef…      long texts, by the SHA-256 of their UTF-8 bytes
        blobs/ab/abcdef….z    the same, compressed (zlib); named by the hash of what it holds
        checkpoints/ab/ab…    bytes that a worker made, by their SHA-256; only a worker reads them
        data/                 copies of text that the caller handed over; files are not copied
        seal                  by what its writer knows it again (:mod:`abyme.journal.seal`)

A line is ``{"seq": n, "at": seconds, "prev": hash, "event": …}``. ``prev`` is the SHA-256 of the
line before (without its newline), 32 hex digits; 32 zeros on the first. ``at`` never goes back. The
first event of a run names the :data:`VERSION` of this format. A string longer than
:data:`INLINE_CHARS` anywhere in an event is ``{"$blob": sha256, "chars": n}`` instead; in a run
without texts (:mod:`abyme.journal.redaction`) one is ``{"$sha256": sha256, "chars": n}``. An object
of the user's that has a key of :data:`MARKS` is wrapped as ``{"$dict": object}``. Lone surrogates
are written as JSON escapes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

_ENCODER = msgspec.json.Encoder()
VERSION = 3
"""Of what is written. Versions from 1 on are read."""
INLINE_CHARS = 2_000
FIRST_PREV = "0" * 32
JOURNAL = "journal.jsonl"
UNNAMED = "journal.jsonl.part"
"""A fork's until its own first line is in it: before that it would be its parent's second."""
BLOBS = "blobs"
CHECKPOINTS = "checkpoints"
DATA = "data"
SEAL = "seal"
COMPRESSED = ".z"
BLOB = "$blob"
DICT = "$dict"
HASHED = "$sha256"
MARKS = frozenset({BLOB, DICT, HASHED})
_DIGEST = re.compile("[0-9a-f]{64}")
_LINE_HASH = re.compile("[0-9a-f]{32}")


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
    if len(getattr(event, "prompt", "")) > INLINE_CHARS:  # no need to encode it to see that
        return None
    try:
        body = _ENCODER.encode(event)
    except UnicodeEncodeError:
        return None
    return body if len(body) <= INLINE_CHARS and b'"$' not in body else None


def blob_path(digest: str) -> str:
    """Where the blob lies, below the blobs folder."""
    return f"{digest[:2]}/{digest}"


def is_digest(value: Any) -> bool:
    """Whether this is a SHA-256 in hex."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def is_line_hash(value: str) -> bool:
    """Whether this is what :func:`line_hash` gives."""
    return _LINE_HASH.fullmatch(value) is not None


def most_bytes(reference: dict[str, Any]) -> int:
    """How many bytes the text of a ``$blob`` may have: four a character.

    Raises :class:`ValueError` where it does not say how many characters there are.
    """
    chars = reference.get("chars")
    if not isinstance(chars, int) or isinstance(chars, bool) or chars < 0:
        raise ValueError("it does not say how long its text is")
    return 4 * chars


def blob_references(value: Any) -> Iterator[dict[str, Any]]:
    """Every ``{"$blob": …}`` in a line as JSON has it, at any depth."""
    if isinstance(value, dict):
        if BLOB in value:
            yield value
            return
        inner = value.get(DICT)
        for item in (inner if isinstance(inner, dict) else value).values():
            yield from blob_references(item)
    elif isinstance(value, list):
        for item in value:
            yield from blob_references(item)
