"""What :meth:`abyme.ledger.Account.snapshot` shows, line by line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from abyme.ledger.amounts import COST, KINDS, NANO
from abyme.ledger.level import Level
from abyme.ledger.timing import Timer

Line = dict[str, Any]


def sum_lines(levels: Sequence[Level]) -> dict[str, Line]:
    """Of each kind that the last of ``levels`` counts, beside those above it, the root's first."""
    own = levels[-1]
    lines: dict[str, Line] = {}
    for kind, name in enumerate(KINDS):
        tightest = min(levels, key=lambda level: level.free(kind))
        left = tightest.free(kind)
        bound = math.isfinite(left)
        lines[name] = {
            "used": own.settled[kind],
            "reserved": own.reserved[kind],
            "limit": own.most[kind],
            "left": int(left) if bound else None,
            "share": tightest.share(kind) if bound else None,
            "node": tightest.node if bound else None,
        }
        if kind == COST:
            _in_dollars(lines[name], own.unpriced > 0, bound and tightest.unpriced > 0)
    return lines


def _in_dollars(line: Line, unpriced: bool, unpriced_above: bool) -> None:
    for key in ("used", "reserved", "limit", "left"):
        line[key] = None if line[key] is None else line[key] / NANO
    if unpriced:
        line["used"] = None
    if unpriced_above:
        line["left"] = line["share"] = None


def turn_line(begun: int, most: int, node: str) -> Line:
    """Of turns, which are each node's own."""
    return {
        "used": begun,
        "reserved": 0,
        "limit": most,
        "left": max(0, most - begun),
        "share": begun / most,
        "node": node,
    }


def second_line(timer: Timer, most: float | None) -> Line:
    """Of seconds; ``most``: the node's own limit."""
    left = timer.left()
    bound = math.isfinite(left)
    return {
        "used": round(timer.seconds, 3),
        "reserved": 0,
        "limit": most,
        "left": max(0.0, round(left, 3)) if bound else None,
        "share": round(timer.share, 4) if bound else None,
        "node": timer.node if bound else None,
    }
