"""What every check is made of: a deadline, a REPL over some data, a host that answers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import tempfile
import threading
import unittest
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from abyme.context.documents import Data
from abyme.context.load import Context, load
from abyme.errors import CallFailed
from abyme.sandbox.base import Function, Host, Repl, Sandbox
from abyme.types import CellResult

TEXT = "some text\n"
SECONDS = 60.0
"""What a check may take; and, in most of them, what a cell may compute."""
_GRACE_SECONDS = 10.0
_SHOWN = 300

Trying = TypeVar("Trying", bound="Trial")
Answering = Callable[[dict[str, Any]], Any]


class Broken(AssertionError):
    """What a sandbox promises does not hold; the message says what was found instead."""


class Untried(unittest.SkipTest):
    """A check that cannot be made here, and why. Test runners take it as a skipped test."""


class Trial:
    """A sandbox on trial: what the classes of checks have in common."""

    patience: float = 1.0
    """All deadlines of the kit are this many times as long: more for a sandbox far away."""

    def sandbox(self) -> Sandbox:
        """The sandbox to check; each check asks for one."""
        raise NotImplementedError("say which sandbox: def sandbox(self): return MySandbox()")

    def sandbox_with(self, text_bytes: int) -> Sandbox | None:
        """The same with another :attr:`~abyme.sandbox.base.Sandbox.text_bytes`.

        None where it cannot be had; the checks of lazy texts are not made then. A msgspec struct
        or a dataclass with a field of that name needs nothing of its own here.
        """
        box: Any = self.sandbox()
        try:
            if isinstance(box, msgspec.Struct):
                box = msgspec.structs.replace(box, text_bytes=text_bytes)
            else:
                box = dataclasses.replace(box, text_bytes=text_bytes)
        except TypeError:
            return None
        made: Sandbox = box
        return made

    @contextlib.asynccontextmanager
    async def repl(
        self,
        context: Context | Data = TEXT,
        host: Host | None = None,
        *,
        functions: tuple[Function, ...] = (),
        sandbox: Sandbox | None = None,
        seed: int = 0,
    ) -> AsyncIterator[Repl]:
        """One worker over ``context``, by itself."""
        with tempfile.TemporaryDirectory(prefix="abyme-conformance-") as folder:
            data = loaded(context, Path(folder))
            box = sandbox or self.sandbox()
            async with (
                box.workers() as workers,
                workers.open(data, host or AnsweringHost(), functions, seed) as repl,
            ):
                yield repl

    async def cells(
        self,
        *codes: str,
        context: Context | Data = TEXT,
        host: Host | None = None,
        functions: tuple[Function, ...] = (),
        sandbox: Sandbox | None = None,
    ) -> list[CellResult]:
        """Run ``codes`` one after the other in one worker, however each ends."""
        async with self.repl(context, host, functions=functions, sandbox=sandbox) as repl:
            return [await self.run(repl, number, code) for number, code in enumerate(codes, 1)]

    async def run(self, repl: Repl, cell: int, code: str, clock: float | None = None) -> CellResult:
        """Run one cell with a deadline that it should never come near."""
        return await repl.run(cell, code, SECONDS * self.patience, clock)


class AnsweringHost:
    """A :class:`~abyme.sandbox.base.Host` whose functions are given; it remembers what it heard.

    ``functions``: by name, from the arguments to the value, or to what is awaited for it.
    """

    def __init__(
        self, functions: dict[str, Answering] | None = None, *, listens: bool = False
    ) -> None:
        self.listens = listens
        self.calls: list[tuple[int, str, dict[str, Any]]] = []
        self.aside: list[bool] = []
        """Of each call: whether it came from another thread than the one that runs cells."""
        self.streamed: list[tuple[int, str]] = []
        self.heard = asyncio.Event()
        """Set once something was."""
        self._functions = dict(functions or {})

    def answers(self, name: str, function: Answering) -> None:
        """Have one more function."""
        self._functions[name] = function

    async def call(
        self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
    ) -> Any:
        """See :class:`~abyme.sandbox.base.Host`."""
        self.calls.append((cell, name, arguments))
        self.aside.append(aside)
        if name not in self._functions:
            raise CallFailed(f"no function {name}")
        value = self._functions[name](arguments)
        return await value if isinstance(value, Awaitable) else value

    def output(self, cell: int, text: str) -> None:
        """See :class:`~abyme.sandbox.base.Host`."""
        self.streamed.append((cell, text))
        self.heard.set()


def within(
    seconds: float,
) -> Callable[[Callable[[Trying], Coroutine[Any, Any, None]]], Callable[[Trying], None]]:
    """Make a test method of a coroutine function: called, it runs the check and its deadline.

    It runs in a thread and an event loop of its own, so that a sandbox that blocks the loop or
    cannot be cancelled makes this check fail and not the caller hang.
    """

    def made(check: Callable[[Trying], Coroutine[Any, Any, None]]) -> Callable[[Trying], None]:
        @functools.wraps(check)
        def test(self: Trying) -> None:
            _carry_out(check(self), seconds * self.patience, _GRACE_SECONDS * self.patience)

        return test

    return made


def _carry_out(check: Coroutine[Any, Any, None], seconds: float, grace: float) -> None:
    ended: list[BaseException | None] = []

    def work() -> None:
        try:
            asyncio.run(_timed(check, seconds))
        except BaseException as error:  # handed on to the thread that waits
            ended.append(error)
        else:
            ended.append(None)

    thread = threading.Thread(target=work, daemon=True, name="conformance")
    thread.start()
    thread.join(seconds + grace)
    if not ended:
        raise Broken(f"it hangs: not over within {seconds:.0f} s, nor when it was cancelled then")
    if ended[0] is not None:
        raise ended[0]


async def _timed(check: Coroutine[Any, Any, None], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds) as limit:
            await check
    except TimeoutError:
        if limit.expired():
            raise Broken(f"it was not over within {seconds:.0f} s") from None
        raise


def loaded(context: Context | Data, folder: Path) -> Data:
    """``context`` as documents; what has to be written is written to ``folder``."""
    return context if isinstance(context, Data) else load(context, folder=folder / "data")


# -- what is expected ----------------------------------------------------------------------------


def holds(condition: object, said: str) -> None:
    """Raise :class:`Broken` with ``said`` where ``condition`` is false."""
    if not condition:
        raise Broken(said)


def same(what: str, found: object, expected: object) -> None:
    """``found`` equals ``expected`` and is of its type."""
    if found != expected or type(found) is not type(expected):
        raise Broken(f"{what}: {_short(found)}, not {_short(expected)}")


def output_of(result: CellResult) -> str:
    """What a cell printed that should have run to its end."""
    if result.ended != "done":
        raise Broken(f"the cell {ended(result)} instead of running to its end")
    return result.output


def prints(result: CellResult, expected: str) -> None:
    """The cell ran to its end and printed ``expected``."""
    same("the cell printed", output_of(result), expected)


def raises(result: CellResult, kind: str) -> str:
    """The message of the exception of type ``kind`` that should have ended the cell."""
    if result.ended != "raised" or result.error is None or result.error.type != kind:
        raise Broken(f"the cell {ended(result)} instead of raising {kind}")
    return result.error.message


def ends(result: CellResult, how: str) -> None:
    """The cell ended as ``how`` says: one of the words of ``CellResult.ended``."""
    if result.ended != how:
        raise Broken(f"the cell {ended(result)}; it should have ended as {how!r}")


def ended(result: CellResult) -> str:
    """How a cell ended, in words."""
    why = "" if result.error is None else f", {result.error.type}: {_cut(result.error.message)}"
    return f"ended as {result.ended!r}{why}"


def _short(value: object) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()  # messages go to terminals
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text):,} characters)"
