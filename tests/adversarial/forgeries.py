"""What a worker that is wholly an attacker's might do to its host: it owns the frames' socket.

No layer of the kernel is concerned: the host holds these. ``code`` runs in a real worker. ``harm``
looks at what the host has seen then. Each is tried with the host as it is, where there must be no
harm, and with the check named in ``held_by`` switched off by ``off``, where there must be: an
attempt that fails anyway proves nothing. Where nothing can be switched off ``off`` says why; these
are counted apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from abyme.inside import codec
from abyme.inside.codec import FrameError
from abyme.sandbox import answering, channel, passing, worker
from abyme.types import CellResult, Finish

PRELUDE = """
import contextlib, gc, json, os, socket, sys, threading, time
sock = next(each for each in gc.get_objects() if type(each).__name__ == 'Channel')._socket
def framed(body): return len(body).to_bytes(4, 'big') + body
def body(raw): sock.sendall(framed(raw))
def forge(**frame): body(json.dumps(frame).encode())
def value(raw): body(b'{"t":"out","text":"","x":' + raw + b'}')
def beside(lengths, texts):
    head = json.dumps([dict(t='out', text='', args={}), lengths]).encode()
    raw = len(head).to_bytes(4, 'big') + head + texts
    sock.sendall((len(raw) | 1 << 30).to_bytes(4, 'big') + raw)
DONE = dict(t='done', cell=1, ended='done', output='forged', output_chars=6, variables=[],
            notes=[], seconds=0, cpu_seconds=0, peak_bytes=0)
def done(**fields): forge(**{**DONE, **fields})
def call(**fields): forge(**{**dict(t='call', id=1, name='tool', args={}), **fields})
def documents(**fields): forge(**{**dict(t='documents', id=1, index=0, count=1), **fields})
"""

AFTER = "\ntime.sleep(0.3)"
"""The host has so long to take what was sent before the cell ends by itself."""


class Seen(NamedTuple):
    """What the host saw of a worker that ran an attempt."""

    result: CellResult
    calls: list[tuple[int, str, dict[str, Any]]]
    streamed: list[str]
    errors: list[str]
    """What was raised out of the event loop's callbacks."""
    layers: tuple[str, ...]
    looked: Finish | None
    """The variable ``x`` afterwards, as an answer."""


Harm = Callable[[Seen], bool]
Off = Callable[[pytest.MonkeyPatch], None]


class Forgery(NamedTuple):
    """One thing that a worker might do to its host."""

    group: str
    name: str
    held_by: str
    code: str
    harm: Harm
    off: Off | str


def taken(seen: Seen) -> bool:
    """The worker lived on: the host had nothing against what it got."""
    return seen.result.ended != "died"


def raised(seen: Seen) -> bool:
    """Something was raised out of the host's event loop."""
    return bool(seen.errors)


def hung(seen: Seen) -> bool:
    """The host waited for the cell's deadline to end what was over before."""
    message = "" if seen.result.error is None else seen.result.error.message
    return seen.result.ended == "interrupted" or "deadline" in message


def waited_for(seen: Seen) -> bool:
    """The host took it for the beginning of something, and waits for the rest."""
    return taken(seen) or hung(seen)


def _alive_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(worker.Worker, "alive", property(lambda self: True))


def _set(where: Any, name: str, new: Any) -> Off:
    return lambda patch: patch.setattr(where, name, new, raising=False)


class _Unchecked:
    """Stands in for msgspec in the host: what is of the wrong type is taken as it is."""

    ValidationError = msgspec.ValidationError

    @staticmethod
    def convert(given: Any, kind: Any) -> Any:
        try:
            return msgspec.convert(given, kind)
        except msgspec.ValidationError:
            return given


def _lenient(patch: pytest.MonkeyPatch) -> None:
    """What is no frame is taken for one that says nothing."""
    decode = codec._decode

    def lenient(body: bytes) -> codec.Frame:
        try:
            return decode(body)
        except FrameError:
            return {"t": "out", "text": ""}

    patch.setattr(codec, "_decode", lenient)


def _nothing(*ignored: object) -> None:
    """Checks nothing."""


def _any_cell(self: worker.Worker, done: Any) -> None:
    if self._done is not None and not self._done.done():
        self._done.set_result(done)


def _ready_again(self: worker.Worker, layers: tuple[str, ...]) -> None:
    self._layers = layers
    if not self._ready.done():
        self._ready.set_result(None)


def _of_any_size(patch: pytest.MonkeyPatch) -> None:
    huge = property(lambda self: 1 << 40, lambda self, size: None)
    patch.setattr(codec.Decoder, "_max_frame", huge, raising=False)


