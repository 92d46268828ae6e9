"""Sandboxes that break one promise each, over the real one: the kit must catch every one."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import msgspec

from abyme.context.documents import Data
from abyme.errors import CallFailed, SandboxError
from abyme.sandbox.base import Function, Host, Repl, Workers
from abyme.sandbox.process import ProcessSandbox
from abyme.types import CellError, CellResult, Finish

replace = msgspec.structs.replace


class RightRepl:
    """Does what the real one does; what follows overrides some of it."""

    def __init__(self, repl: Repl) -> None:
        self.repl = repl

    @property
    def pid(self) -> int:
        return self.repl.pid

    @property
    def layers(self) -> tuple[str, ...]:
        return self.repl.layers

    @property
    def alive(self) -> bool:
        return self.repl.alive

    async def run(
        self, cell: int, code: str, seconds: float, clock: float | None = None
    ) -> CellResult:
        return self.after(await self.repl.run(cell, self.before(code), seconds, clock))

    async def bind(self, names: dict[str, Any]) -> None:
        await self.repl.bind(names)

    async def look(self, name: str) -> Finish | None:
        return await self.repl.look(name)

    async def checkpoint(self) -> bytearray:
        return await self.repl.checkpoint()

    async def restore(self, data: bytes | bytearray) -> None:
        await self.repl.restore(data)

    def before(self, code: str) -> str:
        return code

    def after(self, result: CellResult) -> CellResult:
        return result


class RightHost:
    """Passes on what code asks."""

    def __init__(self, host: Host) -> None:
        self.host = host

    @property
    def listens(self) -> bool:
        return self.host.listens

    async def call(
        self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
    ) -> Any:
        return await self.host.call(cell, name, arguments, aside)

    def output(self, cell: int, text: str) -> None:
        self.host.output(cell, text)


class Wrong:
    """A sandbox whose parts are replaced in subclasses."""

    name = "wrong"
    repl: type[RightRepl] = RightRepl
    host: type[RightHost] = RightHost
    settings: ClassVar[dict[str, Any]] = {"grace_seconds": 0.5}

    def __init__(self) -> None:
        self.box = ProcessSandbox(**self.settings)
        self.text_bytes = self.box.text_bytes

    @contextlib.asynccontextmanager
    async def workers(self) -> AsyncIterator[Workers]:
        async with self.box.workers() as workers:
            yield _Workers(self, workers)

    @contextlib.asynccontextmanager
    async def open(
        self,
        workers: Workers,
        data: Data,
        host: Host,
        functions: tuple[Function, ...],
        seed: int = 0,
    ) -> AsyncIterator[Repl]:
        async with workers.open(data, self.host(host), functions) as repl:
            yield self.repl(repl)


class _Workers:
    def __init__(self, wrong: Wrong, workers: Workers) -> None:
        self._wrong = wrong
        self._workers = workers

    def open(
        self, data: Data, host: Host, functions: tuple[Function, ...], seed: int = 0
    ) -> contextlib.AbstractAsyncContextManager[Repl]:
        return self._wrong.open(self._workers, data, host, functions, seed)


# -- the namespace -------------------------------------------------------------------------------


class ForgetsState(Wrong):
    """Runs every cell in a worker of its own."""

    @contextlib.asynccontextmanager
    async def open(
        self,
        workers: Workers,
        data: Data,
        host: Host,
        functions: tuple[Function, ...],
        seed: int = 0,
    ) -> AsyncIterator[Repl]:
        class Fresh(RightRepl):
            async def run(
                self, cell: int, code: str, seconds: float, clock: float | None = None
            ) -> CellResult:
                async with workers.open(data, host, functions, seed) as repl:
                    return await repl.run(cell, code, seconds, clock)

        async with workers.open(data, host, functions, seed) as repl:
            yield Fresh(repl)


def exec_with(namespace: str) -> type[RightRepl]:
    """Runs cells by an ``exec`` of its own."""

    class Exec(RightRepl):
        def before(self, code: str) -> str:
            return f"exec(compile({code!r}, '<cell>', 'exec'), {namespace})"

    return Exec


class TwoDicts(Wrong):
    """``exec(code, globals, locals)``: what every first attempt does."""

    repl = exec_with("globals(), globals().setdefault('_locals', {})")


class RollsBack(Wrong):
    """A cell that raises leaves nothing."""

    class repl(RightRepl):  # noqa: N801
        def before(self, code: str) -> str:
            return (
                "_before = dict(globals())\n"
                f"try: exec({code!r}, globals())\n"
                "except BaseException:\n    globals().clear(); globals().update(_before)\n    raise"
            )


class NoProtection(Wrong):
    """The calls are lost when a cell overwrites them, and nobody is told."""

    class repl(RightRepl):  # noqa: N801
        def before(self, code: str) -> str:
            return f"if 'FINAL' not in globals(): FINAL = print\n{code}"

        def after(self, result: CellResult) -> CellResult:
            return replace(result, notes=())


class ShowsNothing(Wrong):
    """A last expression is not displayed."""

    class repl(RightRepl):  # noqa: N801
        def before(self, code: str) -> str:
            return f"{code}\npass"


# -- calls ---------------------------------------------------------------------------------------


class OneCallAtATime(Wrong):
    """Calls wait for each other."""

    class host(RightHost):  # noqa: N801
        def __init__(self, host: Host) -> None:
            super().__init__(host)
            self.lock = asyncio.Lock()

        async def call(
            self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
        ) -> Any:
            async with self.lock:
                return await self.host.call(cell, name, arguments, aside)


class FewCallsAtOnce(OneCallAtATime):
    """A pool of six, as ``to_thread`` has on a small machine."""

    class host(OneCallAtATime.host):  # noqa: N801
        def __init__(self, host: Host) -> None:
            super().__init__(host)
            self.lock = asyncio.Semaphore(6)  # type: ignore[assignment]


class ReordersReplies(Wrong):
    """Gives the answers out in the order of the questions, whatever order they came in."""

    class host(RightHost):  # noqa: N801
        def __init__(self, host: Host) -> None:
            super().__init__(host)
            self.waiting: list[asyncio.Future[Any]] = []

        async def call(
            self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
        ) -> Any:
            mine = asyncio.get_running_loop().create_future()
            self.waiting.append(mine)
            value = await self.host.call(cell, name, arguments, aside)
            self.waiting.pop(0).set_result(value)
            return await mine


class OneKindOfFailure(Wrong):
    """Every failed call is a CallError."""

    class host(RightHost):  # noqa: N801
        async def call(
            self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
        ) -> Any:
            try:
                return await self.host.call(cell, name, arguments, aside)
            except Exception as error:
                raise CallFailed(str(error)) from None


class HidesThreads(Wrong):
    """Says of no call that a thread of its own makes it."""

    class host(RightHost):  # noqa: N801
        async def call(
            self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
        ) -> Any:
            return await self.host.call(cell, name, arguments)


class SwallowsFailures(Wrong):
    """A failed call gives a text that looks like an answer."""

    class host(RightHost):  # noqa: N801
        async def call(
            self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
        ) -> Any:
            try:
                return await self.host.call(cell, name, arguments, aside)
            except Exception as error:
                return f"Error: {error}"


def altering(text: Any) -> type[RightHost]:
    """Changes each text on its way to the host or back."""

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, list):
            return [walk(item) for item in value]
        return {walk(k): walk(v) for k, v in value.items()} if isinstance(value, dict) else value

    class Altering(RightHost):
        async def call(
            self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
        ) -> Any:
            asked = {key: walk(value) for key, value in arguments.items()}
            return await self.host.call(cell, name, asked, aside)

    return Altering


class LosesSurrogates(Wrong):
    """Sends UTF-8."""

    host = altering(lambda text: text.encode("utf-8", "replace").decode())


class StopsAtNul(Wrong):
    """Has strings as C has them."""

    host = altering(lambda text: text.partition("\0")[0])


class JoinsHalves(Wrong):
    """Two surrogates become the character that they would be in UTF-16."""

    host = altering(
        lambda text: (
            text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
            if "\ud83d\ude00" in text
            else text
        )
    )


class CutsLongTexts(Wrong):
    """Takes a megabyte and no more."""

    host = altering(lambda text: text[:1_000_000])


class RoundsNumbers(Wrong):
    """Has all numbers as floats, as JavaScript has."""

    class host(RightHost):  # noqa: N801
        async def call(
            self, cell: int, name: str, arguments: dict[str, Any], aside: bool = False
        ) -> Any:
            value = await self.host.call(cell, name, arguments, aside)
            large = isinstance(value, int) and abs(value) > 2**53
            return int(float(value)) if large and value < 10**300 else value


# -- how cells end -------------------------------------------------------------------------------


class SwallowsExceptions(Wrong):
    """Prints the exception and calls that a success."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            if result.ended != "raised" or result.error is None:
                return result
            return replace(result, ended="done", output=result.error.traceback, error=None)


