"""A model's reply as a value: found with tolerance, checked strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from .codec import read_value
from .schema import Misfit, Schema, Steps, depth_of

_BEGINS = re.compile(r"[\[{]")
_MOST_FENCES = 20
_MOST_TRIES = 50
_MOST_DEEP = 50
MOST_CHARACTERS = 1_000_000
"""Of a reply that is read as a value. Reading more would hold up the host's event loop."""
_MOST_READ = 3 * MOST_CHARACTERS
"""Characters that are read in vain for what may be JSON among prose."""

_DECODER = json.JSONDecoder()


def read_reply(reply: str, schema: Schema) -> Any:
    """The value that ``reply`` gives: JSON by itself, in a fence, or behind prose.

    Where the schema takes a text, one without quotation marks is a text too, but for what may be
    JSON that was cut off. Raises :class:`.schema.Misfit`, which says why nothing in the reply fits.
    """
    text = reply.strip()
    if len(text) > MOST_CHARACTERS:
        raise Misfit(f"it has {len(text):,} characters, over {MOST_CHARACTERS:,}")
    why: Misfit | None = None
    steps = Steps()
    for value in _values(text):
        try:
            return _fitting(value, schema, steps)
        except Misfit as error:
            why = why or error
    if not text.startswith(('"', "[", "{")):
        try:
            return _fitting(text, schema, steps)
        except Misfit as error:
            why = why or error
    raise why or Misfit("it holds no JSON")


def _fitting(value: Any, schema: Schema, steps: Steps) -> Any:
    if depth_of(value, _MOST_DEEP) == _MOST_DEEP:
        raise Misfit(f"it is nested {_MOST_DEEP} deep or deeper")
    schema.check(value, steps)
    return value


def _values(text: str) -> Iterator[Any]:
    """What may be meant, the most likely first."""
    for part in (
        text,
        *reversed(fenced_parts(text)),
    ):  # the last fence is the answer, if any of them is
        try:
            yield read_value(part.strip())
        except (ValueError, RecursionError):
            continue
    yield from _embedded(text)


def _embedded(text: str) -> Iterator[Any]:
    """Objects and lists among prose."""
    at, left = 0, _MOST_READ
    for _ in range(_MOST_TRIES):
        found = _BEGINS.search(text, at)
        if found is None or left < 0:
            return
        at = found.end()
        left -= len(text) - at
        try:
            _, end = _DECODER.raw_decode(text, found.start())
            value = read_value(text[found.start() : end])
        except (ValueError, RecursionError):
            continue
        yield value
        at = end


def fenced_parts(text: str) -> list[str]:
    """What stands between lines that begin with three backticks, in order."""
    parts: list[str] = []
    inside: list[str] | None = None
    for line in text.split("\n"):
        if not line.lstrip(" ").startswith("```"):
            if inside is not None:
                inside.append(line)
        elif inside is None:
            inside = []
        else:
            parts.append("\n".join(inside))
            inside = None
            if len(parts) == _MOST_FENCES:
                break
    return parts
