"""Sums of each kind, in the units of the ledger."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from abyme.types import Usage

KINDS = ("calls", "tokens", "input_tokens", "output_tokens", "cost")
CALLS, TOKENS, INPUT, OUTPUT, COST = range(len(KINDS))
NANO = 1_000_000_000

Sums = tuple[int, int, int, int, int]
"""One number of each kind, in the order of ``KINDS``; cost in nano-dollars."""
NOTHING: Sums = (0, 0, 0, 0, 0)


class Amount(msgspec.Struct, frozen=True):
    """What a call may cost at most. ``output_tokens`` is the part of ``tokens`` that the reply
    may use; ``cost`` is in US dollars, None where the price is not known."""

    tokens: int = 0
    cost: float | None = 0.0
    calls: int = 0
    output_tokens: int = 0

    def __post_init__(self) -> None:
        if min(self.tokens, self.calls, self.output_tokens) < 0 or (self.cost or 0) < 0:
            raise ValueError(f"an amount cannot be negative: {self}")
        if self.output_tokens > self.tokens:
            raise ValueError(f"output tokens are part of the tokens: {self}")

    @property
    def sums(self) -> Sums:
        """It, in the ledger's units."""
        tokens, output = self.tokens, self.output_tokens
        return (self.calls, tokens, tokens - output, output, nano(self.cost))


class Spent(msgspec.Struct, frozen=True):
    """What a node had spent when it was left: an account that goes on begins with it.

    ``cost`` is in US dollars, of the calls whose price was known; ``unpriced`` are the others.
    """

    usage: Usage = Usage()
    cost: float = 0.0
    unpriced: int = 0
    seconds: float = 0.0
    turns: int = 0

    @property
    def sums(self) -> Sums:
        """What was spent of each kind."""
        return used(self.usage, self.cost)


def used(usage: Usage, cost: float | None) -> Sums:
    """A usage and its cost in US dollars (None: unknown), in the ledger's units."""
    return (usage.calls, usage.tokens, usage.input_tokens, usage.output_tokens, nano(cost))


def nano(cost: float | None) -> int:
    """US dollars as nano-dollars; what is not known adds nothing."""
    return round((cost or 0.0) * NANO)


def nano_limit(cost: float | None) -> int | None:
    """A limit on dollars as nano-dollars; None is no limit."""
    return None if cost is None or math.isinf(cost) else nano(cost)


def shown(kind: int, value: int) -> str:
    """``1,234`` or ``$0.05``."""
    return f"${value / NANO:,.4f}".rstrip("0").rstrip(".") if kind == COST else f"{value:,}"


def each(do: Callable[[int, Any], Any], one: Sums, other: tuple[Any, ...]) -> Sums:
    """``do`` with two numbers of each kind."""
    calls, tokens, prompt, output, cost = map(do, one, other)
    return (calls, tokens, prompt, output, cost)


def add(sums: list[int], more: Sums, times: int = 1) -> None:
    """Add ``more`` to ``sums`` in place, so many times."""
    for kind, value in enumerate(more):
        sums[kind] += times * value
