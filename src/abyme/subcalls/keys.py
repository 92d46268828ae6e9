"""The identity of a call: what lets a recorded answer be found again when its cell is re-run."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

_LONG = 1_000
_encode = msgspec.json.Encoder().encode
_write = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

Request = tuple[str, dict[str, Any]]
"""The name of a call and its arguments: what it is known by."""
Written = dict[int, bytes]
"""Long texts as they are hashed, by their ``id``: for as long as somebody holds the texts."""


class Keys:
    """Gives each call of a node its key: ``node/cell/request hash/k``.

    The hash is over the canonical request, and ``k`` counts equal requests of one cell. So a key
    does not depend on the order in which threads make their different calls; and which of several
    *equal* calls gets which ``k`` does not matter, since they are equal.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._seen: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def start_cell(self, cell: int) -> None:
        """The cell begins, perhaps again: its occurrences count from 0."""
        self._seen.pop(cell, None)

    def each(self, cell: int, digests: Iterable[str]) -> list[str]:
        """The keys of the calls that ``cell`` makes now, in order; see :func:`request_hash`."""
        seen = self._seen[cell]
        keys = []
        for digest in digests:
            occurrence = seen[digest]
            seen[digest] += 1
            keys.append(f"{self._node}/{cell}/{digest}/{occurrence}")
        return keys

    def take_back(self, cell: int, keys: Iterable[str]) -> None:
        """Nothing comes of the calls that were given these: no trace of them is kept."""
        seen = self._seen[cell]
        for key in keys:
            digest = key.split("/")[2]
            seen[digest] -= 1
            if not seen[digest]:
                del seen[digest]

    def only(self, cell: int, name: str, arguments: dict[str, Any]) -> str:
        """The key of a call of which ``cell`` makes no second one: an item of a job."""
        return f"{self._node}/{cell}/{request_hash(name, arguments)}/0"


def occurrence_of(key: str) -> int:
    """How many equal calls its cell made before this one."""
    return int(key.rpartition("/")[2])


def stem_of(key: str) -> str:
    """What the keys of equal requests of one node have in common: their node and their hash."""
    node, _, *request = key.split("/")
    return f"{node}/{request[0]}" if request else key


def hashes(requests: Sequence[Request], written: Written | None = None) -> list[str]:
    """:func:`request_hash` of each. Those of 100,000 take a second: for a thread."""
    return [request_hash(name, arguments, written) for name, arguments in requests]


def request_hash(name: str, arguments: dict[str, Any], written: Written | None = None) -> str:
    """16 hex digits over the canonical form of a request.

    That is what ``json.dumps([name, arguments], sort_keys=True, separators=(",", ":"))`` gives:
    journals hold these keys, so it never changes. ``written`` is used and added to.
    """
    digest = hashlib.sha256(b"[%b,{" % _write(name).encode("ascii"))
    for position, key in enumerate(sorted(arguments)):
        digest.update(b"%b%b:" % (b"," if position else b"", _write(key).encode("ascii")))
        value = arguments[key]
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            digest.update(b"[")
            _add_texts(digest, value, written)
            digest.update(b"]")
        elif isinstance(value, str):
            _add_texts(digest, (value,), written)
        else:
            digest.update(_write(value).encode("ascii"))
    digest.update(b"}]")
    return digest.hexdigest()[:16]


def _add_texts(digest: hashlib._Hash, texts: Iterable[str], written: Written | None) -> None:
    for position, text in enumerate(texts):
        if position:
            digest.update(b",")
        digest.update(_text(text, written))


def _text(text: str, written: Written | None) -> bytes:
    """One text as JSON in ASCII."""
    if len(text) < _LONG:
        return _write(text).encode("ascii")
    if written is not None and (known := written.get(id(text))) is not None:
        return known
    # Several times as fast, and byte for byte the same but for what it does not escape.
    alike = text.isascii() and "\x7f" not in text
    raw = _encode(text) if alike else _write(text).encode("ascii")
    if written is not None:
        written[id(text)] = raw
    return raw
