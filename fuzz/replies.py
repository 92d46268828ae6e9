"""Replies of a model: cells, prose and literals are found in any text, or none are."""

from __future__ import annotations

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["abyme"]):
    from abyme.dialects.cells import cells
    from abyme.dialects.prose import prose_finish

WORDS = (
    "```", "~~~", "repl", "python", "\n", "    ", "- ", "FINAL(", "FINAL_VAR(", ")", "'''", '"""',
    "<think>", "</think>", "<repl>", "</repl>", "x = 1", "def f():", "print('a')", "{", "}", "\\",
)  # fmt: skip


def target(data: bytes) -> None:
    """Each byte below 64 is one of the words that matter here, the others are letters."""
    text = "".join(WORDS[byte] if byte < len(WORDS) else chr(byte) for byte in data)
    for cut in (False, True):
        for code in cells(text, cut=cut):
            assert isinstance(code, str)
    prose_finish(text)


if __name__ == "__main__":
    fuzz(target)