class HidesTracebacks(Wrong):
    """Tells type and message alone."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            error = result.error
            if error is None:
                return result
            return replace(result, error=CellError(error.type, error.message, ""))


class ShowsItsFrames(Wrong):
    """Tracebacks begin in the code that runs the cell."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            if result.error is None:
                return result
            shown = f'  File "/srv/runner.py", line 3, in main\n{result.error.traceback}'
            return replace(result, error=replace(result.error, traceback=shown))


class RaisesForDeath(Wrong):
    """A worker that died is an exception of ``run``."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            if result.ended == "died":
                raise SandboxError("it died")
            return result


class ExitIsDeath(Wrong):
    """``sys.exit`` is taken for the end of the worker."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            return replace(result, ended="died") if result.ended == "exited" else result


# -- deadlines -----------------------------------------------------------------------------------


class NeverInterrupts(Wrong):
    """Kills at the deadline, without asking first."""

    settings: ClassVar[dict[str, Any]] = {"grace_seconds": 0.0}


class NoDeadline(Wrong):
    """Lets cells run as long as they like."""

    class repl(RightRepl):  # noqa: N801
        async def run(
            self, cell: int, code: str, seconds: float, clock: float | None = None
        ) -> CellResult:
            return await self.repl.run(cell, code, 1e6, clock)


