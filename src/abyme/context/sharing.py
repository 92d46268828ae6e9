"""How much of what one node has would be another's too: by reference, or copied into a text."""

from __future__ import annotations

from collections.abc import Callable

from abyme.context.documents import Data, Document
from abyme.context.handing import NodeData

_PROBE = 1_000
"""Characters from the middle of a document by which it is found in a text."""
_ABSENT = 16
"""Documents that were not found, after which no other is looked for."""

Spans = dict[int, list[tuple[int, int]]]
"""Bytes of the run's documents, by their index: apart from each other, and in order."""


def share_of(parent: NodeData, child: NodeData) -> float:
    """Which part of the parent's data, from 0 to 1, its child has by reference.

    A text that code made is none of it, however like it is.
    """
    if child is parent:
        return 1.0
    have, given = _spans(parent), _spans(child)
    whole = sum(_length(spans) for spans in have.values())
    shared = sum(_overlap(spans, given.get(index, [])) for index, spans in have.items())
    return shared / whole if whole else 0.0


def _spans(node: NodeData) -> Spans:
    found: Spans = {}
    for index, document in zip(node.indices, node.data.documents, strict=True):
        first = document.offset + document.bom
        found.setdefault(index, []).append((first, document.offset + document.bytes))
    return {index: _apart(spans) for index, spans in found.items()}


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes in order, each in one span."""
    apart: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if apart and first <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((first, end))
    return apart


def _length(spans: list[tuple[int, int]]) -> int:
    return sum(end - first for first, end in spans)


def _overlap(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> int:
    return _length(one) + _length(other) - _length(_apart(one + other))


def without(data: Data, text: str) -> tuple[str, int]:
    """``text`` without what of the data was copied into it, and how many bytes of these that was.

    Documents are looked for in their order: each whole, else one stretch of it, around its middle.
    Raises :class:`~abyme.errors.DataChanged`.
    """
    rest: list[str] = []
    at = found = absent = 0
    for document in data.documents:
        if absent == _ABSENT:
            break
        whole = _text(document)
        if (stretch := _stretch(whole, text, at)) is None:
            absent += 1
            continue
        first, end, copied = stretch
        rest.append(text[at:first])
        at = end
        found += len(copied.encode(document.encoding, document.errors))
    return "".join([*rest, text[at:]]), found


def _stretch(whole: str, text: str, at: int) -> tuple[int, int, str] | None:
    """Where ``text`` from ``at`` on has all or most of ``whole``: first, last plus one, and it."""
    if (place := text.find(whole, at)) >= 0:
        return place, place + len(whole), whole
    middle = len(whole) // 2
    if (place := text.find(whole[middle : middle + _PROBE], at)) < 0:
        return None
    head, before = whole[:middle], text[at:place]
    tail, after = whole[middle:], text[place:]
    back = _most(min(len(head), len(before)), lambda n: head[len(head) - n :] == before[-n:])
    on = _most(min(len(tail), len(after)), lambda n: tail[:n] == after[:n])
    return place - back, place + on, whole[middle - back : middle + on]


def _most(limit: int, holds: Callable[[int], bool]) -> int:
    """The largest number up to ``limit`` that ``holds``, where all smaller ones do."""
    low = 0
    while low < limit:
        middle = (low + limit + 1) // 2
        if holds(middle):
            low = middle
        else:
            limit = middle - 1
    return low


def _text(document: Document) -> str:
    raw = document.read(document.bom, document.bytes - document.bom)
    return raw.decode(document.encoding, document.errors)
