"""What a worker's frames hold, checked by type: their author is hostile."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from abyme.inside.shorten import shorten
from abyme.types import CellError, Ended, Variable

_PART_CHARACTERS = 8_000_000

Piece = Annotated[str, msgspec.Meta(max_length=1 << 20)]
LayerName = Annotated[str, msgspec.Meta(max_length=100)]
Text = Annotated[str, msgspec.Meta(max_length=1 << 20)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Place(msgspec.Struct):
    """Where a quote stands: the number of its document, byte offsets, a line from 1."""

    text: str
    document: int
    start: Count
    end: Count
    line: Count


class FinishFrame(msgspec.Struct):
    """An answer that was handed over."""

    value: Any
    text: str
    via: str
    quotes: tuple[Place, ...] = ()


class Done(msgspec.Struct):
    """The worker's account of a cell. Its author is hostile: every field is checked by type."""

    cell: int
    ended: Ended
    output: Text
    output_chars: Count
    variables: tuple[Variable, ...]
    notes: tuple[str, ...]
    seconds: Seconds
    cpu_seconds: Seconds
    peak_bytes: Count
    draft: str = ""
    error: CellError | None = None
    finish: FinishFrame | None = None


def cut(error: CellError) -> CellError:
    """As the worker cuts it, if it is the worker that wrote it."""
    return CellError(
        type=error.type[:100],
        message=shorten(error.message, 2_000),
        traceback=shorten(error.traceback, 8_000),
    )


def in_parts(value: Any) -> list[Any]:
    """A long list, as a batch's answers are, cut into lists of which each fits a frame."""
    if not isinstance(value, list):
        return [value]
    parts: list[Any] = [[]]
    size = 0
    for item in value:
        more = characters(item) + 50
        if size + more > _PART_CHARACTERS and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += more
    return parts


def characters(value: Any) -> int:
    """Characters of all texts in ``value``; frames are never nested deep."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(characters, value.values()))
    return sum(map(characters, value)) if isinstance(value, list) else 8