class ClockNeverStops(Wrong):
    """Counts the time of calls too."""

    class repl(RightRepl):  # noqa: N801
        async def run(
            self, cell: int, code: str, seconds: float, clock: float | None = None
        ) -> CellResult:
            running = asyncio.ensure_future(self.repl.run(cell, code, seconds, clock))
            done, _ = await asyncio.wait((running,), timeout=seconds)
            if done:
                return running.result()
            running.cancel()
            return CellResult("interrupted")


class CannotBeCancelled(Wrong):
    """Waits for the cell whatever happens."""

    class repl(RightRepl):  # noqa: N801
        async def run(
            self, cell: int, code: str, seconds: float, clock: float | None = None
        ) -> CellResult:
            running = asyncio.ensure_future(self.repl.run(cell, code, seconds, clock))
            while not running.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait((running,), timeout=8)
                    if not running.done():
                        break
            running.cancel()
            return CellResult("interrupted")


class Hangs(Wrong):
    """Blocks the event loop of its host when a cell is run."""

    class repl(RightRepl):  # noqa: N801
        async def run(
            self, cell: int, code: str, seconds: float, clock: float | None = None
        ) -> CellResult:
            time.sleep(5)
            return CellResult("done")


class WaitsForEver(Wrong):
    """Never answers."""

    class repl(RightRepl):  # noqa: N801
        async def run(
            self, cell: int, code: str, seconds: float, clock: float | None = None
        ) -> CellResult:
            await asyncio.Event().wait()
            return CellResult("done")


class LooksByRunning(Wrong):
    """Looks at a variable by running code that prints it."""

    class repl(RightRepl):  # noqa: N801
        async def look(self, name: str) -> Finish | None:
            result = await self.repl.run(999, f"print({name}, end='')", 5)
            return Finish(result.output, result.output) if result.ok else None


# -- repetition ----------------------------------------------------------------------------------


class HasNoSeed(Wrong):
    """Leaves ``random`` as chance made it."""

    @contextlib.asynccontextmanager
    async def open(
        self,
        workers: Workers,
        data: Data,
        host: Host,
        functions: tuple[Function, ...],
        seed: int = 0,
    ) -> AsyncIterator[Repl]:
        async with workers.open(data, host, functions, secrets.randbits(32)) as repl:
            yield repl


class SeedsAtTheFirstCell(HasNoSeed):
    """Seeds what is imported by then, and later the rest by itself."""

    class repl(RightRepl):  # noqa: N801
        def before(self, code: str) -> str:
            return f"import sys\nif 'random' in sys.modules: sys.modules['random'].seed(7)\n{code}"


