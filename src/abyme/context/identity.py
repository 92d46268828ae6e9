"""What a document is, proved: its hash, and passages compared byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import overload

from abyme.context.documents import BLOCK, Document


@overload
def sha256(document: Document) -> str: ...
@overload
def sha256(document: Document, should_stop: Callable[[], bool]) -> str | None: ...
def sha256(document: Document, should_stop: Callable[[], bool] | None = None) -> str | None:
    """The SHA-256 of all the document's bytes, in hex; for a thread: hashing releases the GIL.

    ``should_stop`` is asked before each block (1 MiB); None is returned once it says so. Raises
    :class:`~abyme.errors.DataChanged` where the file is not, before or after, what it was.
    """
    digest = hashlib.sha256()
    for block in document.blocks():
        if should_stop is not None and should_stop():
            return None
        digest.update(block)
    return digest.hexdigest()


def verify_span(document: Document, start: int, end: int, expected: bytes) -> bool:
    """Whether bytes ``start`` to ``end`` of the document as it lies on disk are ``expected``.

    False as well for a span that does not lie in the document. Raises
    :class:`~abyme.errors.DataChanged` where the file is not what it was.
    """
    if not 0 <= start <= end <= document.bytes or end - start != len(expected):
        return False
    for at in range(0, len(expected), BLOCK):
        part = expected[at : at + BLOCK]
        if document.read(start + at, len(part)) != part:
            return False
    document.check()
    return True
