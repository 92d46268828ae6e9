"""Numbers, costs and quotes as people read them; shared by everything that is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from abyme.types import Answer

_QUOTED_LINES = 8


def closing_line(answer: Answer) -> str:
    """How the run ended and what it cost, in one line."""
    usage = answer.usage
    cost = "cost unknown" if answer.cost is None else f"${answer.cost:.4f}".rstrip("0").rstrip(".")
    parts = [
        answer.status + (f": {answer.reason}" if answer.reason else ""),
        plural(answer.turns, "turn"),
        plural(usage.calls, "call"),
        f"{usage.tokens:,} tokens" + (" (estimated)" if usage.estimated else ""),
        cost,
        f"{answer.seconds:.1f} s",
        f"run {answer.run}",
    ]
    return " · ".join(parts)


def quote_lines(answer: Answer) -> Iterator[str]:
    """Where each quote stands, and its beginning where the answer does not hold it."""
    for quote in answer.quotes:
        checked = "" if quote.verified else " (not verified)"
        yield f"  {quote.document}:{quote.line}{checked}"
        if quote.text.strip() in answer.text:
            continue  # it is read there already
        lines = quote.text.strip("\n").split("\n")
        yield from (f"    {line}" for line in lines[:_QUOTED_LINES])
        if len(lines) > _QUOTED_LINES:
            yield f"    … {len(lines) - _QUOTED_LINES:,} more lines"


def bytes_text(count: int) -> str:
    """``1.5 MB``; decimal units, as disks and sizes of models are counted."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{count:,} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def counts_text(counts: Mapping[str, int]) -> str:
    """``3 binary, 1 empty``."""
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))


def plural(count: int, noun: str) -> str:
    """``1 turn``, ``2 turns``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
