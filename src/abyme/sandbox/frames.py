"""What a worker's frames hold, checked by type: their author is hostile."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from abyme.inside.answer import MAX_ANSWER, MAX_QUOTES
from abyme.inside.namespace import MAX_VARIABLES
from abyme.inside.shorten import shorten
from abyme.types import CellError, Ended

_PART_CHARACTERS = 8_000_000

Piece = Annotated[str, msgspec.Meta(max_length=1 << 20)]
LayerName = Annotated[str, msgspec.Meta(max_length=100)]
Note = Annotated[str, msgspec.Meta(max_length=4_000)]
AnswerText = Annotated[str, msgspec.Meta(max_length=MAX_ANSWER)]
Text = Annotated[str, msgspec.Meta(max_length=1 << 20)]
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Place(msgspec.Struct):
    """Where a quote stands: the number of its document, byte offsets, a line from 1."""

    text: AnswerText
    document: Number
    start: Number
    end: Number
    line: Number


class FinishFrame(msgspec.Struct):
    """An answer that was handed over."""

    value: Any
    text: AnswerText
    via: Annotated[str, msgspec.Meta(max_length=20)]
    quotes: Annotated[tuple[Place, ...], msgspec.Meta(max_length=MAX_QUOTES)] = ()


class VariableFrame(msgspec.Struct):
    """A variable that a cell made or changed."""

    name: LayerName
    type: LayerName
    size: LayerName = ""


class Refused(msgspec.Struct):
    """Why there is no worker; ``unlocked``: it could not lock itself in."""

    reason: Piece
    unlocked: bool = False


class Done(msgspec.Struct):
    """The worker's account of a cell. Its author is hostile: every field is checked by type."""

    cell: int
    ended: Ended
    output: Text
    output_chars: Number
    variables: Annotated[tuple[VariableFrame, ...], msgspec.Meta(max_length=MAX_VARIABLES)]
    notes: Annotated[tuple[Note, ...], msgspec.Meta(max_length=100)]
    seconds: Seconds
    cpu_seconds: Seconds
    peak_bytes: Number
    draft: AnswerText = ""
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
        return sum(len(key) + characters(item) for key, item in value.items())
    return sum(map(characters, value)) if isinstance(value, list) else 8
