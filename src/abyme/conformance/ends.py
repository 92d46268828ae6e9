"""Exits, crashes and signals: what ends a cell, and what ends a worker."""

from __future__ import annotations

from abyme.conformance.trial import (
    SECONDS,
    Trial,
    Untried,
    ends,
    holds,
    output_of,
    prints,
    same,
    within,
)


class EndChecks(Trial):
    """``sys.exit`` ends a cell. What ends the worker is told as ``died``, and never raised."""

    @within(SECONDS)
    async def test_exits_end_the_cell_and_keep_the_state(self) -> None:
        """``sys.exit``, ``exit``, ``quit``, ``SystemExit``: ``exited``, with any argument."""
        exits = (
            "import sys; x = 1; sys.exit(3)",
            "x += 1; exit()",
            "x += 1; quit('why')",
            "x += 1; raise SystemExit(10**5000)",
        )
        *results, last = await self.cells(*exits, "print(x)")
        same("how they ended", [result.ended for result in results], ["exited"] * 4)
        prints(last, "4\n")

    async def _dies(self, code: str, *, refusal: bool = False) -> None:
        async with self.repl() as repl:
            prints(await self.run(repl, 1, "x = 1; print('said')"), "said\n")
            holds(repl.alive, "it is not alive before it died")
            result = await self.run(repl, 2, code)
            if refusal and result.ended == "raised":
                raise Untried(f"code cannot do that here: {result.error}")
            ends(result, "died")
            holds(result.error is not None and result.error.message, "nothing says how it ended")
            holds(not repl.alive, "it is alive after it died")
            ends(await self.run(repl, 3, "x"), "died")
            same("a look into a dead worker", await repl.look("x"), None)

    @within(SECONDS)
    async def test_os_exit_ends_the_worker(self) -> None:
        """``died`` with the reason; so do all later cells, at once, and ``look`` finds nothing."""
        await self._dies("import os; os._exit(7)")

    @within(SECONDS)
    async def test_a_crash_in_native_code_ends_the_worker(self) -> None:
        """A segmentation fault, by ctypes."""
        await self._dies("import ctypes; ctypes.string_at(0)", refusal=True)

    @within(SECONDS)
    async def test_abort_ends_the_worker(self) -> None:
        """``os.abort``."""
        await self._dies("import os; os.abort()")

    @within(SECONDS)
    async def test_an_exit_in_a_thread_ends_the_worker(self) -> None:
        """While the cell itself waits, also for the host."""
        await self._dies(
            "import os, threading, time\nthreading.Timer(0.1, os._exit, (3,)).start()\n"
            "time.sleep(300)"
        )

    @within(SECONDS)
    async def test_closed_standard_streams_do_not_hurt(self) -> None:
        """Descriptors 0, 1 and 2 belong to the code, also where it closes them."""
        code = "import os, sys\nfor fd in (0, 1, 2): os.close(fd)\nsys.stdout.close()\nprint('on')"
        first, second = await self.cells(code, "print('and on')")
        prints(first, "on\n")
        prints(second, "and on\n")

    @within(SECONDS)
    async def test_closing_every_descriptor_ends_in_one_way_or_the_other(self) -> None:
        """The worker dies or lives, but ``run`` comes back, at once."""
        code = "import os\nos.closerange(0, 4096)\nprint('x' * 9_000)"
        first, second = await self.cells(code, "print('there')")
        if first.ended == "died":
            ends(second, "died")
        else:
            output_of(first)
            prints(second, "there\n")

    @within(SECONDS)
    async def test_code_handles_its_own_signals(self) -> None:
        """Handlers and timers are the cell's, as in any Python program."""
        code = (
            "import signal\ngot = []\nsignal.signal(signal.SIGUSR1, lambda *_: got.append('usr'))\n"
            "signal.signal(signal.SIGALRM, lambda *_: got.append('alarm'))\n"
            "signal.raise_signal(signal.SIGUSR1)\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\n"
            "signal.pause()\nprint(got)"
        )
        (result,) = await self.cells(code)
        prints(result, "['usr', 'alarm']\n")
