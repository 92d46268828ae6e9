"""A stub's script with faults mixed in, at exact rates."""

from __future__ import annotations

import random
from collections import Counter

from support.stub import Action, Drop, Hang, Reply, Script, Status, StubRequest


class Faulty:
    """``script``, where of each ``block`` requests so many per cent fail, in an order by ``seed``.

    20 % are refused with a 429 and Retry-After, 5 % fail with a 500, 2 % are dropped, 1 % never
    answered (but no request twice, since half of its call's time is gone then). ``seen`` counts
    what became of the requests, by the kind of the action.
    """

    def __init__(
        self, script: Script, *, seed: int = 1, retry_after: str = "0.05", latency: float = 0.0
    ) -> None:
        self.seen: Counter[str] = Counter()
        self._script = script
        self._chance = random.Random(seed)
        self._faults: list[Action | None] = []
        self._latency = latency
        self._hung: set[bytes] = set()
        self._each: list[Action | None] = [
            *[Status(429, "slow down", {"Retry-After": retry_after})] * 20,
            *[Status(500, "oops")] * 5,
            Drop(),
            Drop(40),
            Hang(),
            *[None] * 72,
        ]

    def __call__(self, request: StubRequest) -> Action | str:
        if not self._faults:
            self._faults = self._each[:]
            self._chance.shuffle(self._faults)
        fault = self._faults.pop()
        if isinstance(fault, Hang):
            fault = None if request.raw in self._hung else fault
            self._hung.add(request.raw)
        if fault is not None:
            self.seen[str(fault.code) if isinstance(fault, Status) else type(fault).__name__] += 1
            return fault
        self.seen["Reply"] += 1
        said = self._script(request)
        return Reply(said, latency=self._latency) if isinstance(said, str) else said