class _Endless(tuple[Any, ...]):
    """Documents of which there are as many as anybody asks for."""

    def __len__(self) -> int:
        return 1 << 40


def _of_any_number(patch: pytest.MonkeyPatch) -> None:
    hand_over = passing.DocumentPassing.asked

    def asked(self: passing.DocumentPassing, frame: codec.Frame) -> None:
        self._documents = _Endless(self._documents)
        hand_over(self, frame)

    patch.setattr(passing.DocumentPassing, "asked", asked)


def _untyped(patch: pytest.MonkeyPatch) -> None:
    for module in (worker, answering, passing):
        patch.setattr(module, "msgspec", _Unchecked)


UNTYPED = _untyped


def _of_any_length(patch: pytest.MonkeyPatch) -> None:
    _untyped(patch)
    patch.setattr(worker, "_MOST_STREAMED", 1 << 40)


ENDS = "the end of a stream needs no check"


def _row(group: str) -> Callable[[str, str, str, Harm, Off | str], Forgery]:
    return lambda name, held_by, code, harm, off: Forgery(group, name, held_by, code, harm, off)


_stream = _row("the stream of frames")
STREAM = (
    _stream(
        "a frame longer than any",
        "frames: length",
        "sock.sendall((1 << 31).to_bytes(4, 'big')); sock.sendall(bytes(1 << 20))",
        waited_for,
        _of_any_size,
    ),
    _stream("bytes that are no UTF-8", "frames: JSON", "value(b'\"\\xff\\xfe\"')", taken,
            _lenient),
    _stream("bytes that are no JSON", "frames: JSON", "body(b'{\"t\":')", taken,
            _lenient),
    _stream("JSON that is no object", "frames: JSON", "body(b'[1]')", taken,
            _lenient),
    _stream("nested deep", "frames: nesting", "value(b'[' * 500 + b']' * 500)", taken,
            _set(codec, "MAX_DEPTH", 100_000)),
    _stream("nested deeper than any stack", "frames: nesting",
            "value(b'[' * 500_000 + b']' * 500_000)", taken,
            "Python's own parser refuses it too"),
    _stream("millions of empty lists", "frames: values",
            "value(b'[' + b'[],' * 1_500_000 + b'1]')", taken, _set(codec, "MAX_PARTS", 1 << 40)),
    _stream("millions of short texts", "frames: values",
            "value(b'[' + b'\"ab\",' * 3_000_000 + b'1]')", taken,
            _set(codec, "MAX_VALUES", 1 << 40)),
    _stream("texts that did not come beside their frame", "frames: texts",
            "beside({'one': 1 << 26}, b'abc')", taken, _set(codec, "put_back", _nothing)),
    _stream("texts beside a frame that has no place for them", "frames: texts",
            "beside({'one': [1, 2]}, b'abc')", taken, _set(codec, "put_back", _nothing)),
    _stream("bytes beside a frame that are no text", "frames: texts",
            "beside({'one': 3}, b'a\\xff\\xfe')", taken, _set(codec, "put_back", _nothing)),
    _stream("NaN", "frames: numbers", "body(b'{\"t\":\"call\",\"id\":1,\"name\":\"tool\","
            "\"args\":{\"a\":NaN}}')", lambda seen: any(map(_odd, seen.calls)),
            _set(codec, "_read", json.loads)),
    _stream("a number past all floats", "frames: numbers", "body(b'{\"t\":\"call\",\"id\":1,"
            "\"name\":\"tool\",\"args\":{\"a\":1e999}}')",
            lambda seen: any(map(_odd, seen.calls)), _set(codec, "_read", json.loads)),
    _stream("a number of millions of digits", "frames: numbers", "value(b'9' * 10_000_000)", taken,
            "Python's own limit of 4,300 digits holds it"),
    _stream("half a frame, then the end", "the end of the stream",
            "sock.sendall(framed(b'x' * 1000)[:500]); os._exit(0)", hung, ENDS),
    _stream("half a length, then the end", "the end of the stream",
            "sock.sendall(b'\\0\\0'); os._exit(0)", hung, ENDS),
    _stream("closing the descriptor", "the end of the stream", "sock.close(); time.sleep(60)", hung,
            ENDS),
    _stream("shutting the stream down, and living on", "the end of the stream",
            "sock.shutdown(socket.SHUT_RDWR); time.sleep(60)", hung, ENDS),
    _stream("another file in the place of the descriptor", "the end of the stream",
            "os.dup2(0, sock.fileno())", hung, ENDS),
    _stream("garbage through the descriptor", "frames: length",
            "os.write(sock.fileno(), b'\\xff' * 1_000_000)", waited_for, _of_any_size),
    _stream("the descriptor found by looking at all of them", "frames: length",
            "import stat\n"
            "for at in range(3, 100):\n"
            "    with contextlib.suppress(OSError):\n"
            "        if stat.S_ISSOCK(os.fstat(at).st_mode): os.write(at, b'\\xff' * 64)",
            waited_for,
            _of_any_size),
    _stream("frames of several threads, torn into each other", "frames: JSON",
            "half = framed(b'{\"t\":\"out\",\"text\":\"' + b'x' * 50_000 + b'\"}')\n"
            "def write():\n"
            "    for at in range(0, len(half), 999): sock.sendall(half[at:at + 999])\n"
            "threads = [threading.Thread(target=write) for _ in range(8)]\n"
            "[each.start() for each in threads]; [each.join() for each in threads]\n"
            "body(b'?')", raised, "what is torn is no frame, or a whole one by chance"),
)  # fmt: skip

