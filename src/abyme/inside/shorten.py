"""Cutting a long text so that its head, its tail and its true length stay visible."""

from __future__ import annotations

_HEAD = 0.6
"""The part of the room that the head gets: what comes first says more than what comes last."""
_SLACK = 0.2
"""How much of a part may be given up so that it ends at a line border."""


def shorten(text: str, limit: int, total: int | None = None) -> str:
    """``text`` in at most ``limit`` characters, with a line in the middle that says what is gone.

    ``total`` is the true length where ``text`` has been cut before. A limit too small for the
    middle line gives the beginning of that line.
    """
    total = max(len(text), total or 0)
    if len(text) <= limit:
        return text
    widest = gap_note(total, total)
    room = limit - len(widest) - 2
    if room <= 0:
        return widest[: max(limit, 0)]
    head = _head(text, round(room * _HEAD))
    tail = _tail(text, room - round(room * _HEAD))
    return f"{head}\n{gap_note(total, total - len(head) - len(tail))}\n{tail}"


def gap_note(total: int, left_out: int) -> str:
    """The line that stands for what was left out of ``total`` characters."""
    return f"… {total:,} characters in all; {left_out:,} left out …"


def _head(text: str, size: int) -> str:
    border = text.rfind("\n", size - round(size * _SLACK), size + 1)
    return text[: border if border > 0 else size]


def _tail(text: str, size: int) -> str:
    start = len(text) - size
    border = text.find("\n", max(start - 1, 0), start + round(size * _SLACK))
    return text[border + 1 if border >= 0 else start :]
