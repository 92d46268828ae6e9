"""The status line, what is said of a budget that runs low, and of sub-calls that failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from abyme.dialects.base import TurnStatus
from abyme.types import CellResult, FailedCall

_LINE = 200
_FAILED_LINES = 8
_HALF, _SCARCE = 0.5, 0.8
"""The parts of a limit from which on it is told, and from which on with firmer advice."""


def status_line(status: TurnStatus, calls: int = 0, failed: Sequence[FailedCall] = ()) -> str:
    """One line: turn, time, calls and cost used and left, failed sub-calls, recursion.

    And a second one from half of any limit on: see :func:`budget_line`.
    """
    used = [_turn(status)]
    used.append(_used(_duration(status.seconds_used), status.seconds_left, _duration))
    under_way = f", {status.calls_under_way:,} under way" if status.calls_under_way else ""
    calls_used = _plural(status.calls_used, "call")
    used.append(_used(calls_used, status.calls_left, "{:,}".format, under_way))
    if status.cost_used is not None:
        aside = f", ${status.cost_set_aside:.2f} set aside" if status.cost_set_aside else ""
        cost_used = f"${status.cost_used:.2f}"
        used.append(_used(cost_used, status.cost_left, "${:.2f}".format, aside))
    if calls or failed:
        used.append(f"sub-calls this turn: {_failures(calls, failed)}")
    used.append(f"recursion {'on' if status.recursion else 'off'}")
    return "\n".join(filter(None, (" · ".join(used), budget_line(status.shares))))


def budget_line(shares: Sequence[tuple[str, float]]) -> str:
    """Which limits are half used or more, and what to do then; "" where none is.

    ``shares``: as in :class:`TurnStatus`. At most a few hundred characters.
    """
    low = sorted((pair for pair in shares if pair[1] >= _HALF), key=lambda pair: -pair[1])
    if not low:
        return ""
    parts = [f"{min(100, int(100 * share))} % of the {what}" for what, share in low]
    *first, last = parts
    named = f"{', '.join(first)} and {last}" if first else last
    if low[0][1] < _SCARCE:
        advice = "keep to what the answer needs, and put more into each call"
    else:
        advice = "hand over the answer from what you have; begin nothing large"
    verb = "are" if first or last.endswith("s") else "is"
    return f"Budget: {named} {verb} used: {advice}."


def failed_calls(results: Sequence[CellResult]) -> str:
    """Why sub-calls failed, the same reason once; not what a traceback has said already."""
    by_reason: dict[str, list[FailedCall]] = {}
    for result in results:
        said = result.error.message if result.error is not None else None
        for failure in result.failed_calls:
            if failure.error != said:
                by_reason.setdefault(failure.error, []).append(failure)
    if not by_reason:
        return ""
    failed = sum(map(len, by_reason.values()))
    calls = sum(result.calls for result in results)
    reasons = list(by_reason.items())
    lines = [f"- {_places(same)}{one_line(why, _LINE)}" for why, same in reasons[:_FAILED_LINES]]
    if (more := len(reasons) - _FAILED_LINES) > 0:
        lines.append(f"- and {more:,} more reasons")
    return "\n".join([f"{failed:,} of {_plural(calls, 'sub-call')} failed:", *lines])


def one_line(text: str, limit: int) -> str:
    """``text`` on one line of at most ``limit`` characters."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _turn(status: TurnStatus) -> str:
    if status.turn > status.max_turns:
        return f"all {_plural(status.max_turns, 'turn')} used"
    line = f"turn {status.turn} of {status.max_turns}"
    return f"{line}, the last that can run code" if status.turn == status.max_turns else line


def _used(used: str, left: float | None, format_left: Callable[..., str], between: str = "") -> str:
    """``between``: what is neither used nor left."""
    used = f"{used} used{between}"
    return used if left is None else f"{used}, {format_left(max(left, 0))} left"


def _failures(calls: int, failed: Sequence[FailedCall]) -> str:
    if not failed:
        return f"{calls:,}, none failed"
    where = _places(failed).rstrip(": ")
    which = where or one_line(failed[0].error, 60)
    return f"{len(failed):,} of {calls:,} failed ({which})"


def _places(failed: Sequence[FailedCall]) -> str:
    """``[2], [5]: `` for items of a batch, as its ``failed`` counts them; else nothing."""
    places = [f"[{each.index}]" for each in failed if each.index is not None]
    more = f" and {len(places) - 12:,} more" if len(places) > 12 else ""
    return f"{', '.join(places[:12])}{more}: " if places else ""


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
