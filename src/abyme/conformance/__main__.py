"""``python -m abyme.conformance mypackage:make_sandbox``: a line a check, status 1 if one fails."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from abyme.conformance.report import Outcome, check
from abyme.sandbox.base import Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 where all that could be tried holds, 1 where not."""
    parser = argparse.ArgumentParser(
        prog="python -m abyme.conformance", description="What holds of a sandbox, and what does not"
    )
    parser.add_argument("sandbox", help="package.module:name of a sandbox, or of what makes one")
    parser.add_argument("words", nargs="*", help="only the checks whose line contains one of these")
    parser.add_argument("--patience", type=float, default=1.0, help="deadlines times this (1)")
    given = parser.parse_args(arguments)
    try:
        sandbox = _found(given.sandbox)
    except (ImportError, AttributeError, ValueError) as error:
        parser.error(f"{given.sandbox}: {error}")
    if not hasattr(sandbox() if callable(sandbox) else sandbox, "workers"):
        parser.error(f"{given.sandbox} is no sandbox: it has no workers()")
    logging.getLogger("abyme").addHandler(logging.NullHandler())  # the host's faults are meant
    report = check(sandbox, tuple(given.words), patience=given.patience, tell=_show)
    if not report.outcomes:
        parser.error(f"no check's line contains {' or '.join(map(repr, given.words))}")
    print(str(report).rpartition("\n")[2])
    return 0 if report.ok else 1


def _found(place: str) -> Sandbox | Callable[[], Sandbox]:
    module, _, name = place.partition(":")
    if not name:
        raise ValueError("say module:name")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    made: Sandbox | Callable[[], Sandbox] = found
    return made


def _show(outcome: Outcome) -> None:
    print(str(outcome).encode("utf-8", "backslashreplace").decode(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
