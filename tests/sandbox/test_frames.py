"""Frames of the right shape with anything in them, at the host's end; and what cannot be framed.

The worker is this test: it writes what it likes into a real socket. The host must take it, or end
the worker with a reason; it must not raise out of its event loop, nor wait for more.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.context.load import load
from abyme.inside import codec
from abyme.inside.codec import Decoder, Frame, FrameError, encode
from abyme.sandbox import answering
from abyme.sandbox.channel import Channel
from abyme.sandbox.child import StartedChild
from abyme.sandbox.worker import Worker
from support.repl import TestHost, run_cell, run_cells

TYPES = [
    "ready",
    "refused",
    "out",
    "call",
    "documents",
    "done",
    "looked",
    "run",
    "bind",
    "bound",
    "x",
]
FIELDS = [
    *("cell", "ended", "output", "output_chars", "variables", "notes", "seconds", "cpu_seconds"),
    *("peak_bytes", "draft", "error", "finish", "text", "id", "name", "args", "index", "count"),
    *("layers", "reason"),
]
DONE: Frame = {
    "t": "done", "cell": 1, "ended": "done", "output": "", "output_chars": 0, "variables": [],
    "notes": [], "seconds": 0, "cpu_seconds": 0, "peak_bytes": 0,
}  # fmt: skip
ODD = st.sampled_from(
    [-1, 0, 1, 2, 1 << 53, 1 << 63, 1 << 64, -(1 << 63) - 1, 10**400, 10**4299, 0.5, 1e300, -0.0]
)
TEXT = st.text(st.characters(codec=None), max_size=20)  # lone surrogates too
WORD = st.sampled_from(["done", "0"])
PLAIN = st.none() | st.booleans() | st.integers() | ODD | TEXT | WORD
VALUE = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=6
)
FINISH = st.fixed_dictionaries(
    {"value": VALUE, "text": PLAIN, "via": PLAIN},
    optional={
        "quotes": st.lists(
            st.fixed_dictionaries(
                dict.fromkeys(["text", "document", "start", "end", "line"], PLAIN)
            ),
            max_size=2,
        )
    },
)
FRAME = st.builds(
    lambda kind, base, fields, finish: {**base, **fields, **finish, "t": kind},
    st.sampled_from(TYPES),
    st.just({}) | st.just(DONE),
    st.dictionaries(st.sampled_from(FIELDS) | TEXT, VALUE, max_size=6),
    st.just({}) | st.builds(lambda finish: {"finish": finish}, FINISH),
)


class Came(NamedTuple):
    """What became of a host to which frames were sent, and then an honest ``done``."""

    ended: str
    said: str
    errors: Sequence[str]


async def _sent(frames: Sequence[Frame], folder: Path) -> Came:
    errors: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(repr(context.get("exception"))))
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    child = _sleeper()
    data = load({"a": "text", "b": "more"}, folder=folder)
    worker = Worker(child, ours, {"t": "hello"}, data, TestHost(), 0.1)
    try:
        running = asyncio.create_task(worker.run(1, "1", 30))
        await asyncio.sleep(0)
        stream = b"".join(encode(each) for each in (*frames, DONE))
        reading = asyncio.create_task(_read_all(theirs))
        try:
            await loop.sock_sendall(theirs, stream)
        except (BrokenPipeError, ConnectionResetError):
            assert not worker.alive
        result = await asyncio.wait_for(running, 20)
        reading.cancel()
    finally:
        theirs.close()
        await worker.close()
    message = "" if result.error is None else result.error.message
    return Came(result.ended, message, errors)


def _sleeper() -> StartedChild:
    """The process that the host takes for the worker's."""
    output, written = os.pipe()
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    process = subprocess.Popen(command, stdout=written, start_new_session=True)
    os.close(written)
    return StartedChild(process, output)


