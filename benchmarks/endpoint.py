"""The model server of the benchmarks: the tests' stub in a process of its own.

Its clock is ``time.monotonic``, which is one clock for all processes of a machine: when a request
arrived can be compared with when the client's process was started.

The server is this file run as a script; :class:`Endpoint` is the other end of its pipe.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.pipe import Piped

ROOT = "root"
"""The name of the model that gets the scripted replies; any other gets ``SUB_REPLY``."""
SUB = "sub"
FAULTS = (0.20, 0.05, 0.02, 0.01)
"""How often, where faults are asked for: 429 with Retry-After, 500, a reset connection, silence."""
SUB_REPLY = "An answer of a few words, as a sub-model gives one."


class Arrival(NamedTuple):
    """A request as the server saw it; ``at`` is ``time.monotonic()`` when it had come whole."""

    at: float
    model: str
    body: dict[str, Any]


class Endpoint(Piped):
    """The server, from entering to leaving."""

    def __init__(self) -> None:
        super().__init__(__file__)

    @property
    def url(self) -> str:
        """The base URL, as ``RLM(base_url=…)`` takes it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def play(
        self,
        replies: Sequence[str],
        *,
        sub_latency: float = 0.0,
        root_latency: float = 0.0,
        echo: bool = False,
        faults: bool = False,
        children: tuple[str, Sequence[str]] | None = None,
        child_latency: float | None = None,
    ) -> None:
        """From now on the root says ``replies`` in order, the sub-model answers so much later.

        With ``echo`` the sub-model says its prompt again. With ``faults`` it fails as often as
        :data:`FAULTS` says, each time in the same order. ``children``: what models say in
        order, ``child_latency`` later, which is ``sub_latency`` where it is not said, in
        conversations whose question has these words in it.
        Forgets the requests that have come so far.
        """
        self.order(
            {
                "replies": list(replies),
                "sub_latency": sub_latency,
                "root_latency": root_latency,
                "echo": echo,
                "faults": faults,
                "children": children,
                "child_latency": sub_latency if child_latency is None else child_latency,
            }
        )

    def take(self) -> list[Arrival]:
        """The requests since the last :meth:`play` or :meth:`take`, in order of arrival."""
        return [Arrival(*arrival) for arrival in self.order("take")]


def serve() -> None:
    """The server's process: orders come as lines on stdin, its end is the order to end."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from support.stub import Action, Drop, Hang, Reply, Status, Stub, StubRequest

    too_many = Status(429, headers={"Retry-After": "1"})
    faults: tuple[Action, ...] = (too_many, Status(500), Drop(), Hang())
    order: dict[str, Any] = {}
    chance = random.Random()

    def script(request: StubRequest) -> Action:
        turn = sum(message["role"] == "assistant" for message in request.messages)
        if order["children"] is not None and len(request.messages) > 1:
            words, replies = order["children"]
            if words in request.messages[1]["content"]:
                return Reply(replies[turn], latency=order["child_latency"])
        if request.body["model"] != ROOT:
            drawn = chance.random() if order["faults"] else 1.0
            for share, fault in zip(FAULTS, faults, strict=True):
                if drawn < share:
                    return fault
                drawn -= share
            said = request.prompt if order["echo"] else SUB_REPLY
            return Reply(said, latency=order["sub_latency"])
        return Reply(order["replies"][turn], latency=order["root_latency"])

    with Stub(script) as stub:
        print(stub.port, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            arrivals = stub.requests[:]
            stub.requests.clear()
            if asked == "take":
                print(json.dumps([(r.arrived, r.body["model"], r.body) for r in arrivals]))
            else:
                order = asked
                chance.seed(1)
                print("true")
            sys.stdout.flush()


if __name__ == "__main__":
    serve()
