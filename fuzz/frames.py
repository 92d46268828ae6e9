"""What a frame holds, by type: the values, or ValueError (which ValidationError is), never more."""

from __future__ import annotations

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["abyme"]):
    import msgspec

    from abyme.inside.codec import Decoder, FrameError
    from abyme.sandbox.frames import Done, FinishFrame, Piece, characters, cut

DONE = (
    b'{"t":"done","cell":1,"ended":"done","output":"","output_chars":0,"variables":[],"notes":[],'
    b'"seconds":0,"cpu_seconds":0,"peak_bytes":0,'
)


def target(data: bytes) -> None:
    """Half of the inputs are fields of a ``done`` frame that is whole without them."""
    body = DONE + data[1:] + b"}" if data[:1] < b"\x80" else data[1:]
    try:
        (frame,) = Decoder().feed(len(body).to_bytes(4, "big") + body)
    except FrameError:
        return
    characters(frame)
    for kind in (Done, FinishFrame, Piece):
        try:
            made = msgspec.convert(frame, kind)
        except ValueError:
            continue
        if isinstance(made, Done) and made.error is not None:
            shown = cut(made.error)
            assert len(shown.type) + len(shown.message) + len(shown.traceback) <= 10_100


if __name__ == "__main__":
    fuzz(target)
