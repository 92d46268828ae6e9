"""The parts of the study: which trials each is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.async_depth import law
from benchmarks.async_depth.law import Behaviour
from benchmarks.async_depth.programs import PART
from benchmarks.async_depth.published import WINDOW
from benchmarks.async_depth.trial import Plan

WORK = 10.0
"""Seconds of computing in a cell, in the ways of asking."""
AT_ONCE = 16
"""The width that implementations fix."""
_REPEATED = {("sequential", 64): 3, ("sequential", 256): 1}
"""Seeds of what takes long; of all else of that part five."""
WAYS = ("sequential", "batched", "gathered", "jobs")
BRANCHINGS = (1, 2, 4, 8, 16)
DEEPEST = 4
MOST_LEAVES = 4_096
EQUAL = {
    8: {1: 8, 3: 2},
    64: {1: 64, 2: 8, 3: 4},
    256: {1: 256, 2: 16, 4: 4},
    4_096: {1: 4_096, 2: 64, 3: 16, 4: 8},
}
"""Trees of equally many leaves: the branching by depth."""
SIZES = tuple(10**power for power in range(5, 10))
_TOKENS_OF_A_PART = PART // 4


def scales(quick: bool) -> Iterator[Plan]:
    """The same batch at several scales: where do the engine's own costs begin to show?"""
    calls = (64, 8) if quick else (64, 1_024)
    for scale in (50.0, 100.0) if quick else (5.0, 10.0, 20.0, 40.0):
        for seed in seeds(3, quick):
            for count, width in zip(calls, (AT_ONCE, None), strict=True):
                yield ask(
                    "scales", "batched", count, law.HOSTED, scale=scale, seed=seed, width=width
                )


def ways(quick: bool) -> Iterator[Plan]:
    """One by one, batched, gathered, as jobs; then 10 s of computing in the next cell."""
    scale = 100.0 if quick else 20.0
    counts = (8,) if quick else (16, 64, 256)
    for way in WAYS:
        for count in counts:
            repeated = _REPEATED.get((way, count), 5)
            for seed in seeds(repeated, quick):
                yield ask("ways", way, count, law.HOSTED, scale=scale, seed=seed, work=WORK)
    for way in WAYS if not quick else ():
        for seed in seeds(1 if way == "sequential" else 5, quick):
            yield ask("ways", way, 64, law.UNEVEN, scale=scale, seed=seed, work=WORK)


def widths(quick: bool) -> Iterator[Plan]:
    """A batch at six endpoints: 16 at once, 64 at once, and as the engine finds out."""
    cases: Iterable[tuple[Behaviour, int]] = (
        (law.HOSTED, 512),
        (law.tier(2), 384),
        (law.tier(1), 128),
        (law.OWN, 256),
        (law.REFUSING, 256),
        (law.REFUSING_MUCH, 64),
    )
    for behaviour, count in cases:
        scale = 10.0 if count > 128 and behaviour is not law.REFUSING else 20.0
        for width in (AT_ONCE, 64, None):
            for seed in seeds(3, quick):
                yield ask(
                    "widths",
                    "batched",
                    16 if quick else count,
                    behaviour,
                    scale=100.0 if quick else scale,
                    seed=seed,
                    width=width,
                )


def depths(quick: bool) -> Iterator[Plan]:
    """All trees of up to 4,096 leaves with these branchings; then trees with as many leaves."""
    most = 8 if quick else MOST_LEAVES
    shapes = [(0, 1), *((d, b) for b in BRANCHINGS for d in range(1, DEEPEST + 1) if b**d <= most)]
    for leaves, by_depth in EQUAL.items():
        if leaves <= most:
            shapes += [(0, leaves), *by_depth.items()]
    for depth, branching in dict.fromkeys(shapes):
        largest = depth > 0 and branching**depth == MOST_LEAVES
        for seed in seeds(2 if largest else 3, quick):
            if (plan := tree(depth, branching, seed, quick)) is not None:
                yield plan


def tree(depth: int, branching: int, seed: int, quick: bool) -> Plan | None:
    """A tree; at depth 0 one prompt with ``branching`` parts, None where no window holds it."""
    leaves = branching**depth if depth else branching
    if depth == 0 and leaves * _TOKENS_OF_A_PART >= WINDOW:
        return None
    settings: dict[str, Any] = {"program": "whole"}
    if depth:
        settings = {"program": "tree", "depth": depth, "branching": branching}
    scale = 10.0 if leaves == MOST_LEAVES else 20.0
    return Plan(
        part="depths",
        settings=settings,
        behaviour=law.HOSTED,
        scale=100.0 if quick else scale,
        seed=seed,
        characters=leaves * PART,
        right=str(leaves) if depth else 1,
        labels={"depth": depth, "branching": branching, "leaves": leaves},
    )


def sizes(quick: bool) -> Iterator[Plan]:
    """The same work on more and more data: search it, sample it, let 16 children read it all."""
    calls, children = (4, 2) if quick else (64, 16)
    for characters in SIZES[:1] if quick else SIZES:
        for seed in seeds(1 if characters == SIZES[-1] else 3, quick):
            yield Plan(
                part="sizes",
                settings={"program": "sizes", "calls": calls, "children": children},
                behaviour=law.HOSTED,
                scale=100.0 if quick else 20.0,
                seed=seed,
                characters=characters,
                labels={"characters": characters},
            )


def ask(
    part: str,
    way: str,
    calls: int,
    behaviour: Behaviour,
    *,
    scale: float,
    seed: int,
    width: int | None = AT_ONCE,
    work: float = 0.0,
) -> Plan:
    """``calls`` sub-calls of 1,000 tokens each, asked in this way."""
    return Plan(
        part=part,
        settings={"program": way, "calls": calls, "work": work / scale},
        behaviour=behaviour,
        scale=scale,
        seed=seed,
        characters=calls * PART,
        width=width,
        right=calls,
        labels={"way": way, "calls": calls, "endpoint": behaviour.name, "width": width or 0},
    )


def seeds(count: int, quick: bool) -> range:
    """The seeds of a trial that is repeated ``count`` times."""
    return range(1, 2 if quick else count + 1)


PARTS: dict[str, Callable[[bool], Iterator[Plan]]] = {
    "scales": scales,
    "ways": ways,
    "widths": widths,
    "depths": depths,
    "sizes": sizes,
}
