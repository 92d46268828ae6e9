"""How a worker comes by the bytes of documents: by descriptor, from where they are mounted, pulled.

The host's first frame says which (``data``). A document that is mounted has a ``path``; one that
has none, or whose file cannot be opened (a container's user may not read what its owner kept to
himself), is pulled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from .calls import Calls
from .codec import Frame
from .decoding import Bytes
from .pulled import MOST_PARTS, MOST_PULLED, Pieces, Pulled

MOUNTED = "/abyme/data"
"""The folder in which documents are mounted, under names without meaning."""
WHOLE_BELOW = 1 << 16
"""Smaller documents are pulled whole, several at once."""


def arrivals(hello: Frame, calls: Calls) -> Callable[[int, int], Sequence[int | Bytes]]:
    """What :class:`.documents.Store` opens documents with."""
    if hello.get("data", "passed") == "passed":
        return calls.documents
    return Arrivals(hello["documents"], Pieces(calls.pull)).open


class Arrivals:
    """Opens documents that are mounted, and pulls the others."""

    def __init__(self, documents: list[dict[str, Any]], pieces: Pieces) -> None:
        self._documents = documents
        self._pieces = pieces

    def open(self, index: int, count: int) -> Sequence[int | Bytes]:
        """Descriptors or bytes of up to ``count`` documents from ``index`` on, at least one."""
        if (descriptor := self._mounted(index)) is not None:
            return [descriptor]
        size = self._size(index)
        if size >= WHOLE_BELOW:
            return [Pulled(self._pieces, index, size)]
        parts, together = [(index, 0, size)], size
        for other in range(index + 1, index + min(count, MOST_PARTS)):
            together += self._size(other)
            if self._size(other) >= WHOLE_BELOW or together > MOST_PULLED:
                break
            parts.append((other, 0, self._size(other)))
        return self._pieces.several(parts)

    def _mounted(self, index: int) -> int | None:
        path = self._documents[index].get("path")
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else None
        except OSError:
            return None

    def _size(self, index: int) -> int:
        return int(self._documents[index]["bytes"])