_types = _row("what frames hold")
TYPES = (
    _types("a type that there is not", "frames: types", "forge(t='admin', cell=1)", taken,
           "the host would have to have a function for it"),
    _types("the host's own types", "frames: types", "forge(t='reply', id=1, value=1)", taken,
           "the host would have to have a function for it"),
    _types("refused, when it runs already", "frames: order", "forge(t='refused', reason='x')",
           taken, "the host would have to have a function for it"),
    _types("ready again, with other layers", "frames: order",
           "forge(t='ready', layers=['none'])", lambda seen: seen.layers == ("none",),
           _set(worker.Worker, "_on_ready", _ready_again)),
    _types("layers that are numbers", "frames: types", "forge(t='ready', layers=[1])", taken,
           UNTYPED),
    _types("output that is no text", "frames: types", "forge(t='out', text=[1])",
           lambda seen: not all(isinstance(piece, str) for piece in seen.streamed), UNTYPED),
    _types("a piece of output of 2 MB", "frames: types", "forge(t='out', text='x' * (2 << 20))",
           lambda seen: any(len(piece) > 1 << 20 for piece in seen.streamed), _of_any_length),
    _types("20 MB of output in pieces", "frames: sizes",
           "for _ in range(20): forge(t='out', text='x' * 1_000_000)",
           lambda seen: sum(map(len, seen.streamed)) > 2_000_000,
           _set(worker, "_MOST_STREAMED", 1 << 40)),
    _types("done, for another cell", "frames: order", "done(cell=2); done(cell=0)",
           lambda seen: seen.result.output == "forged", _set(worker.Worker, "_on_done", _any_cell)),
    _types("done, with nothing in it", "frames: types", "forge(t='done', cell=1)", raised, UNTYPED),
    _types("done, in a way that there is not", "frames: types", "done(ended='won')", raised,
           UNTYPED),
    _types("done, with numbers for texts", "frames: types", "done(output=1, draft=2)", raised,
           UNTYPED),
    _types("done, with a negative length", "frames: types", "done(output_chars=-1)", raised,
           UNTYPED),
    _types("done, after a negative time", "frames: types", "done(seconds=-1)", raised, UNTYPED),
    _types("done, with a number past all machines'", "frames: types", "done(peak_bytes=1 << 70)",
           raised, UNTYPED),
    _types("done, with 2 MB of output", "frames: types", "done(output='x' * (2 << 20))", raised,
           UNTYPED),
    _types("done, with variables that are none", "frames: types", "done(variables=[{'name': 1}])",
           raised, UNTYPED),
    _types("done, with an answer without a text", "frames: types", "done(finish={'value': 1})",
           raised, UNTYPED),
    _types("done, with a quote out of a document that there is not", "frames: order",
           "done(finish=dict(value=1, text='1', via='FINAL', quotes=["
           "dict(text='a', document=999, start=0, end=1, line=1)]))",
           lambda seen: seen.result.finish is None or bool(seen.result.finish.quotes),
           "a number that no document has is left out"),
    _types("done, with a quote out of the document before the first", "frames: types",
           "done(finish=dict(value=1, text='1', via='FINAL', quotes=["
           "dict(text='a', document=-1, start=0, end=1, line=1)]))", raised, UNTYPED),
    _types("done, with a lone surrogate for how it ended", "frames: types",
           "done(ended='\\ud800')", raised, _set(worker, "ValueError", KeyError)),
    _types("done, with a lone surrogate for a field", "frames: types",
           "done(**{'\\ud800': 1})", raised, _set(worker, "ValueError", KeyError)),
    _types("done, in a way that takes a megabyte to say", "frames: types",
           "done(ended='A' * 1_000_000)",
           lambda seen: seen.result.error is not None and len(seen.result.error.message) > 1000,
           _set(worker, "cut_end", lambda text, limit: text)),
    _types("done, with a million variables", "frames: sizes",
           "done(variables=[dict(name='a', type='b')] * 900_000)", raised, UNTYPED),
    _types("done, with a variable's name of a megabyte", "frames: sizes",
           "done(variables=[dict(name='a' * 1_000_000, type='b')])", raised, UNTYPED),
    _types("done, with a million notes", "frames: sizes", "done(notes=['a'] * 1_000_000)", raised,
           UNTYPED),
    _types("done, with an answer of 20 MB", "frames: sizes",
           "done(finish=dict(value=1, text='x' * 20_000_000, via='FINAL'))", raised, UNTYPED),
    _types("done, with a million quotes", "frames: sizes",
           "done(finish=dict(value=1, text='1', via='FINAL', quotes=["
           "dict(text='a', document=0, start=0, end=1, line=1)] * 200_000))", raised, UNTYPED),
    _types("done, with quotes at negative places", "frames: types",
           "done(finish=dict(value=1, text='1', via='FINAL', quotes=["
           "dict(text='a', document=0, start=-5, end=-1, line=1)]))", raised, UNTYPED),
    _types("an answer that nobody looked for", "frames: order",
           "x = 'mine'\nforge(t='looked', finish=dict(value=1, text='forged', via='FINAL'))",
           lambda seen: seen.looked is None or seen.looked.text != "mine",
           "nobody waits for it, and it is dropped"),
)  # fmt: skip

