"""The frames' codec, whatever is sent through it: what one side sends the other takes."""

from __future__ import annotations

import itertools
import math
import signal
import socket
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from abyme.inside import codec
from abyme.inside.beside import LONG
from abyme.inside.calls import Calls
from abyme.inside.channel import Channel
from abyme.inside.codec import BESIDE, MAX_DEPTH, Decoder, Frame, FrameError, encode
from abyme.inside.interrupts import Interrupts
from abyme.inside.reception import Reception

PATIENT = settings(deadline=None, max_examples=50)
TEXT = st.text(st.characters(codec=None))  # lone surrogates too
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)
LONG_TEXT = st.builds(lambda text, times: text * times, TEXT, st.integers(0, 3 * LONG))
ARGUMENT = VALUE | LONG_TEXT | st.lists(LONG_TEXT | TEXT | VALUE)
FRAMES = st.lists(
    st.builds(lambda kind, fields: {**fields, "t": kind}, TEXT, st.dictionaries(TEXT, VALUE))
    | st.builds(lambda args: {"t": "call", "args": args}, st.dictionaries(TEXT, ARGUMENT)),
    max_size=4,
)
OTHER_JSON = [b"[]", b"1", b'"t"', b"null", b"{}", b'{"t":1}', b'{"t":null}', b'{"T":"x"}', b""]


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def beside(value: bytes, texts: bytes, *, length: int | None = None) -> bytes:
    """A frame of this JSON with these bytes beside it."""
    body = (len(value) if length is None else length).to_bytes(4, "big") + value + texts
    return (len(body) | BESIDE).to_bytes(4, "big") + body


def decoded(stream: bytes, cuts: list[int] | None = None) -> list[Frame]:
    """The frames of a stream that arrives in pieces."""
    decoder, frames = Decoder(), []
    borders = [0, *sorted(min(cut, len(stream)) for cut in cuts or []), len(stream)]
    for start, end in itertools.pairwise(borders):
        frames += list(decoder.feed(stream[start:end]))
    return frames


def nested(depth: int, *, in_objects: bool = False) -> Frame:
    """A frame whose lists or objects lie ``depth`` deep, itself counted."""
    value: Any = {} if in_objects else []
    for _ in range(depth - 2):
        value = {"a": value} if in_objects else [value]
    return {"t": "x", "value": value}


def same(one: Any, other: Any) -> bool:
    """Equal, and 1, 1.0 and True are not taken for each other."""
    return repr(one) == repr(other)


@PATIENT
@given(FRAMES, st.lists(st.integers(0, 2000), max_size=8))
def test_what_is_sent_arrives_however_the_stream_is_cut(
    frames: list[Frame], cuts: list[int]
) -> None:
    assert same(decoded(b"".join(map(encode, frames)), cuts), frames)


@settings(deadline=None, max_examples=20)
@given(FRAMES)
def test_a_stream_may_come_byte_by_byte(frames: list[Frame]) -> None:
    stream = b"".join(map(encode, frames))
    assert same(decoded(stream, list(range(len(stream)))), frames)


@pytest.mark.parametrize("in_objects", [False, True])
def test_nesting_goes_as_deep_as_is_said_on_both_sides(in_objects: bool) -> None:
    deepest = nested(MAX_DEPTH, in_objects=in_objects)
    assert decoded(encode(deepest)) == [deepest]
    for depth in (MAX_DEPTH + 1, 2_000, 100_000):
        with pytest.raises(FrameError, match="nested deeper than 100"):
            encode(nested(depth, in_objects=in_objects))
    opening, closing = ('{"a":', "}") if in_objects else ("[", "]")
    for depth in (MAX_DEPTH, 2_000, 100_000):
        body = '{"t":"x","v":' + opening * depth + "1" + closing * depth + "}"
        with pytest.raises(FrameError):
            decoded(framed(body.encode()))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_not_are_refused_before_they_are_sent(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"t": "x", "value": [number]})


@pytest.mark.parametrize(
    "number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 400 + b".5"]
)
def test_and_are_no_frame(number: bytes) -> None:
    with pytest.raises(FrameError):
        decoded(framed(b'{"t":"x","value":[' + number + b"]}"))


def test_whole_numbers_have_at_most_so_many_digits_on_both_sides() -> None:
    longest = 10**4300 - 1
    assert decoded(encode({"t": "x", "value": longest})) == [{"t": "x", "value": longest}]
    with pytest.raises(ValueError, match="4300"):
        encode({"t": "x", "value": longest + 1})
    with pytest.raises(FrameError, match="4300"):
        decoded(framed(b'{"t":"x","value":' + b"9" * 30_000_000 + b"}"))


