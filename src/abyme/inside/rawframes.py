"""Bytes of documents between frames, as they are: base64 in JSON takes a hundred times as long.

Only the host sends them, and only where it was asked to.
"""

from __future__ import annotations

from collections.abc import Iterator

from .codec import Decoder, Frame, FrameError
from .pulled import MOST_PULLED

RAW = 1 << 31
"""Set in the length of what is no JSON: eight bytes of a call's number, then its bytes."""
_NUMBER = 8


class RawDecoder(Decoder):
    """Cuts a stream into frames; raw ones come as ``{"t": "pulled", "id": …, "value": bytes}``."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """See :class:`.codec.Decoder`."""
        self._bytes += data
        start = 0
        try:
            while len(self._bytes) - start >= 4:
                length = int.from_bytes(self._bytes[start : start + 4], "big")
                raw, length = bool(length & RAW), length & ~RAW
                if raw and not _NUMBER <= length <= _NUMBER + MOST_PULLED:
                    raise FrameError(f"{length:,} bytes that are no frame")
                end = start + 4 + length
                if len(self._bytes) < end:
                    return
                part = bytes(memoryview(self._bytes)[start:end])
                start = end
                if raw:
                    number = int.from_bytes(part[4 : 4 + _NUMBER], "big")
                    yield {"t": "pulled", "id": number, "value": part[4 + _NUMBER :]}
                else:
                    yield from super().feed(part)
        finally:
            del self._bytes[:start]


def encode_raw(number: int, data: bytes) -> bytes:
    """Bytes for the wire that answer call ``number``; at most :data:`.pulled.MOST_PULLED`."""
    length = RAW | (_NUMBER + len(data))
    return b"".join((length.to_bytes(4, "big"), number.to_bytes(_NUMBER, "big"), data))