class HasOneClock(Wrong):
    """Cells that are run again have today's time."""

    class repl(RightRepl):  # noqa: N801
        async def run(
            self, cell: int, code: str, seconds: float, clock: float | None = None
        ) -> CellResult:
            return await self.repl.run(cell, code, seconds)


class StaysInThePast(Wrong):
    """Never sets the clock right again."""

    class repl(RightRepl):  # noqa: N801
        last: float | None = None

        async def run(
            self, cell: int, code: str, seconds: float, clock: float | None = None
        ) -> CellResult:
            self.last = clock or self.last
            return await self.repl.run(cell, code, seconds, self.last)


def with_clock(replace_clock: str) -> type[RightRepl]:
    """Sets the clock by code of its own before a cell that is run again."""

    class Clocked(RightRepl):
        async def run(
            self, cell: int, code: str, seconds: float, clock: float | None = None
        ) -> CellResult:
            if clock is not None:
                code = f"{replace_clock.format(clock=clock)}\n{code}"
            return await self.repl.run(cell, code, seconds)

    return Clocked


class StopsTheClock(Wrong):
    """Gives a cell that is run again one moment only."""

    repl = with_clock("import time\ntime.time = lambda: {clock}")


class ReplacesDatetime(Wrong):
    """Puts a class of its own in the place of ``datetime``, as libraries for tests do."""

    repl = with_clock(
        "import datetime as _module\n"
        "class _Fake(_module.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None): return cls.fromtimestamp({clock}, tz)\n"
        "_module.datetime = _Fake"
    )


class BindsByCells(Wrong):
    """Binds a value by a cell that assigns it."""

    class repl(RightRepl):  # noqa: N801
        async def bind(self, names: dict[str, Any]) -> None:
            code = "".join(f"{name} = {value!r}\n" for name, value in names.items())
            await self.repl.run(0, code, 30)


class BindsShortTexts(Wrong):
    """Cuts what is longer than a frame."""

    class repl(RightRepl):  # noqa: N801
        async def bind(self, names: dict[str, Any]) -> None:
            cut = {n: v[:1_000_000] if isinstance(v, str) else v for n, v in names.items()}
            await self.repl.bind(cut)


# -- output --------------------------------------------------------------------------------------


class DropsOutput(Wrong):
    """Forgets what was printed when a cell fails."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            return result if result.ok else replace(result, output="", output_chars=0)


class DropsTheTail(Wrong):
    """Keeps the beginning alone."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            return replace(result, output=result.output[:5_000])


class WrongLength(Wrong):
    """Says the length of what it kept."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            return replace(result, output_chars=len(result.output))


class CutsNothing(Wrong):
    """Hands over all that was printed."""

    settings: ClassVar[dict[str, Any]] = {"grace_seconds": 0.5, "output_chars": 10**9}


class StripsOutput(Wrong):
    """Tidies the end of the output up."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            return replace(result, output=result.output.strip())


class NeverStreams(Wrong):
    """Tells a host that listens nothing."""

    class host(RightHost):  # noqa: N801
        listens = False


class AlwaysStreams(Wrong):
    """Tells a host that does not listen all the same."""

    class host(RightHost):  # noqa: N801
        listens = True


# -- answers and data ----------------------------------------------------------------------------


