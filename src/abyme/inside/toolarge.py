"""What is raised where a text is too large to be copied."""

from __future__ import annotations

LONGEST = 64 << 20
"""Characters that a slice, a line, a piece or a result may have; a match may have half of it."""


class TextTooLarge(MemoryError):
    """An operation would copy a text that is too large to be copied; the message says what to do.

    A MemoryError because it takes the place of one: code that is ready for the allocation to fail
    is ready for this. Nothing was allocated, and the program can go on.
    """
