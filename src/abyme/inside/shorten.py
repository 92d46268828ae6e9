"""Cutting text head and tail, with its true length said: for output, tracebacks and values."""

from __future__ import annotations


def cut_note(characters: int, left_out: int) -> str:
    """The line that stands for what was cut."""
    return f"\n[… {left_out:,} of {characters:,} characters left out here …]\n"


def shorten(text: str, limit: int) -> str:
    """``text`` where it has at most ``limit`` characters, else its head and tail around a note.

    About three fifths are head; the cuts are moved to line borders where one is near. The result
    has at most ``limit`` characters plus the note.
    """
    if len(text) <= limit:
        return text
    head, tail = _head(text, limit * 3 // 5), _tail(text, limit - limit * 3 // 5)
    return head + cut_note(len(text), len(text) - len(head) - len(tail)) + tail


def _head(text: str, size: int) -> str:
    border = text.rfind("\n", size * 4 // 5, size)
    return text[: border if border > 0 else size]


def _tail(text: str, size: int) -> str:
    start = len(text) - size
    border = text.find("\n", start, start + size // 5)
    return text[border + 1 if border >= 0 else start :]
