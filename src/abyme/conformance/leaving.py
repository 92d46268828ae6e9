"""Leaving the scope of a worker, and of a run's workers, leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
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
    same,
    within,
)

_PATIENCE = 10.0
"""Seconds that the system may take to let go of what has been ended."""


class LeavingChecks(Trial):
    """No task, no descriptor, no process, no call: whatever the worker was doing."""

    @contextlib.asynccontextmanager
    async def _nothing_left(self) -> AsyncIterator[None]:
        """What is started within is gone at its end. The first worker of a process is let go of
        before: what a sandbox keeps for good (a warm process, a pipe of its own) is there by then.
        """
        async with self.repl() as repl:
            prints(await self.run(repl, 1, "'warm'"), "'warm'\n")
        before = _traces()
        yield
        others = asyncio.all_tasks() - {asyncio.current_task()}
        same("tasks that are left", {task.get_name() for task in others}, set())
        until = time.monotonic() + _PATIENCE * self.patience
        while (left := _traces() - before) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        same("what is left", left, set())

    @within(SECONDS)
    async def test_nothing_is_left_of_workers_that_worked(self) -> None:
        """Two at once, over a file, with calls and threads that still run."""
        with TemporaryDirectory(prefix="abyme-conformance-") as folder:
            path = Path(folder) / "data.txt"
            path.write_text("line of text\n" * 500_000)
            async with self._nothing_left():
                host = AnsweringHost({"llm_query": lambda a: "y"})
                async with self.sandbox().workers() as workers:
                    data = loaded(path, Path(folder))
                    async with workers.open(data, host, ()) as one, workers.open(data, host, ()):
                        code = (
                            "import threading, time\nlen(context), llm_query('x')\n"
                            "threading.Thread(target=time.sleep, args=(300,)).start()\n'done'"
                        )
                        prints(await self.run(one, 1, code), "'done'\n")

    @within(SECONDS)
    async def test_nothing_is_left_of_a_worker_that_died(self) -> None:
        """By itself, and killed at a deadline."""
        async with self._nothing_left():
            async with self.repl() as repl:
                ends(await self.run(repl, 1, "import os; os._exit(3)"), "died")
            async with self.repl() as repl:
                ends(await repl.run(1, "sum(iter(int, 1))", 0.2 * self.patience), "died")

    @within(SECONDS)
    async def test_nothing_is_left_where_a_cell_still_runs(self) -> None:
        """The scope is left by an exception of the host's, which passes through as it is."""

        class Mine(Exception):
            pass

        async with self._nothing_left():
            try:
                async with self.repl() as repl:
                    running = asyncio.create_task(self.run(repl, 1, "import time; time.sleep(300)"))
                    await asyncio.sleep(0.3 * self.patience)
                    holds(not running.done(), f"it is over already: {running}")
                    running.cancel()
                    await asyncio.wait((running,), timeout=_PATIENCE)
                    raise Mine("the host's own")
            except Mine as error:
                same("the exception", str(error), "the host's own")
            holds(running.cancelled(), "the run was not cancelled")

    @within(SECONDS)
    async def test_nothing_is_left_where_calls_are_in_flight(self) -> None:
        """They are cancelled on the host when the scope is left, not waited for."""
        cancelled: list[str] = []

        async def hang(arguments: dict[str, Any]) -> str:
            try:
                await asyncio.sleep(SECONDS * self.patience)
            except asyncio.CancelledError:
                cancelled.append(arguments["prompt"])
                raise
            return ""

        code = (
            "import threading\nfor p in 'abc':\n"
            "    threading.Thread(target=llm_query, args=(p,), daemon=True).start()\n"
        )
        host = AnsweringHost({"llm_query": hang})
        async with self._nothing_left(), self.repl(host=host) as repl:
            output_of(await self.run(repl, 1, code))
            while len(host.calls) < 3:
                await asyncio.sleep(0.01)
        same("the calls that were cancelled", sorted(cancelled), ["a", "b", "c"])

    @within(SECONDS)
    async def test_nothing_is_left_of_a_start_that_was_cancelled(self) -> None:
        """At several moments of it."""
        async with self._nothing_left():
            for pause in (0, 0.001, 0.005, 0.02, 0.05):
                entered = asyncio.create_task(self._enter())
                await asyncio.sleep(pause * self.patience)
                entered.cancel()
                await asyncio.wait((entered,), timeout=_PATIENCE * self.patience)
                holds(entered.done(), "a cancelled start goes on")

    async def _enter(self) -> None:
        async with self.repl(TEXT) as repl:
            await self.run(repl, 1, "import time; time.sleep(300)")

    @within(SECONDS)
    async def test_the_process_goes_when_the_scope_is_left(self) -> None:
        """That of one worker, while its run goes on; where it has an id here (``pid`` is not 0)."""
        with TemporaryDirectory(prefix="abyme-conformance-") as folder:
            async with self.sandbox().workers() as workers:
                data = loaded(TEXT, Path(folder))
                async with workers.open(data, AnsweringHost(), ()) as repl:
                    prints(await self.run(repl, 1, "1"), "1\n")
                    pid = repl.pid
                    holds(pid == 0 or _is_there(pid), f"there is no process {pid}")
                holds(not repl.alive, "the REPL says that it is alive")
                until = time.monotonic() + _PATIENCE * self.patience
                while pid and _is_there(pid) and time.monotonic() < until:
                    await asyncio.sleep(0.001)
                holds(pid == 0 or not _is_there(pid), f"process {pid} is still there")


def _traces() -> set[str]:
    """Descriptors and child processes of this process, where they can be listed (Linux)."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                link = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
                if not link.endswith("/fd"):
                    found.add(f"descriptor {descriptor}: {link}")
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                children = Path(f"/proc/self/task/{thread}/children").read_text().split()
                found.update(f"process {child}" for child in children)
    return found


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
