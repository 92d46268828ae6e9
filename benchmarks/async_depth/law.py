"""How the simulated endpoint behaves: how long a call takes, what is refused, and until when.

Pure, and in seconds of the simulated world; the server beside it scales them. What is drawn for a
request depends on the seed, the request's text and how often it has come, and on nothing else: so
two programs that send the same prompts in another order get the same draws.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from typing import Literal

import msgspec

from benchmarks.async_depth import published

REFUSAL_SECONDS = 0.1
"""How soon a refusal comes."""
BURST_SECONDS = 10.0
"""Of a minute's limit, how much may come at once: our assumption, between a second and a minute."""
LEAST_WAIT = 0.05


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What is published of an endpoint and its account. None: no such limit."""

    name: str
    spread: float = published.SPREAD
    refused: float = 0.0
    """Share of requests that are refused whatever their rate."""
    failed: float = published.FAILED
    requests_a_minute: int | None = None
    tokens_a_minute: int | None = None
    places: int | None = None
    """Calls that it works on at once; others wait in its queue."""


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a request, ``seconds`` after it came; ``wait``: when it may come again."""

    kind: Literal["reply", "refused", "failed"]
    seconds: float
    wait: float = 0.0


class Bucket:
    """A limit of so many a minute, filled evenly; it starts full."""

    def __init__(self, a_minute: int) -> None:
        self._rate = a_minute / 60
        self._room = self._rate * BURST_SECONDS
        self._left = self._room
        self._at = 0.0

    def wait_for(self, amount: float, now: float) -> float:
        """Seconds until so much is left; more than the bucket holds waits for it to be full."""
        self._left = min(self._room, self._left + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (min(amount, self._room) - self._left) / self._rate)

    def take(self, amount: float) -> None:
        """Use so much of it."""
        self._left -= amount


class Law:
    """One endpoint from its first request on."""

    def __init__(self, behaviour: Behaviour, seed: int) -> None:
        self._behaviour = behaviour
        self._seed = seed
        self._came: Counter[str] = Counter()
        self._requests = _bucket(behaviour.requests_a_minute)
        self._tokens = _bucket(behaviour.tokens_a_minute)
        self._free = [0.0] * (behaviour.places or 0)

    def decide(self, now: float, text: str, read: int, written: int) -> Verdict:
        """What becomes of a request of ``read`` tokens whose reply would have ``written``."""
        self._came[text] += 1
        chance = random.Random(f"{self._seed}/{self._came[text]}/{text}")
        seconds = typical_seconds(read, written)
        seconds *= math.exp(self._behaviour.spread * chance.gauss(0, 1))
        limits = ((self._requests, 1), (self._tokens, read + written))
        wait = max((each.wait_for(size, now) for each, size in limits if each), default=0.0)
        if wait > 0:
            return Verdict("refused", REFUSAL_SECONDS, max(wait, LEAST_WAIT))
        luck = chance.random()
        if luck < self._behaviour.refused:
            return Verdict("refused", REFUSAL_SECONDS, 1.0)
        for each, size in limits:
            if each:
                each.take(size)
        if self._free:  # first come, first served
            begins = max(now, heapq.heappop(self._free))
            heapq.heappush(self._free, begins + seconds)
            seconds += begins - now
        if luck < self._behaviour.refused + self._behaviour.failed:
            return Verdict("failed", seconds)
        return Verdict("reply", seconds)


def typical_seconds(read: int, written: int) -> float:
    """The median of a call's seconds: the first token, the prompt, the reply."""
    first = published.FIRST_TOKEN + read * published.PROMPT_SECONDS
    return first + written / published.TOKENS_A_SECOND


def cached(read: int, prefix: int) -> int:
    """Of ``read`` tokens, those that a provider's cache has where ``prefix`` came before."""
    if prefix < published.CACHED_FROM:
        return 0
    return min(read, prefix // published.CACHED_IN * published.CACHED_IN)


def dollars(read: int, cached: int, written: int) -> float:
    """What tokens cost, by the published price."""
    fresh, again, out = published.PRICE
    return ((read - cached) * fresh + cached * again + written * out) / 1e6


HOSTED = Behaviour(name="hosted, no limit met")
"""An account so large that its limits are never met. 5xx it meets all the same."""
UNEVEN = msgspec.structs.replace(HOSTED, name="hosted, uneven", spread=published.WIDE_SPREAD)
REFUSING = msgspec.structs.replace(
    HOSTED, name="1.7 % refused at random", refused=published.REFUSED
)
REFUSING_MUCH = msgspec.structs.replace(
    HOSTED, name="21 % refused at random", refused=published.REFUSED_MUCH
)
OWN = Behaviour(name="own server, 32 places", failed=0.0, places=32)


def tier(number: int) -> Behaviour:
    """A hosted account of this tier."""
    requests, tokens = published.TIERS[number]
    return Behaviour(
        name=f"tier {number}",
        requests_a_minute=requests,
        tokens_a_minute=tokens,
    )


def _bucket(a_minute: int | None) -> Bucket | None:
    return None if a_minute is None else Bucket(a_minute)
