"""What ``abyme doctor`` tries out: a worker that runs a cell, and the folder for runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from abyme.context.documents import Data
from abyme.errors import CallFailed, SandboxError
from abyme.journal.format import JOURNAL
from abyme.sandbox.base import Sandbox

_CELL_SECONDS = 10.0
_WORKER_SECONDS = 45.0
_COUNT_SECONDS = 0.5


class Folder(NamedTuple):
    """The folder for runs as it is now."""

    problem: str
    """Why no run can be kept there; "" where it can."""
    runs: int = 0
    size: int = 0
    """Bytes of all runs together, as far as they were counted."""
    whole: bool = True
    """Whether all of it was counted in the time there is for that."""
    free: int | None = None
    """Bytes left on its disk; None where that cannot be told."""


class Tried(NamedTuple):
    """How long a worker and its cell took, and what held the code."""

    seconds: float
    layers: tuple[str, ...]


def try_worker(sandbox: Sandbox) -> Tried:
    """Start a worker, run one cell in it, end it.

    Raises :class:`SandboxError` where any of it fails.
    """
    start = time.monotonic()
    try:
        layers = asyncio.run(asyncio.wait_for(_run_a_cell(sandbox), _WORKER_SECONDS))
    except TimeoutError:
        raise SandboxError("the worker does not answer") from None
    return Tried(time.monotonic() - start, layers)


async def _run_a_cell(sandbox: Sandbox) -> tuple[str, ...]:
    nothing = Data("documents", ())
    async with sandbox.workers() as workers, workers.open(nothing, _NoHost(), ()) as repl:
        result = await repl.run(1, "print(6 * 7)", _CELL_SECONDS)
    if result.output.strip() != "42":
        raise SandboxError(f"a cell {result.ended} and printed {result.output[:60]!r}, not 42")
    return repl.layers


class _NoHost:
    """Answers no calls: the cell makes none."""

    listens = False

    async def call(
        self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
    ) -> Any:
        raise CallFailed(f"no function {name}")

    def output(self, cell: int, text: str) -> None:
        """Nobody listens."""


def look_at_runs(folder: Path) -> Folder:
    """Whether runs can be kept in ``folder``, and what is there. Changes nothing."""
    existing = folder
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    try:
        free = shutil.disk_usage(existing).free
    except OSError:
        free = None
    if not existing.is_dir():
        return Folder(f"{existing} is no folder", free=free)
    if not os.access(existing, os.W_OK | os.X_OK):
        return Folder(f"{existing} cannot be written to", free=free)
    if existing != folder:
        return Folder("", free=free)
    deadline = time.monotonic() + _COUNT_SECONDS
    runs = size = 0
    try:
        for entry in os.scandir(folder):
            runs += os.path.lexists(os.path.join(entry.path, JOURNAL))  # noqa: PTH118
            for found in _sizes(entry.path):
                size += found
                if time.monotonic() > deadline:
                    return Folder("", runs, size, whole=False, free=free)
    except OSError as error:
        return Folder(f"{folder} cannot be read: {error.strerror}", free=free)
    return Folder("", runs, size, free=free)


def _sizes(path: str) -> Iterator[int]:
    """The bytes of each file below ``path``; what cannot be read counts nothing."""
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                yield os.lstat(f"{folder}/{name}").st_size
            except OSError:
                continue
