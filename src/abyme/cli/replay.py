"""``abyme replay``: a run done again, and how its first difference is shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from abyme.cli.text import plural
from abyme.context.documents import shown
from abyme.events import parent_of
from abyme.offline import replay
from abyme.replaying import Difference, Replayed
from abyme.sandbox.base import Sandbox

_LINES = 20
_WIDTH = 300


def run(
    folder: Path, runs: Path, sandbox: Sandbox, *, accept_changed: bool, as_json: bool
) -> tuple[list[str], int]:
    """Do it again; what to print, and the exit code: 0 where all was the same, else 1."""
    done = replay(str(folder), runs=runs, sandbox=sandbox, accept_changed=accept_changed)
    code = 0 if done.identical else 1
    if as_json:
        fields = {"identical": done.identical, **msgspec.to_builtins(done)}
        return [msgspec.json.encode(fields).decode()], code
    return list(_lines(done)), code


def _lines(done: Replayed) -> Iterator[str]:
    difference = done.difference
    again = ", ".join(
        (plural(done.turns, "turn"), plural(done.cells, "cell"), plural(done.calls, "call"))
    )
    again += f" of {done.nodes:,} nodes" if done.nodes > 1 else ""
    if difference is None:
        yield f"{done.run}: identical · {again}, all from the journal"
    else:
        yield f"{done.run}: {_where(difference)} · {again} before that were the same"
        yield from _beside(difference)
    if done.skipped:
        numbers = ", ".join(map(str, done.skipped))
        yield f"not run again, for they did not end by themselves: cell {numbers}"


def _where(difference: Difference) -> str:
    child = f"in child {difference.node}, " if parent_of(difference.node) else ""
    if difference.what == "code":
        return (
            f"{child}in turn {difference.turn} this version finds other code in the model's reply"
        )
    place = (
        f"{child}in turn {difference.turn}, cell {difference.cell}"
        if difference.cell
        else f"{child}at the end"
    )
    return f"{place}, another {difference.what.replace('_', ' ')} than then"


def _beside(difference: Difference) -> Iterator[str]:
    """What it was and what it is, as lines that differ."""
    before, now = _text(difference.before), _text(difference.now)
    lines = list(difflib.unified_diff(before, now, "then", "now", lineterm="", n=1))
    for line in lines[: _LINES + 3]:
        yield f"  {shown(line, _WIDTH)}"
    if len(lines) > _LINES + 3:
        yield f"  … {len(lines) - _LINES - 3:,} more lines differ"


def _text(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode().splitlines()
