"""One attempt in a real worker, with the layers that are asked for, and what came of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from abyme.inside.lockdown import LAYERS
from abyme.sandbox.base import Sandbox
from abyme.sandbox.bubblewrap import Bubblewrap
from abyme.sandbox.command import CommandSandbox
from abyme.sandbox.process import ProcessSandbox
from adversarial.attempts import NUMBERS, PRELUDE, Attempt
from adversarial.world import world
from support.repl import run_cell

NEEDED = "no_new_privs"
"""What Landlock and seccomp ask for; it is left on with each of them."""


class Some(ProcessSandbox, frozen=True, kw_only=True):
    """The sandbox with some of its layers: for tests alone, nothing that ships can ask for it."""

    only: tuple[str, ...]

    def asked_layers(self) -> tuple[str, ...]:
        return self.only


class Came(NamedTuple):
    """What came of an attempt."""

    harm: bool
    lacks: str
    said: str


def alone(layer: str) -> tuple[str, ...]:
    """This layer and what it cannot do without."""
    return (NEEDED, layer)


def without(attempt: Attempt) -> tuple[str, ...]:
    """All layers but those that hold this attempt."""
    off = (*attempt.layers, *attempt.perhaps.split())
    return tuple(layer for layer in LAYERS if layer not in off)


def attempted(attempt: Attempt, layers: tuple[str, ...]) -> Came:
    """Run it in a world of its own."""
    box = Some(only=layers, grace_seconds=0.5, memory_bytes=attempt.memory)
    with tempfile.TemporaryDirectory(prefix="abyme-") as folder, world(Path(folder)) as there:
        return _in_world(attempt, box, there, Path(folder))


def attempted_in_bubblewrap(attempt: Attempt, layers: tuple[str, ...] = ()) -> Came:
    """The same behind bubblewrap, with these layers inside; by itself without."""
    box = CommandSandbox(
        recipe=Bubblewrap(),
        data="passed",
        layers=layers,
        grace_seconds=0.5,
        memory_bytes=attempt.memory,
    )
    with tempfile.TemporaryDirectory(prefix="abyme-") as folder, world(Path(folder)) as there:
        return _in_world(attempt, box, there, Path(folder))


def _in_world(attempt: Attempt, box: Sandbox, there: SimpleNamespace, folder: Path) -> Came:
    code = (
        f"import types\nW = types.SimpleNamespace(**{vars(there)!r})\nNUMBERS = {NUMBERS!r}\n"
        f"{PRELUDE}\n{attempt.code}"
    )
    result = run_cell(folder / "cell", code, sandbox=box, seconds=20)
    error = result.error
    lacks = error.message if error is not None and error.type == "Lacks" else ""
    said = result.output if error is None else f"{error.type}: {error.message}"
    return Came("HARM" in result.output, lacks, said.strip()[:300])
