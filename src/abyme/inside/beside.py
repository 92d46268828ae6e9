"""Long texts of a call, beside the JSON of its frame: as they are, nothing in them escaped.

Writing and reading them as JSON takes several times as long as all else that a frame costs.
"""

from __future__ import annotations

from typing import Any

LONG = 1_000
"""Characters from which on a text goes beside the JSON."""

Lengths = dict[str, Any]
"""By the names of arguments: a text's bytes, or a list of them with 0 for what stayed in place."""


def taken_out(frame: dict[str, Any]) -> tuple[dict[str, Any], Lengths, list[bytes]]:
    """The frame without the long texts among its ``args``, how long they are, and they themselves.

    Those are looked for that are an argument, or an item of a list that is one. ``frame`` stays as
    it was.
    """
    args = frame.get("args")
    lengths: Lengths = {}
    texts: list[bytes] = []
    if type(args) is not dict:
        return frame, lengths, texts
    left: dict[str, Any] = {}
    for name, value in args.items():
        if _is_long(value):
            texts.append(_raw(value))
            left[name], lengths[name] = None, len(texts[-1])
        elif type(value) is list and any(map(_is_long, value)):
            items, sizes = value.copy(), [0] * len(value)
            for index, item in enumerate(value):
                if _is_long(item):
                    texts.append(_raw(item))
                    items[index], sizes[index] = None, len(texts[-1])
            left[name], lengths[name] = items, sizes
    return ({**frame, "args": args | left} if texts else frame), lengths, texts


def put_back(frame: Any, lengths: Any, raw: memoryview) -> None:
    """Put the texts whose bytes are ``raw``, one after the other, into the ``args`` of ``frame``.

    Raises :class:`ValueError` unless they are of these ``lengths``, fill ``raw``, are UTF-8 (lone
    surrogates may be in them) and have a place: whoever wrote them may be hostile.
    """
    args = frame.get("args") if isinstance(frame, dict) else None
    if not isinstance(args, dict) or not isinstance(lengths, dict):
        raise ValueError("texts for no arguments")
    start = 0

    def text(length: Any) -> str:
        nonlocal start
        if type(length) is not int or not 0 < length <= len(raw) - start:
            raise ValueError("a text that is longer than what came, or of no length")
        start += length
        with raw[start - length : start] as part:
            return str(part, "utf-8", "surrogatepass")

    for name, length in lengths.items():
        if not isinstance(length, list):
            args[name] = text(length)
            continue
        items = args.get(name)
        if not isinstance(items, list) or len(items) != len(length):
            raise ValueError("texts for a list that is another one")
        items[:] = [text(size) if size else item for size, item in zip(length, items, strict=True)]
    if start != len(raw):
        raise ValueError("more than its texts")


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= LONG


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