async def _read_all(end: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(end, 1 << 16):
        pass


def sent(*frames: Frame) -> Came:
    with tempfile.TemporaryDirectory(prefix="abyme-") as folder:
        return asyncio.run(_sent(frames, Path(folder)))


@settings(deadline=None, max_examples=150)
@given(st.lists(FRAME, min_size=1, max_size=4))
def test_a_host_takes_frames_of_any_content_or_ends_their_worker(frames: list[Frame]) -> None:
    came = sent(*frames)
    assert not came.errors
    assert came.ended != "died" or came.said


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_has_not_is_an_error_in_the_cell_that_sends_or_gets_it(
    number: float, tmp_path: Path
) -> None:
    host = TestHost({"budget": lambda _: {"left": number}, "llm_query": lambda _: "x"})
    code = (
        "try: budget()\nexcept CallError as error: print(error)\n"
        "try: llm_query('x', model=float('nan'))\nexcept ValueError as error: print(error)"
    )
    results = run_cells(tmp_path, [code, "print('alive')"], host=host)
    assert "cannot be handed to the REPL" in results[0].output
    assert results[0].output.count("not JSON compliant") == 2
    assert results[1].output == "alive\n"


def test_an_answer_too_large_for_a_frame_is_an_error_in_its_cell(tmp_path: Path) -> None:
    cells = ["FINAL('\U0001f600' * 15_900_000)", "print('alive')"]
    results = run_cells(tmp_path, cells)
    assert results[0].ended == "raised" and results[0].finish is None
    assert results[0].error is not None and "over the limit" in results[0].error.message
    assert results[1].output == "alive\n"


def test_an_answer_of_too_many_values_is_an_error_in_its_cell(tmp_path: Path) -> None:
    result = run_cell(tmp_path, "FINAL([1] * 2_500_000)")
    assert result.ended == "raised"
    assert result.error is not None and "more than 2,000,000 values" in result.error.message


def test_names_that_are_no_texts_do_not_end_the_worker(tmp_path: Path) -> None:
    results = run_cells(tmp_path, ["globals()[5] = globals()[None] = 1", "x = globals()[5]"])
    assert [result.ok for result in results] == [True, True]
    assert [variable.name for variable in results[1].variables] == ["x"]


def test_descriptors_that_a_worker_sends_along_are_never_the_hosts(tmp_path: Path) -> None:
    async def main() -> tuple[int, list[Frame]]:
        ours, theirs = socket.socketpair()
        frames: list[Frame] = []
        channel = Channel(ours, frames.append, lambda reason: None)
        before = _descriptors()
        socket.send_fds(theirs, [encode({"t": "x"})], [0] * 100)
        await asyncio.sleep(0.05)
        grown = _descriptors() - before
        channel.close()
        theirs.close()
        return grown, frames

    assert asyncio.run(main()) == (0, [{"t": "x"}])


def _descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_arguments_in_flight_are_bounded_by_their_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(arguments: dict[str, Any]) -> str:
        await asyncio.sleep(0.2)
        return "answered"

    monkeypatch.setattr(answering, "MAX_CHARACTERS_IN_FLIGHT", 10_000)
    code = (
        "import concurrent.futures\n"
        "def ask(_):\n"
        "    try: return llm_query('x' * 4_000)\n"
        "    except CallError as error: return str(error)\n"
        "with concurrent.futures.ThreadPoolExecutor(5) as pool:\n"
        "    said = sorted(pool.map(ask, range(5)))\n"
        "print(said.count('answered'), said[-1])"
    )
    result = run_cell(tmp_path, code, host=TestHost({"llm_query": slow}))
    assert result.output == "2 calls in flight hold over 10,000 characters: wait\n"


def test_a_decoder_keeps_no_more_than_a_frame() -> None:
    decoder = Decoder(max_frame=1000)
    one = encode({"t": "x", "value": "y" * 900})
    for _ in range(1000):
        assert len(list(decoder.feed(one))) == 1
    assert not decoder._buffer
    with pytest.raises(FrameError):
        list(decoder.feed(b"\xff" * 100_000))
    assert codec.MAX_FRAME == 64 << 20
