"""Why long texts lie beside the JSON: 100 MB of prompts from worker to host, in several codecs.

The worker has the standard library only: there is JSON, whose coder is C, and what can be written
in Python around ``struct``. ``msgspec`` shows what a compiled codec would gain.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from statistics import median

import msgspec

from abyme.inside.codec import Decoder, encode
from benchmarks.figures import Bench, Row

_FRAMES = 4  # no frame may be longer than 64 MiB
_PROMPTS, _LENGTH = 5_000, 5_000
_TEXT = {
    "ASCII": 'She said: "the river ran on"\nand so it did, past the town. ',
    "mixed": 'Sie sagte: „der Fluß“ → 川は流れる\nund "so" blieb es, 🙂 wie es war. ',
}

Codec = tuple[Callable[[list[str]], bytes], Callable[[bytes], list[str]]]


def frames(bench: Bench) -> list[Row]:
    """Encoding and decoding together, of 100 million characters in 20,000 prompts."""
    rows: list[Row] = []
    for kind, text in _TEXT.items():
        long = text * (_LENGTH // len(text) + 2)
        prompts = [long[number % 50 :][:_LENGTH] for number in range(_PROMPTS)]
        took: dict[str, list[float]] = {name: [] for name in _CODECS}
        for _ in range(bench.rounds(5)):
            for name, codec in _CODECS.items():
                took[name].append(_FRAMES * _there(codec, prompts))
        ours = median(took.pop("frames"))
        rows += [
            Row(f"frames, {kind}: against {name}", ours, median(each), compared="ratio")
            for name, each in took.items()
        ]
    return rows


def _there(codec: Codec, prompts: list[str]) -> float:
    encoder, decoder = codec
    began = time.perf_counter()
    arrived = decoder(encoder(prompts))
    took = time.perf_counter() - began
    assert arrived == prompts
    return took


def _frame_encode(prompts: list[str]) -> bytes:
    return encode({"t": "call", "args": {"prompts": prompts}})


def _frame_decode(data: bytes) -> list[str]:
    (frame,) = Decoder().feed(data)
    prompts: list[str] = frame["args"]["prompts"]
    return prompts


def _json_encode(prompts: list[str]) -> bytes:
    return json.dumps(prompts, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _json_decode(data: bytes) -> list[str]:
    prompts: list[str] = json.loads(data.decode("utf-8", "surrogatepass"))
    return prompts


def _struct_encode(prompts: list[str]) -> bytes:
    raw = [prompt.encode("utf-8", "surrogatepass") for prompt in prompts]
    lengths = struct.pack(f">I{len(raw)}I", len(raw), *map(len, raw))
    return b"".join((lengths, *raw))


def _struct_decode(data: bytes) -> list[str]:
    (count,) = struct.unpack_from(">I", data)
    prompts = []
    start = 4 + 4 * count
    view = memoryview(data)
    for length in struct.unpack_from(f">{count}I", data, 4):
        prompts.append(str(view[start : start + length], "utf-8", "surrogatepass"))
        start += length
    return prompts


_CODECS: dict[str, Codec] = {
    "frames": (_frame_encode, _frame_decode),
    "JSON": (_json_encode, _json_decode),
    "struct": (_struct_encode, _struct_decode),
    "msgpack": (
        msgspec.msgpack.Encoder().encode,
        msgspec.msgpack.Decoder(list[str]).decode,
    ),
}
