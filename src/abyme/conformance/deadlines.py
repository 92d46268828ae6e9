"""A cell's deadline, the cancelling of a run, and looking at a variable."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from abyme.conformance.trial import (
    SECONDS,
    AnsweringHost,
    Broken,
    Trial,
    ended,
    ends,
    holds,
    output_of,
    prints,
    same,
    within,
)
from abyme.sandbox.base import Repl

_SOON = 5.0
"""Seconds in which what should take less than one is over, also on a machine that is busy."""


class DeadlineChecks(Trial):
    """At its deadline a cell is interrupted and the state kept; what will not stop is killed."""

    async def _interrupted(self, loop: str) -> None:
        async with self.repl() as repl:
            output_of(await self.run(repl, 1, f"import {MODULES}\nkept = 5"))
            result = await repl.run(2, f"kept = 6\n{loop}", 0.3 * self.patience)
            ends(result, "interrupted")
            holds(repl.alive, "it is not alive any more")
            prints(await self.run(repl, 3, "print(kept)"), "6\n")

    @within(SECONDS)
    async def test_a_busy_loop_is_interrupted(self) -> None:
        """``while True: pass``."""
        await self._interrupted("while True: pass")

    @within(SECONDS)
    async def test_a_sleep_is_interrupted(self) -> None:
        """``time.sleep``, in which nothing runs."""
        await self._interrupted("time.sleep(300)")

    @within(SECONDS)
    async def test_a_regular_expression_is_interrupted(self) -> None:
        """One that backtracks without end: C code that looks for signals now and then."""
        await self._interrupted("re.match(r'(a+)+$', 'a' * 40 + 'b')")

    @within(SECONDS)
    async def test_waiting_for_an_event_is_interrupted(self) -> None:
        """``threading.Event().wait()``."""
        await self._interrupted("threading.Event().wait()")

    @within(SECONDS)
    async def test_waiting_for_a_thread_is_interrupted(self) -> None:
        """``Thread.join`` of a thread that does not end; that thread goes on."""
        await self._interrupted(
            "t = threading.Thread(target=time.sleep, args=(300,), daemon=True)\nt.start(); t.join()"
        )

    @within(SECONDS)
    async def test_waiting_for_a_queue_is_interrupted(self) -> None:
        """``queue.Queue().get()``."""
        await self._interrupted("queue.Queue().get()")

    @within(SECONDS)
    async def test_a_top_level_await_is_interrupted(self) -> None:
        """The event loop of the cells is still of use afterwards."""
        await self._interrupted("await asyncio.sleep(300)")

    @within(SECONDS)
    async def test_an_event_loop_of_its_own_is_interrupted(self) -> None:
        """``asyncio.run``, which handles SIGINT in a way of its own."""
        await self._interrupted("asyncio.run(asyncio.sleep(300))")

    @within(SECONDS)
    async def test_waiting_for_input_and_output_is_interrupted(self) -> None:
        """``select`` without a descriptor that would ever be ready."""
        await self._interrupted("select.select([], [], [], 300)")

    @within(SECONDS)
    async def test_an_endless_comprehension_is_interrupted(self) -> None:
        """A list that would grow until memory is full."""
        await self._interrupted("[None for _ in iter(int, 1)]")

    @within(SECONDS)
    async def test_a_loop_that_catches_errors_is_interrupted(self) -> None:
        """``except Exception``, as models write it around everything, does not catch it."""
        await self._interrupted("while True:\n    try: 1 / 0\n    except Exception: pass")

    async def _killed(self, loop: str) -> None:
        async with self.repl() as repl:
            output_of(await self.run(repl, 1, f"import {MODULES}\nkept = 5"))
            result = await repl.run(2, loop, 0.3 * self.patience)
            ends(result, "died")
            holds(result.error is not None and result.error.message, "nothing says why")
            holds(not repl.alive, "it is still alive")

    @within(SECONDS)
    async def test_what_catches_the_interrupt_is_killed(self) -> None:
        """``except BaseException`` in an endless loop ends the worker, after a grace."""
        await self._killed(
            "while True:\n    try: time.sleep(1)\n    except BaseException: pass",
        )

    @within(SECONDS)
    async def test_what_ignores_the_interrupt_is_killed(self) -> None:
        """So does a cell that ignores the signal; where none is sent it has nothing to ignore."""
        async with self.repl() as repl:
            code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
            result = await repl.run(1, code, 0.3 * self.patience)
            holds(result.ended in ("died", "interrupted"), f"it ended as {result.ended!r}")

    @within(SECONDS)
    async def test_what_never_looks_for_signals_is_killed(self) -> None:
        """A loop in C that runs no Python."""
        await self._killed("sum(iter(int, 1))")

    @within(SECONDS)
    async def test_the_clock_stops_while_the_cell_waits_for_the_host(self) -> None:
        """Calls that take longer than the deadline, one by one and many at once."""

        async def slow(arguments: dict[str, Any]) -> str:
            await asyncio.sleep(1.0 * self.patience)
            return "late"

        code = (
            "import asyncio\nllm_query('x'), await asyncio.gather(allm_query('y'), allm_query(''))"
        )
        async with self.repl(host=AnsweringHost({"llm_query": slow})) as repl:
            result = await repl.run(1, code, 0.5 * self.patience)
            prints(result, "('late', ['late', 'late'])\n")

    @within(SECONDS)
    async def test_the_clock_goes_on_between_calls(self) -> None:
        """A call does not set it back: what is computed between calls adds up."""
        code = (
            "import time\nfor i in range(1_000):\n    llm_query('x')\n"
            f"    time.sleep({0.05 * self.patience})\nprint('never')"
        )
        async with self.repl(host=AnsweringHost({"llm_query": lambda a: "y"})) as repl:
            ends(await repl.run(1, code, 0.4 * self.patience), "interrupted")

    @within(SECONDS)
    async def test_a_deadline_at_a_cells_end_leaves_the_next_cell_alone(self) -> None:
        """Cells that end by themselves just as their deadline strikes: an interrupt that comes
        too late for its cell is nobody's.
        """
        async with self.repl() as repl:
            output_of(await self.run(repl, 1, "import time"))
            for at in range(60):
                result = await repl.run(2 * at + 2, "time.sleep(0.02)", 0.02 + at * 5e-5)
                holds(result.ended in ("done", "interrupted"), f"it ended as {result.ended!r}")
                after = await self.run(repl, 2 * at + 3, "sum(range(200_000)) > 0")
                holds(after.ended == "done", f"the cell after it, which had time, {ended(after)}")
                prints(after, "True\n")

    @within(SECONDS)
    async def test_a_cancelled_run_is_over_at_once(self) -> None:
        """The coroutine ends within a second, the cell is interrupted, and its state is there.

        The check allows five seconds, for machines that are busy.
        """
        async with self.repl() as repl:
            output_of(await self.run(repl, 1, "import time"))
            running = await self._begun(repl, 2, "best = 'so far'\ntime.sleep(300)")
            await self._cancel(running)
            found = await self._soon("look", repl.look("best"))
            holds(found is not None and found.text == "so far", f"look gave {found!r}")

    @within(SECONDS)
    async def test_a_cancelled_run_that_waits_for_the_host_is_over_at_once(self) -> None:
        """Its calls are cancelled on the host; nothing is spent any more."""
        cancelled = asyncio.Event()
        asked = asyncio.Event()

        async def hang(arguments: dict[str, Any]) -> str:
            asked.set()
            try:
                await asyncio.sleep(SECONDS * self.patience)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return ""

        async with self.repl(host=AnsweringHost({"llm_query": hang})) as repl:
            running = asyncio.create_task(self.run(repl, 1, "llm_query('x')"))
            await asked.wait()
            await self._cancel(running)
            await self._soon("the end of the host's call", cancelled.wait())

    @within(SECONDS)
    async def test_a_cancelled_run_of_what_will_not_stop_is_over_at_once(self) -> None:
        """And so is leaving the worker's scope, which kills it."""
        async with self.repl() as repl:
            running = await self._begun(repl, 1, "sum(iter(int, 1))")
            await self._cancel(running)
            left = time.monotonic()
        holds(time.monotonic() - left < 2 * _SOON * self.patience, "leaving took too long")

    @within(SECONDS)
    async def test_a_variable_can_be_looked_at(self) -> None:
        """``look`` gives its value and its text; None for a name that is not there or is ours."""
        make = "n = {'a': [1, 2.5]}\nanswer['content'] = 'draft'"
        async with self.repl() as repl:
            output_of(await self.run(repl, 1, make))
            found = await repl.look("n")
            holds(found is not None, "a variable is not found")
            if found is not None:
                same("its value", found.value, {"a": [1, 2.5]})
                same("its text", found.text, '{"a": [1, 2.5]}')
            draft = await repl.look("answer")
            holds(draft is not None and draft.text == "draft", f"answer gave {draft!r}")
            for name in ("nosuch", "llm_query", "n['a']", ""):
                same(f"a look at {name!r}", await repl.look(name), None)

    @within(SECONDS)
    async def test_a_look_at_a_busy_worker_ends_and_disturbs_nothing(self) -> None:
        """It finds nothing or what is there, soon; the cell goes on, and later looks are right."""
        release = asyncio.Event()

        async def wait(arguments: dict[str, Any]) -> str:
            await release.wait()
            return "go"

        host = AnsweringHost({"llm_query": wait})
        async with self.repl(host=host) as repl:
            output_of(await self.run(repl, 1, "a, b = 'A', 'B'"))
            running = asyncio.create_task(self.run(repl, 2, "llm_query('x')"))
            while not host.calls:
                await asyncio.sleep(0.01)
            busy = await self._soon("look", repl.look("a"))
            holds(busy is None or busy.text == "A", f"a look at a: {busy!r}")
            release.set()
            prints(await running, "'go'\n")
            for name, text in (("b", "B"), ("a", "A")):
                found = await repl.look(name)
                holds(found is not None and found.text == text, f"a look at {name}: {found!r}")

    @within(SECONDS)
    async def test_a_look_runs_no_code(self) -> None:
        """Not even a ``__str__`` or a ``__len__`` that a cell defined."""
        make = (
            "ran = []\nclass V:\n    def __str__(self): ran.append(1); return 'v'\n"
            "    __repr__ = __str__\nclass D(dict):\n"
            "    def items(self): ran.append(2); return []\nv, d, l = V(), D(a=1), [V()]"
        )
        async with self.repl() as repl:
            output_of(await self.run(repl, 1, make))
            for name in ("v", "d", "l"):
                await repl.look(name)
            prints(await self.run(repl, 2, "ran"), "[]\n")

    async def _begun(self, repl: Repl, cell: int, code: str) -> asyncio.Task[Any]:
        """A cell that is surely under way."""
        running = asyncio.create_task(self.run(repl, cell, code))
        await asyncio.sleep(0.5 * self.patience)
        holds(not running.done(), f"the cell is over already: {running}")
        return running

    async def _cancel(self, running: asyncio.Task[Any]) -> None:
        running.cancel()
        done, _ = await asyncio.wait((running,), timeout=_SOON * self.patience)
        holds(done, "a cancelled run goes on")
        holds(running.cancelled(), "a cancelled run gave a result all the same")

    async def _soon(self, what: str, work: Any) -> Any:
        try:
            async with asyncio.timeout(_SOON * self.patience):
                return await work
        except TimeoutError:
            raise Broken(f"{what}: not within {_SOON:.0f} s") from None


MODULES = "asyncio, queue, re, select, threading, time"