class AnswersAreText(Wrong):
    """Hands every answer over as its text."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            finish = result.finish
            return result if finish is None else replace(result, finish=Finish(finish.text, "x"))


class QuotesInCharacters(Wrong):
    """Gives offsets of quotes in characters."""

    class repl(RightRepl):  # noqa: N801
        def after(self, result: CellResult) -> CellResult:
            if result.finish is None:
                return result
            quotes = tuple(
                replace(quote, end=(quote.start or 0) + len(quote.text))
                for quote in result.finish.quotes
            )
            return replace(result, finish=replace(result.finish, quotes=quotes))


class NeverLazy(Wrong):
    """Ignores how much memory a text may take."""

    def __init__(self, text_bytes: int = 0) -> None:
        super().__init__()


class DecodesAsItLikes(Wrong):
    """Reads all data as UTF-8."""

    @contextlib.asynccontextmanager
    async def open(
        self,
        workers: Workers,
        data: Data,
        host: Host,
        functions: tuple[Function, ...],
        seed: int = 0,
    ) -> AsyncIterator[Repl]:
        documents = tuple(
            replace(each, encoding="utf-8", errors="replace", bom=0) for each in data.documents
        )
        async with workers.open(replace(data, documents=documents), host, functions, seed) as repl:
            yield repl


class LosesADocument(Wrong):
    """Offers the first hundred."""

    @contextlib.asynccontextmanager
    async def open(
        self,
        workers: Workers,
        data: Data,
        host: Host,
        functions: tuple[Function, ...],
        seed: int = 0,
    ) -> AsyncIterator[Repl]:
        fewer = replace(data, documents=data.documents[:100])
        async with workers.open(fewer, host, functions, seed) as repl:
            yield repl


# -- isolation and leaving -----------------------------------------------------------------------


class KeepsAWorker(Wrong):
    """Gives the next node the worker that the last one used."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, Repl] = {}

    @contextlib.asynccontextmanager
    async def workers(self) -> AsyncIterator[Workers]:
        async with contextlib.AsyncExitStack() as stack, self.box.workers() as workers:
            kept: list[Repl] = []
            box = self

            class Keeping:
                @contextlib.asynccontextmanager
                async def open(
                    self, data: Data, host: Host, functions: tuple[Function, ...], seed: int = 0
                ) -> AsyncIterator[Repl]:
                    if not kept:
                        opened = workers.open(data, box.host(host), functions)
                        kept.append(await stack.enter_async_context(opened))
                    yield kept[0]

            yield Keeping()


class PassesTheEnvironment(Wrong):
    """Starts its worker with all that the host's environment has."""

    class repl(RightRepl):  # noqa: N801
        def before(self, code: str) -> str:
            return f"import os; os.environ.update({dict(os.environ)!r})\n{code}"


class SameSeed(Wrong):
    """All workers draw the same numbers."""

    class repl(RightRepl):  # noqa: N801
        def before(self, code: str) -> str:
            return f"import random; random.seed(7)\n{code}"


class LeavesItsWorker(Wrong):
    """Does not end the worker when its scope is left."""

    left: ClassVar[list[Any]] = []

    @contextlib.asynccontextmanager
    async def open(
        self,
        workers: Workers,
        data: Data,
        host: Host,
        functions: tuple[Function, ...],
        seed: int = 0,
    ) -> AsyncIterator[Repl]:
        others = self.box.workers()  # nor those that it is one of
        opened = (await others.__aenter__()).open(data, self.host(host), functions)
        self.left.extend((others, opened))
        yield await opened.__aenter__()


class LeavesATask(Wrong):
    """Has a task that goes on."""

    @contextlib.asynccontextmanager
    async def workers(self) -> AsyncIterator[Workers]:
        async with self.box.workers() as workers:
            self.task = asyncio.create_task(asyncio.sleep(60), name="left behind")
            yield workers


class LeavesADescriptor(Wrong):
    """Opens a pipe a worker and closes none."""

    @contextlib.asynccontextmanager
    async def workers(self) -> AsyncIterator[Workers]:
        async with self.box.workers() as workers:
            self.pipe = os.pipe()
            yield workers


@dataclasses.dataclass
class DoesNothing:
    """Says ``done`` to everything: no check may hold of it."""

    text_bytes: int = 1 << 20
    name = ""
    pid = 0
    layers = ()
    alive = True

    @contextlib.asynccontextmanager
    async def workers(self) -> AsyncIterator[Any]:
        yield self

    @contextlib.asynccontextmanager
    async def open(self, data: Data, host: Host, functions: Any) -> AsyncIterator[Repl]:
        yield self

    async def run(
        self, cell: int, code: str, seconds: float, clock: float | None = None
    ) -> CellResult:
        return CellResult("done")

    async def bind(self, names: dict[str, Any]) -> None:
        """It does nothing."""

    async def look(self, name: str) -> Finish | None:
        return None

    async def checkpoint(self) -> bytearray:
        return bytearray()

    async def restore(self, data: bytes | bytearray) -> None:
        """It does nothing."""


class RestoresNothing(Wrong):
    """Takes any bytes for a checkpoint."""

    class Forgetful(RightRepl):
        async def restore(self, data: bytes | bytearray) -> None:
            """It does nothing."""

    repl = Forgetful