_calls = _row("calls of the host")
CALLS = (
    _calls("a name that is no text", "frames: types", "call(name=7)", lambda seen: bool(seen.calls),
           UNTYPED),
    _calls("arguments that are no mapping", "frames: types", "call(args=[1])",
           lambda seen: bool(seen.calls), UNTYPED),
    _calls("a number that is no number", "frames: types", "call(id='1')",
           lambda seen: bool(seen.calls), UNTYPED),
    _calls("25,000 at once", "calls in flight",
           "one = framed(json.dumps(dict(t='call', id=1, name='never', args={})).encode())\n"
           "for _ in range(25): sock.sendall(one * 1000)",
           lambda seen: len(seen.calls) > answering.MAX_CALLS_IN_FLIGHT or taken(seen),
           _set(answering, "MAX_CALLS_IN_FLIGHT", 1 << 40)),
    _calls("documents past the last", "documents: numbers", "documents(index=500)",
           lambda seen: raised(seen) or taken(seen), _of_any_number),
    _calls("documents before the first", "documents: numbers", "documents(index=-1)", taken,
           "Python's own negative index would be the last document, which it may have anyway"),
    _calls("no documents at all", "documents: numbers", "documents(count=0)", taken,
           "an empty answer would be all"),
    _calls("more documents than fit", "documents: numbers", "documents(count=65)",
           lambda seen: raised(seen) or taken(seen),
           _set(passing, "MOST_DESCRIPTORS", 1000)),
    _calls("documents numbered by a text", "frames: types", "documents(index='0')",
           lambda seen: raised(seen) or taken(seen), UNTYPED),
    _calls("documents numbered past all machines' numbers", "frames: types",
           "body(b'{\"t\":\"documents\",\"id\":1,\"count\":2,\"index\":' + b'9' * 4300 + b'}')",
           raised, UNTYPED),
    _calls("documents that are asked for and never taken", "documents: unread",
           "import fcntl, struct\n"
           "for _ in range(60): documents(count=64)\n"
           "time.sleep(0.5)\n"
           "print(struct.unpack('i', fcntl.ioctl(sock, 0x541B, bytes(4)))[0])",
           lambda seen: int(seen.result.output or 0) > 1_000, _set(passing, "_UNREAD", 1 << 40)),
    _calls("replies that are asked for and never taken", "replies unread",
           "one = framed(json.dumps(dict(t='call', id=1, name='large', args={})).encode())\n"
           "sock.sendall(one * 200)\ntime.sleep(1)\nos._exit(0)",
           lambda seen: len(seen.calls) > 150,
           _set(channel, "MOST_QUEUED", 1 << 40)),
    _calls("calls behind a frame that ends the worker", "frames: order",
           "call = json.dumps(dict(t='call', id=1, name='tool', args={})).encode()\n"
           "sock.sendall(framed(b'{\"t\":\"x\"}') + framed(call) * 10)",
           lambda seen: bool(seen.calls), _alive_for_ever),
)  # fmt: skip

FORGERIES = (*STREAM, *TYPES, *CALLS)


def _odd(call: tuple[int, str, dict[str, Any]]) -> bool:
    number = call[2].get("a")
    return isinstance(number, float) and not math.isfinite(number)
