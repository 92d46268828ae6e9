"""Bytes of a hostile stream: frames or FrameError; what comes out can be sent again."""

from __future__ import annotations

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["abyme", "json"]):
    from abyme.inside.codec import MAX_DEPTH, Decoder, Frame, FrameError, encode

MAX_FRAME = 4096


def frames(pieces: list[bytes]) -> list[Frame]:
    decoder = Decoder(MAX_FRAME)
    return [frame for piece in pieces for frame in decoder.feed(piece)]


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


def target(data: bytes) -> None:
    """The first byte says where the stream is cut; half of the inputs get a true length."""
    cut, data = (data[0], data[1:]) if data else (0, b"")
    stream = data if cut & 1 else len(data).to_bytes(4, "big") + data
    at = min(len(stream), cut)
    try:
        whole = frames([stream])
    except FrameError:
        try:
            frames([stream[:at], stream[at:]])
        except FrameError:
            return
        raise AssertionError("how a stream is cut decides whether it is one") from None
    assert frames([stream[:at], stream[at:]]) == whole
    for frame in whole:
        assert isinstance(frame["t"], str)
        assert depth(frame) <= MAX_DEPTH + 1
        assert list(Decoder().feed(encode(frame))) == [frame]


if __name__ == "__main__":
    fuzz(target)
