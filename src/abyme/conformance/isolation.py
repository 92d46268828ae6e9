"""Workers have nothing of each other, and nothing of the host's."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from abyme.conformance.trial import (
    SECONDS,
    TEXT,
    AnsweringHost,
    Trial,
    ends,
    holds,
    loaded,
    output_of,
    prints,
    raises,
    same,
    within,
)
from abyme.context.load import Context
from abyme.sandbox.base import Function, Repl, Workers

_TOUCH = (
    "import builtins, json, os, random, sys, tempfile\nmine = 1\nbuiltins.leaked = 1\n"
    "json.leaked = 1\njson.dumps = None\nos.environ['LEAKED'] = '1'\nsys.path.append('/leaked')\n"
    "sys.setrecursionlimit(77777)\nsys.modules['leaked'] = sys\nrandom.seed(1)\n"
    "len(context), context.count('e')"
)
_LOOK = (
    "import json, os, sys\n"
    "[name for name, there in (('a name', 'mine' in globals()), ('builtins', 'leaked' in dir("
    "__builtins__) or 'leaked' in vars(__import__('builtins'))), ('a module', hasattr(json, 'leaked"
    "') or json.dumps is None), ('the environment', 'LEAKED' in os.environ), ('the path', '/leaked'"
    " in sys.path), ('a limit', sys.getrecursionlimit() == 77777), ('sys.modules', 'leaked' in "
    "sys.modules)) if there]"
)


class IsolationChecks(Trial):
    """Every node has a worker of its own: one that was never used, and that nobody else reaches."""

    @contextlib.asynccontextmanager
    async def _run_of_workers(self) -> AsyncIterator[_Opener]:
        """The workers of one run, each to be opened by ``open`` with data of its own."""
        with TemporaryDirectory(prefix="abyme-conformance-") as folder:
            async with self.sandbox().workers() as workers:
                yield _Opener(workers, Path(folder))

    @within(SECONDS)
    async def test_a_sandbox_describes_itself(self) -> None:
        """A short name, a limit on texts, a process id or 0, layers as texts."""
        box = self.sandbox()
        holds(isinstance(box.name, str) and 0 < len(box.name) <= 40, f"its name: {box.name!r}")
        holds(isinstance(box.text_bytes, int) and box.text_bytes > 0, f"{box.text_bytes!r} bytes")
        async with self.repl() as repl:
            holds(isinstance(repl.pid, int) and repl.pid >= 0, f"its process: {repl.pid!r}")
            layers = repl.layers
            holds(isinstance(layers, tuple), f"its layers: {layers!r}")
            holds(all(isinstance(layer, str) and layer for layer in layers), f"{layers!r}")
            prints(await self.run(repl, 1, "1"), "1\n")

    @within(SECONDS)
    async def test_a_fresh_worker_has_nothing_of_the_last(self) -> None:
        """No name, no module's state, no environment, after it has ended and while it lives."""
        async with self._run_of_workers() as run:
            async with run.open() as first:
                output_of(await self.run(first, 1, _TOUCH))
                async with run.open() as second:
                    prints(await self.run(second, 1, _LOOK), "[]\n")
            async with run.open() as third:
                prints(await self.run(third, 1, _LOOK), "[]\n")

    @within(SECONDS)
    async def test_a_worker_of_the_next_run_has_nothing_of_the_last(self) -> None:
        """The same over the border of two runs."""
        prints((await self.cells(_TOUCH))[0], f"({len(TEXT)}, {TEXT.count('e')})\n")
        prints((await self.cells(_LOOK))[0], "[]\n")

    @within(SECONDS)
    async def test_workers_at_the_same_time_do_not_see_each_other(self) -> None:
        """Each has its own data, its own functions, its own answers and its own variables."""
        nodes = range(4)
        async with self._run_of_workers() as run, contextlib.AsyncExitStack() as stack:
            repls = []
            for node in nodes:
                host = AnsweringHost({f"tool{node}": functools.partial(_from, node)})
                tool = Function(f"tool{node}", ())
                opened = run.open(f"text {node}\n", host, (tool,))
                repls.append(await stack.enter_async_context(opened))
            for node, repl in zip(nodes, repls, strict=True):
                output_of(await self.run(repl, 1, f"mine = {node}"))
            for node, repl in zip(nodes, repls, strict=True):
                code = f"mine, context, tool{node}(), [n for n in globals() if 'tool' in n]"
                expected = (node, f"text {node}\n", f"from {node}", [f"tool{node}"])
                prints(await self.run(repl, 2, code), f"{expected!r}\n")

    @within(SECONDS)
    async def test_workers_over_one_large_text_all_read_it(self) -> None:
        """A sandbox may share its memory between them; none can spoil it for another."""
        text = "line of text é\n" * 500_000
        spoil = (
            "import ctypes\nn = len(context)\n"
            "try: ctypes.memset(id(context) + 60, 0x41, 4_000_000)\nexcept Exception: pass\n"
            "context[:8]"
        )
        check = "len(context), context.count('line of text é\\n')"
        async with self._run_of_workers() as run, contextlib.AsyncExitStack() as stack:
            repls = [await stack.enter_async_context(run.open(text)) for _ in range(3)]
            for repl in repls:
                prints(await self.run(repl, 1, check), f"({len(text)}, 500000)\n")
            await self.run(repls[0], 2, spoil)
            prints(await self.run(repls[1], 2, check), f"({len(text)}, 500000)\n")
            async with run.open(text) as late:
                prints(await self.run(late, 1, check), f"({len(text)}, 500000)\n")

    @within(SECONDS)
    async def test_the_end_of_one_worker_is_not_the_end_of_another(self) -> None:
        """A worker that dies leaves the others, and new ones can be had."""
        async with self._run_of_workers() as run, run.open() as other:
            output_of(await self.run(other, 1, "x = 1"))
            async with run.open() as dying:
                ends(await self.run(dying, 1, "import os; os._exit(1)"), "died")
            prints(await self.run(other, 2, "x"), "1\n")
            async with run.open() as fresh:
                raises(await self.run(fresh, 1, "x"), "NameError")

    @within(SECONDS)
    async def test_the_hosts_environment_is_not_there(self) -> None:
        """No variable of the host's reaches a worker, by whatever way code looks for it."""
        name, secret = f"ABYME_CONFORMANCE_{secrets.token_hex(4)}", secrets.token_hex(16)
        os.environ[name] = secret
        try:
            code = (
                "import os\nseen = str(dict(os.environ))\n"
                "try: seen += open('/proc/self/environ').read()\nexcept OSError: pass\n"
                f"{name!r} in seen, {secret!r} in seen"
            )
            (result,) = await self.cells(code)
        finally:
            del os.environ[name]
        prints(result, "(False, False)\n")

    @within(SECONDS)
    async def test_cells_do_the_same_in_every_worker(self) -> None:
        """The order of sets, which hangs on the hash seed, repeats itself: cells can be re-run."""
        code = "print(list({str(i) for i in range(50)}))"
        outputs = {output_of((await self.cells(code))[0]) for _ in range(3)}
        same("different orders", len(outputs), 1)
        holds(all(outputs), "nothing was printed")

    @within(SECONDS)
    async def test_workers_draw_different_random_numbers(self) -> None:
        """Each from its own seed; ``uuid`` and ``secrets`` have none."""
        code = (
            "import random, secrets, uuid\n"
            "print(random.random(), secrets.token_hex(), uuid.uuid4())"
        )
        async with self._run_of_workers() as run:
            drawn: list[str] = []
            for seed in range(3):
                async with run.open(seed=seed) as repl:
                    drawn += output_of(await self.run(repl, 1, code)).split()
        same("different numbers", len(set(drawn)), 9)


def _from(node: int, arguments: dict[str, Any]) -> str:
    return f"from {node}"


class _Opener:
    def __init__(self, workers: Workers, folder: Path) -> None:
        self._workers = workers
        self._folder = folder

    def open(
        self,
        context: Context = TEXT,
        host: AnsweringHost | None = None,
        functions: tuple[Function, ...] = (),
        seed: int = 0,
    ) -> contextlib.AbstractAsyncContextManager[Repl]:
        data = loaded(context, self._folder / secrets.token_hex(4))
        return self._workers.open(data, host or AnsweringHost(), functions, seed)
