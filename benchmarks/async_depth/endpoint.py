"""The simulated endpoint: the tests' stub by the published law, in a process of its own.

The process is this file run as a script; :class:`Simulated` is the other end of its pipe. The stub
is real HTTP over loopback sockets; what is simulated is when it answers, and what.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.async_depth import programs
from benchmarks.async_depth.law import Behaviour, Law, cached, dollars
from benchmarks.pipe import Piped

if TYPE_CHECKING:
    from support.stub import Action, StubRequest

MODEL = "gpt-4.1-mini"
"""The name by which the engine knows window and price."""


class Bill(msgspec.Struct):
    """What came, and what was answered. ``first`` is ``time.monotonic()`` of the first request."""

    requests: int = 0
    replies: int = 0
    leaves: int = 0
    """Of the replies, those to plain sub-calls."""
    refused: int = 0
    failed: int = 0
    read: int = 0
    read_cached: int = 0
    written: int = 0
    dollars: float = 0.0
    """By the published price, the provider's cache not counted."""
    dollars_cached: float = 0.0
    """The same where its cache holds all prefixes that it could."""
    most_at_once: int = 0
    first: float = 0.0


class Order(msgspec.Struct, frozen=True):
    """From now on behave like this. ``scale``: seconds of the world in a second here."""

    behaviour: Behaviour
    seed: int
    scale: float


class Simulated(Piped):
    """The server, from entering to leaving."""

    def __init__(self) -> None:
        super().__init__(__file__)
        self._begun = 0

    def begin(self, order: Order) -> str:
        """Behave so; the base URL, another each time: the engine then knows nothing of it yet."""
        self.order(msgspec.to_builtins(order))
        self._begun += 1
        return f"http://127.0.0.1:{self.port}/{self._begun}/v1"

    def take(self) -> Bill:
        """What came since it began."""
        return msgspec.convert(self.order("take"), type=Bill)


class Desk:
    """Decides about each request, and keeps the bill."""

    def __init__(self, order: Order) -> None:
        self.bill = Bill()
        self._scale = order.scale
        self._law = Law(order.behaviour, order.seed)
        self._began = time.monotonic()
        self._systems: set[str] = set()

    def answer(self, request: StubRequest) -> Action:
        """The stub's action for a request."""
        from support.stub import Reply, Status, count_tokens

        bill, messages = self.bill, request.messages
        bill.requests += 1
        bill.first = bill.first or request.arrived
        text = programs.reply(messages)
        sizes = [count_tokens(str(each["content"])) for each in messages]
        read, written = sum(sizes), count_tokens(text)
        now = (time.monotonic() - self._began) * self._scale
        verdict = self._law.decide(now, identity(messages), read, written)
        seconds = verdict.seconds / self._scale
        if verdict.kind == "refused":
            bill.refused += 1
            wait = {"retry-after-ms": f"{verdict.wait / self._scale * 1000:.3f}"}
            return Status(429, "too many requests (simulated)", wait, seconds)
        if verdict.kind == "failed":
            bill.failed += 1
            return Status(500, "a failure (simulated)", latency=seconds)
        known = cached(read, self._known(messages, sizes))
        bill.replies += 1
        bill.leaves += messages[0]["role"] != "system"
        bill.read += read
        bill.read_cached += known
        bill.written += written
        bill.dollars += dollars(read, 0, written)
        bill.dollars_cached += dollars(read, known, written)
        return Reply(text, latency=seconds, cached=known)

    def _known(self, messages: list[dict[str, Any]], sizes: list[int]) -> int:
        """Tokens of the longest beginning that came before: of the conversation, or of its rules.

        A conversation only grows, by a reply and a message each turn.
        """
        if messages[0]["role"] != "system":
            return 0
        if len(messages) > 2:
            return sum(sizes[:-2])
        system = str(messages[0]["content"])
        seen = system in self._systems
        self._systems.add(system)
        return sizes[0] if seen else 0


def identity(messages: list[dict[str, Any]]) -> str:
    """What a request is known by, whichever run it belongs to.

    A node's messages tell of the time that was used; its question and turn do not.
    """
    if messages[0]["role"] == "system":
        return f"{messages[1]['content'].rpartition('Question:')[2]}/{len(messages)}"
    return hashlib.sha256(str(messages[-1]["content"]).encode()).hexdigest()


def serve() -> None:
    """The server's process: orders come as lines on stdin, its end is the order to end."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
    from support.stub import Stub

    desk: Desk | None = None

    def script(request: StubRequest) -> Action:
        assert desk is not None
        return desk.answer(request)

    with Stub(script) as stub:
        print(stub.port, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            if asked == "take":
                assert desk is not None
                desk.bill.most_at_once = stub.max_concurrent
                print(msgspec.json.encode(desk.bill).decode(), flush=True)
            else:
                desk = Desk(msgspec.convert(asked, type=Order))
                stub.requests.clear()
                stub.max_concurrent = 0
                print(json.dumps(True), flush=True)


if __name__ == "__main__":
    serve()
