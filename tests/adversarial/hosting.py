"""One forgery in a real worker, and what its host saw; beside it, a worker of somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from abyme.context.load import load
from abyme.sandbox.process import ProcessSandbox
from adversarial.forgeries import AFTER, PRELUDE, Forgery, Seen
from support.repl import TestHost

DOCUMENTS = {f"document {number}": f"text {number}" for number in range(70)}
CELL_SECONDS = 5.0


class Bystander(AssertionError):
    """What was forged in one worker was felt in another."""


def forged(attempt: Forgery, folder: Path, off: Callable[[], None] | None = None) -> Seen:
    """Run it; raises :class:`Bystander` where a worker beside it does not work as before.

    With ``off``, which is called when both run, nothing is asked of the other.
    """
    return asyncio.run(_forged(attempt, folder, off))


async def _forged(attempt: Forgery, folder: Path, off: Callable[[], None] | None) -> Seen:
    errors: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(str(context)))
    host, other = TestHost({"never": _never, "tool": _nothing, "large": _large}), TestHost()
    box = ProcessSandbox(grace_seconds=0.3)
    data = load(DOCUMENTS, folder=folder / "data")
    async with (
        box.workers() as workers,
        workers.open(data, other, ()) as bystander,
        workers.open(data, host, ()) as repl,
    ):
        await bystander.run(1, "kept = len(context[0])", CELL_SECONDS)
        if off is not None:
            off()
        result = await repl.run(1, f"{PRELUDE}\n{attempt.code}{AFTER}", CELL_SECONDS)
        layers = repl.layers
        looked = await repl.look("x") if repl.alive else None
        if off is not None:
            return Seen(result, host.calls, host.streamed, errors, layers, looked)
        after = await bystander.run(2, "print(kept, len(context[1]))", CELL_SECONDS)
        told = "".join(other.streamed)
        if after.output != "6 6\n" or other.calls or not "6 6\n".startswith(told):
            raise Bystander(f"{attempt.name}: {told!r} {after}")
    return Seen(result, host.calls, host.streamed, errors, layers, looked)


def _nothing(arguments: dict[str, Any]) -> None:
    return None


def _large(arguments: dict[str, Any]) -> str:
    return "x" * 1_000_000


async def _never(arguments: dict[str, Any]) -> None:
    await asyncio.sleep(CELL_SECONDS * 2)
