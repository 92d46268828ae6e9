"""A batch that is asked in pieces: in order, some ahead of the others, nothing lost."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from abyme.inside.calls import Calls
from abyme.inside.channel import Channel
from abyme.inside.codec import Decoder, Frame
from abyme.inside.functions import model_calls
from abyme.inside.interrupts import Interrupts
from abyme.inside.reception import Reception
from abyme.inside.results import BudgetExceeded, CallError, Failed, joined

SECONDS = 30


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    before = signal.getsignal(signal.SIGINT)
    yield Interrupts()
    signal.signal(signal.SIGINT, before)


def hung_up() -> NoReturn:
    raise AssertionError("the host hung up")


def refusal(message: str) -> Frame:
    return {"error": {"type": "BudgetExceeded", "message": message}}


def test_pieces_are_asked_in_order_and_before_the_first_is_answered(
    interrupts: Interrupts,
) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(SECONDS)
    with ours:
        channel = Channel(theirs.detach(), interrupts, hung_up)
        calls = Calls(channel, Reception(channel, interrupts))
        got: list[Any] = []
        batched = model_calls(calls)["llm_query_batched"]
        prompts = [str(number) * 5_000_000 for number in range(9)]  # two fit a piece
        asking = threading.Thread(target=lambda: got.extend(batched(prompts)), daemon=True)
        asking.start()
        decoder, frames = Decoder(), list[Frame]()

        def read_until(count: int) -> None:
            while len(frames) < count:
                frames.extend(decoder.feed(ours.recv(1 << 20)))

        read_until(3)  # none is answered yet
        ours.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ours.recv(1)
        ours.settimeout(SECONDS)
        for index in (1, 2, 0):
            calls.settle({"t": "reply", "id": frames[index]["id"], **reply_to(frames[index])})
        read_until(5)
        calls.settle({"t": "reply", "id": frames[3]["id"], **refusal("no calls are left")})
        calls.settle({"t": "reply", "id": frames[4]["id"], **reply_to(frames[4])})
        asking.join(SECONDS)
        asked = [prompt[0] for frame in frames for prompt in frame["args"]["prompts"]]
        assert asked == [str(number) for number in range(9)]
        assert got[:6] == ["0", "1", "2", "3", "4", "5"]
        assert [type(item) for item in got[6:8]] == [Failed, Failed]
        assert isinstance(got[6].error, BudgetExceeded)
        assert got[8] == "8"
        assert not calls.pending()
        channel._socket.close()


def reply_to(frame: Frame) -> Frame:
    return {"value": [{"value": prompt[0]} for prompt in frame["args"]["prompts"]]}


def test_a_batch_of_which_every_piece_failed_fails() -> None:
    with pytest.raises(CallError, match="the first"):
        joined([refusal("the first"), refusal("the second")], [2, 1])
    assert joined([], []) == []
