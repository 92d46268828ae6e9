"""What the fuzzing scripts share: a run of atheris that ends by itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
WORDS = Path(__file__).with_name("words.dict")
SECONDS = 60
SLOW_SECONDS = 10
"""One input may take so long; libFuzzer reports what takes longer."""

sys.path.insert(0, str(SOURCE))


def fuzz(target: Callable[[bytes], None]) -> None:
    """Run ``target`` on inputs that reach ever more of the code; a raise from it is a finding.

    Arguments of the script are libFuzzer's: ``-max_total_time=600``, ``-runs=100000``, a folder
    with inputs to begin with, or a file with one input to try again.
    """
    import atheris

    arguments = [*sys.argv, f"-dict={WORDS}"]
    names = [each.partition("=")[0] for each in arguments]
    if "-max_total_time" not in names and "-runs" not in names:
        arguments.append(f"-max_total_time={SECONDS}")
    if "-timeout" not in names:
        arguments.append(f"-timeout={SLOW_SECONDS}")
    atheris.Setup(arguments, target)
    atheris.Fuzz()
