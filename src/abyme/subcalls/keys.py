"""The identity of a call: what lets a recorded answer be found again when its cell is re-run."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any


class Keys:
    """Gives each call of a node its key: ``node/cell/request hash/k``.

    The hash is over the canonical request, and ``k`` counts equal requests of one cell. So a key
    does not depend on the order in which threads make their different calls; and which of several
    *equal* calls gets which ``k`` does not matter, since they are equal.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._seen: Counter[tuple[int, str]] = Counter()

    def start_cell(self, cell: int) -> None:
        """The cell begins, perhaps again: its occurrences count from 0."""
        for entry in [entry for entry in self._seen if entry[0] == cell]:
            del self._seen[entry]

    def next(self, cell: int, name: str, arguments: dict[str, Any]) -> str:
        """The key of the call that ``cell`` makes now."""
        digest = request_hash(name, arguments)
        occurrence = self._seen[cell, digest]
        self._seen[cell, digest] += 1
        return f"{self._node}/{cell}/{digest}/{occurrence}"

    def only(self, cell: int, name: str, arguments: dict[str, Any]) -> str:
        """The key of a call of which ``cell`` makes no second one: an item of a job."""
        return f"{self._node}/{cell}/{request_hash(name, arguments)}/0"


def occurrence_of(key: str) -> int:
    """How many equal calls its cell made before this one."""
    return int(key.rpartition("/")[2])


def request_of(key: str) -> str:
    """What the keys of equal requests of one node have in common: their node and their hash."""
    node, _, *request = key.split("/")
    return f"{node}/{request[0]}" if request else key


def request_hash(name: str, arguments: dict[str, Any]) -> str:
    """16 hex digits over the canonical form of a request."""
    canonical = json.dumps([name, arguments], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:16]
