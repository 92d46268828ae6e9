"""The frames between host and worker: a u32 length, big endian, then one JSON object.

JSON because for frames of ordinary size the standard library's C coder is the fastest codec that
the worker has (5 µs). Long texts of calls lie beside it as they are, which is many times as fast:
in the length of such a frame :data:`BESIDE` is set, and what follows is the length of the JSON (u32
again), JSON of a list of the object and the texts' lengths, and the texts (:mod:`.beside`).
``surrogatepass`` because text in the REPL may hold lone surrogates and must come through exactly.
Every frame is read as if its writer were hostile: length, number of values, nesting and type are
checked here, the meaning of the fields by whoever handles them. What one side sends the other
takes: :func:`encode` refuses what :class:`Decoder` would.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from .beside import put_back, taken_out

MAX_FRAME = 64 * 1024 * 1024
"""Bytes of the longest frame that either side accepts."""
MAX_DEPTH = 100
"""Nesting of lists and objects; far below what would exhaust the stack of whoever walks them."""

MAX_PARTS = 1_000_000
"""Lists and objects of one frame: each takes far more memory than the two bytes it may be."""

MAX_VALUES = 2_000_000
"""Values of one frame, for the same reason: texts of two letters take ten times their bytes."""

BESIDE = 1 << 30
"""Set in the length of a frame that has texts beside its JSON."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)

Frame = dict[str, Any]


class FrameError(Exception):
    """The other side sent something that is no frame, or asks to send one too large."""


def encode(frame: Frame) -> bytes:
    """``frame`` as bytes for the wire.

    Raises ``TypeError`` or ``ValueError`` where it is not JSON (NaN and infinity are not),
    :class:`FrameError` where it is too long, too deep or has too many parts.
    """
    frame, lengths, texts = taken_out(frame)
    try:
        body = _write([frame, lengths] if texts else frame)
    except RecursionError:
        raise FrameError(f"nested deeper than {MAX_DEPTH}") from None
    raw = body.encode("utf-8", "surrogatepass")
    brackets = _brackets(raw)
    if brackets > MAX_DEPTH and _too_deep(frame):
        raise FrameError(f"nested deeper than {MAX_DEPTH}")
    length = len(raw) + (4 + sum(map(len, texts)) if texts else 0)
    if length > MAX_FRAME:
        raise FrameError(f"a frame of {length:,} bytes is over the limit of {MAX_FRAME:,}")
    _check_size(raw, brackets)
    if not texts:
        return length.to_bytes(4, "big") + raw
    head = (length | BESIDE).to_bytes(4, "big") + len(raw).to_bytes(4, "big")
    return b"".join((head, raw, *texts))


class Decoder:
    """Cuts a stream of bytes, fed in pieces of any size, into frames."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._max_frame = max_frame

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add ``data`` and give the frames that are now whole.

        Raises :class:`FrameError`; the stream cannot be used after that.
        """
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= 4:
                length = int.from_bytes(self._buffer[start : start + 4], "big")
                beside, length = length & BESIDE, length & ~BESIDE
                if length > self._max_frame:
                    raise FrameError(f"a frame of {length:,} bytes is over the limit")
                end = start + 4 + length
                if len(self._buffer) < end:
                    break
                with memoryview(self._buffer)[start + 4 : end] as body:
                    frame = _decode_beside(body) if beside else _decode(bytes(body))
                start = end
                yield frame
        finally:
            del self._buffer[:start]


def _decode(body: bytes) -> Frame:
    return _checked(*_parse(body))


def _decode_beside(body: memoryview) -> Frame:
    """A frame and the texts beside it."""
    end = 4 + int.from_bytes(body[:4], "big")
    if end > len(body):
        raise FrameError("not a frame: longer than itself")
    value, brackets = _parse(bytes(body[4:end]))
    if not isinstance(value, list) or len(value) != 2:
        raise FrameError("not a frame: texts beside nothing")
    frame = _checked(value[0], brackets)
    try:
        with body[end:] as texts:
            put_back(frame, value[1], texts)
    except ValueError as error:
        raise FrameError(f"not a frame: {error}") from None
    return frame


def _parse(body: bytes) -> tuple[Any, int]:
    """The value that is written there, and how many brackets open in it."""
    brackets = _brackets(body)
    _check_size(body, brackets)
    try:
        return _read(body.decode("utf-8", "surrogatepass")), brackets
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not a frame: {error}") from None


def _checked(frame: Any, brackets: int) -> Frame:
    if not isinstance(frame, dict) or not isinstance(frame.get("t"), str):
        raise FrameError("not a frame: no type")
    # Counting brackets first keeps the walk away from nearly all frames.
    if brackets > MAX_DEPTH and _too_deep(frame):
        raise FrameError(f"not a frame: nested deeper than {MAX_DEPTH}")
    return frame


def _brackets(body: bytes) -> int:
    """Those that open, in texts too: no frame has more lists and objects."""
    return body.count(b"[") + body.count(b"{")


def _check_size(body: bytes, brackets: int) -> None:
    """Refuse what would take far more memory than its bytes, before any of it is built."""
    if brackets > MAX_PARTS and _outside_strings(body, b"[{") > MAX_PARTS:
        raise FrameError(f"more than {MAX_PARTS:,} lists and objects")
    if body.count(b",") > MAX_VALUES and _outside_strings(body, b",") >= MAX_VALUES:
        raise FrameError(f"more than {MAX_VALUES:,} values")


def _outside_strings(body: bytes, marks: bytes) -> int:
    """How often ``marks`` stand where they structure a frame; text may be full of them too."""
    # Cutting millions of strings out costs seconds, and so many are too many anyway.
    if body.count(b'"') - body.count(b'\\"') > 4 * MAX_VALUES:
        return MAX_VALUES
    return sum(map(_STRING.sub(b"", body).count, marks))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError(f"{number[:40]} is not finite")
    return value


# Made once: for every frame it would cost something, and a cell may put its own in json's place.
_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_read = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite).decode


def write_value(value: Any) -> str:
    """A plain value as JSON. Raises ``TypeError``, ``ValueError`` or ``RecursionError``."""
    return _write(value)


def read_value(text: str) -> Any:
    """The value of a text that :func:`write_value` has made."""
    return _read(text)


def _too_deep(frame: Frame) -> bool:
    level: list[Any] = [frame]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            children = value.values() if isinstance(value, dict) else value
            inner.extend(child for child in children if isinstance(child, dict | list))
        if not inner:
            return False
        level = inner
    return True
