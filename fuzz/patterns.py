"""Lines of a ``.gitignore`` and paths: an expression that compiles and is quick, or none."""

from __future__ import annotations

import re

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["abyme"]):
    from abyme.context.patterns import translate


def target(data: bytes) -> None:
    """The pattern is what comes before the first newline, the path what comes after it."""
    pattern, _, path = data.decode("utf-8", "surrogateescape").partition("\n")
    expression = translate(pattern)
    if expression is not None:
        re.compile(expression, re.DOTALL).fullmatch(path * 20)


if __name__ == "__main__":
    fuzz(target)