@PATIENT
@given(st.binary(max_size=300), st.booleans(), st.lists(st.integers(0, 300), max_size=4))
def test_any_bytes_are_frames_or_a_frame_error(
    data: bytes, with_length: bool, cuts: list[int]
) -> None:
    stream = framed(data) if with_length else data
    try:
        frames = decoded(stream, cuts)
    except FrameError:
        return
    assert all(isinstance(frame["t"], str) for frame in frames)
    assert [decoded(encode(frame)) for frame in frames] == [[frame] for frame in frames]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid frames with bytes changed, left out, doubled."""
    stream = bytearray(b"".join(map(encode, draw(FRAMES))) or encode({"t": "x"}))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(stream) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                stream[at] = draw(st.integers(0, 255))
            case 1:
                stream[at:at] = draw(st.binary(max_size=4))
            case 2 if len(stream) > 1:
                del stream[at]
            case _:
                stream += stream[at:]
    return bytes(stream)


@PATIENT
@given(mutated(), st.lists(st.integers(0, 500), max_size=3))
def test_a_damaged_stream_gives_frames_or_a_frame_error(stream: bytes, cuts: list[int]) -> None:
    try:
        frames = decoded(stream, cuts)
    except FrameError:
        return
    assert all(isinstance(frame, dict) and isinstance(frame["t"], str) for frame in frames)


@pytest.mark.parametrize("body", OTHER_JSON)
def test_json_that_is_no_object_with_a_type_is_no_frame(body: bytes) -> None:
    with pytest.raises(FrameError):
        decoded(framed(body))


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert decoded(framed(b'{"t":"x","a":1,"a":2}')) == [{"t": "x", "a": 2}]


def test_a_length_over_the_limit_is_refused_before_anything_of_it_has_come() -> None:
    with pytest.raises(FrameError, match="over the limit"):
        decoded((codec.MAX_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(FrameError, match="over the limit"):
        encode({"t": "x", "value": "x" * codec.MAX_FRAME})


LONGEST = "x" * (codec.MAX_FRAME // 2)


def test_long_texts_lie_beside_the_json_as_they_are() -> None:
    texts = ['"a"\n' * 5_000, "short", "\ud800é🙂\0" * 5_000]
    frame = {"t": "call", "args": {"prompts": texts, "model": None, "one": texts[0]}}
    stream = encode(frame)
    raw = [text.encode("utf-8", "surrogatepass") for text in (texts[0], texts[2], texts[0])]
    assert stream.endswith(b"".join(raw))
    assert len(stream) < sum(map(len, raw)) + 200
    assert frame["args"] == {"prompts": texts, "model": None, "one": texts[0]}  # as it was
    assert decoded(stream) == [frame]
    assert decoded(stream, list(range(0, len(stream), 7_001))) == [frame]


def test_texts_beside_count_for_the_limit_of_a_frame() -> None:
    with pytest.raises(FrameError, match="over the limit"):
        encode({"t": "call", "args": {"prompts": [LONGEST, LONGEST]}})
    with pytest.raises(FrameError, match="over the limit"):
        decoded((BESIDE | (codec.MAX_FRAME + 1)).to_bytes(4, "big"))


CALL = b'{"t":"call","args":{"one":null,"some":["a",null]}}'
NO_TEXTS = {
    "longer than what came": beside(b"[" + CALL + b',{"one":4}]', b"abc"),
    "shorter than what came": beside(b"[" + CALL + b',{"one":2}]', b"abc"),
    "none at all": beside(b"[" + CALL + b",{}]", b"abc"),
    "of a negative length": beside(b"[" + CALL + b',{"one":-3}]', b"abc"),
    "of no length": beside(b"[" + CALL + b',{"one":0}]', b""),
    "of a length that is true": beside(b"[" + CALL + b',{"one":true}]', b"a"),
    "of a length that is no number": beside(b"[" + CALL + b',{"one":"3"}]', b"abc"),
    "of a huge length": beside(b"[" + CALL + b',{"one":' + b"9" * 1_000 + b"}]", b"abc"),
    "no UTF-8": beside(b"[" + CALL + b',{"one":3}]', b"a\xff\xfe"),
    "cut in the middle of a character": beside(b"[" + CALL + b',{"some":[1,1]}]', "é".encode()),
    "of a list of another length": beside(b"[" + CALL + b',{"some":[3]}]', b"abc"),
    "of a list that is none": beside(b"[" + CALL + b',{"one":[3]}]', b"abc"),
    "of a list that there is not": beside(b"[" + CALL + b',{"other":[3]}]', b"abc"),
    "in lists of lists": beside(b"[" + CALL + b',{"some":[0,[3]]}]', b"abc"),
    "lengths that are none": beside(b"[" + CALL + b",[3]]", b"abc"),
    "of no arguments": beside(b'[{"t":"call"},{"one":3}]', b"abc"),
    "of arguments that are none": beside(b'[{"t":"call","args":[1]},{"one":3}]', b"abc"),
    "of no frame": beside(b'[1,{"one":3}]', b"abc"),
    "of a frame without a type": beside(b'[{"args":{}},{"one":3}]', b"abc"),
    "of nothing": beside(b"[]", b"abc"),
    "of a frame alone": beside(CALL, b"abc"),
    "of two frames": beside(b"[" + CALL + b"," + CALL + b",{}]", b""),
    "with JSON longer than the frame": beside(b"[" + CALL + b",{}]", b"abc", length=1 << 31),
    "no JSON": beside(b"", b"abc"),
    "nothing": BESIDE.to_bytes(4, "big"),
}


@pytest.mark.parametrize("stream", NO_TEXTS.values(), ids=NO_TEXTS)
def test_texts_that_are_none_are_no_frame(stream: bytes) -> None:
    with pytest.raises(FrameError, match="not a frame"):
        decoded(stream)
    with pytest.raises(FrameError, match="not a frame"):
        decoded(encode({"t": "x"}) + stream, [9, 20])


FLOODS = {
    "short texts": b'"ab",' * 12_000_000 + b"1",
    "small numbers": b"1," * 30_000_000 + b"1",
    "fractions": b"1.5," * 12_000_000 + b"1",
    "lists": b"[]," * 2_000_000 + b"1",
    "texts of one backslash": b'"\\\\",' * 9_000_000 + b"1",
}


@pytest.mark.parametrize("body", FLOODS.values(), ids=FLOODS)
def test_what_would_take_far_more_memory_than_its_bytes_is_not_built(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "_read", lambda *_, **__: pytest.fail("it is parsed"))
    with pytest.raises(FrameError, match="more than"):
        decoded(framed(b'{"t":"x","value":[' + body + b"]}"))
    with pytest.raises(FrameError, match="more than"):
        decoded(beside(b'[{"t":"x","args":{}},{"a":[' + body + b"]}]", b""))


@pytest.mark.parametrize("text", ["a,b\n", "[{", '"', "\\", '",'])
def test_text_may_be_full_of_what_structures_frames(text: str) -> None:
    frame = {"t": "x", "value": text * 3_000_000}
    assert decoded(encode(frame)) == [frame]


def test_what_is_too_much_to_take_is_not_sent() -> None:
    with pytest.raises(FrameError, match="more than"):
        encode({"t": "x", "value": [0] * (codec.MAX_VALUES + 1)})
    with pytest.raises(FrameError, match="more than"):
        encode({"t": "x", "value": [[]] * (codec.MAX_PARTS + 1)})


# -- the worker's own side of the stream ---------------------------------------------------------


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    before = signal.getsignal(signal.SIGINT)
    yield Interrupts()
    signal.signal(signal.SIGINT, before)


def _hung_up() -> NoReturn:
    raise AssertionError("the other end is still there")


REPLY = st.fixed_dictionaries(
    {"t": st.sampled_from(["reply", "documents"])},
    optional={"id": st.none() | st.integers() | TEXT, "value": VALUE, "error": VALUE},
)


@PATIENT
@given(st.lists(REPLY, max_size=5))
@example([{"t": "reply", "id": None, "value": 1}])
def test_replies_that_nobody_waits_for_change_nothing(replies: list[Frame]) -> None:
    calls = Calls.__new__(Calls)
    calls._pending, calls._parts = {}, {}
    assert not any(calls.settle(reply) for reply in replies)
    assert not calls.pending()


def test_a_reply_in_parts_is_one_list_and_an_error_after_parts_is_an_error() -> None:
    calls = Calls.__new__(Calls)
    got: list[Frame] = []
    calls._pending, calls._parts = {1: got.append, 2: got.append}, {}
    for frame in (
        {"t": "part", "id": 1, "value": [1, 2]},
        {"t": "part", "id": 2, "value": [8]},
        {"t": "part", "id": 1, "value": [3]},
        {"t": "reply", "id": 1, "value": [4]},
        {"t": "reply", "id": 2, "error": {"type": "CallError", "message": "no"}},
    ):
        assert calls.settle(frame)
    assert got[0]["value"] == [1, 2, 3, 4]
    assert "error" in got[1]
    assert not calls._parts


def test_a_call_whose_arguments_are_no_frame_is_not_pending_after_it(
    interrupts: Interrupts,
) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        channel = Channel(theirs.detach(), interrupts, _hung_up)
        calls = Calls(channel, Reception(channel, interrupts))
        for wrong in ({1, 2}, math.nan, [0] * (codec.MAX_VALUES + 1), 10**5000):
            with pytest.raises((TypeError, ValueError)):
                calls.ask("tool", {"value": wrong})
        assert not calls.pending()
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        channel._socket.close()


def test_the_worker_takes_nothing_after_what_is_no_frame(interrupts: Interrupts) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        channel = Channel(theirs.detach(), interrupts, _hung_up)
        ours.sendall(framed(b"[1]") + encode({"t": "run", "cell": 1, "code": "1"}))
        with pytest.raises(FrameError, match="no type"):
            channel.read()
        channel._socket.close()


@PATIENT
@given(VALUE)
def test_a_value_is_written_again_as_it_was_read(value: Any) -> None:
    """So a text tells whether somebody has changed the value that was read from it."""
    text = codec.write_value(value)
    assert codec.read_value(text) == value
    assert codec.write_value(codec.read_value(text)) == text
