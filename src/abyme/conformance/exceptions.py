"""How a cell that raises is told."""

from __future__ import annotations

from abyme.conformance.trial import SECONDS, Broken, Trial, holds, prints, raises, same, within
from abyme.types import CellResult

_LONGEST = 20_000
"""Characters of the longest traceback or message that may come out of a worker."""


def traceback_of(result: CellResult) -> str:
    """The traceback of a cell that raised."""
    if result.error is None:
        raise Broken("the cell raised nothing")
    return result.error.traceback


class ExceptionChecks(Trial):
    """Whatever a cell raises ends that cell alone, and is told as Python would tell it."""

    @within(SECONDS)
    async def test_an_exception_is_told_with_type_and_message(self) -> None:
        """``error.type`` is the name of its class, ``error.message`` is ``str(exception)``."""
        cells = (
            "raise ValueError('so\\nit is')",
            "class Mine(KeyError): pass\nraise Mine('k')",
            "assert 1 == 2",
        )
        first, second, third = await self.cells(*cells)
        same("the message", raises(first, "ValueError"), "so\nit is")
        same("the message", raises(second, "Mine"), "'k'")
        same("the message", raises(third, "AssertionError"), "")

    @within(SECONDS)
    async def test_a_traceback_names_cell_and_line_and_shows_the_source(self) -> None:
        """Through functions of earlier cells too: number of the cell, of the line, and the line."""
        define = "def halve(n):\n    if n % 2:\n        raise ValueError(n)  # odd\n    return n"
        _, failed = await self.cells(define, "x = 1\nhalve(3)")
        raises(failed, "ValueError")
        shown = traceback_of(failed)
        for part in ("cell 1", "line 3", "# odd", "cell 2", "line 2", "halve(3)", "ValueError: 3"):
            holds(part in shown, f"no {part!r} in the traceback: {shown}")

    @within(SECONDS)
    async def test_a_traceback_hides_what_runs_the_cell(self) -> None:
        """It begins with the cell's own frame and ends there: the worker's code is no business of
        the model's, and pathes of the machine that it runs on even less.
        """
        cells = ("1 / 0", "llm_query(3)", "await allm_query(3)")
        for result in await self.cells(*cells):
            shown = traceback_of(result)
            files = [line for line in shown.splitlines() if line.lstrip().startswith("File ")]
            holds(files, f"no frame is shown: {shown}")
            others = [line for line in files if "cell" not in line]
            same("frames that are no cell's", others, [])

    @within(SECONDS)
    async def test_causes_and_groups_are_shown(self) -> None:
        """``raise … from`` and exceptions raised while handling others are told with the first."""
        cells = (
            "try: {}['lost']\nexcept KeyError as e: raise RuntimeError('second') from e",
            "try: 1 / 0\nexcept ZeroDivisionError: [][9]",
            "raise ExceptionGroup('several', [ValueError('one'), TypeError('two')])",
        )
        first, second, third = await self.cells(*cells)
        raises(first, "RuntimeError")
        raises(second, "IndexError")
        raises(third, "ExceptionGroup")
        expected = [("KeyError", "second"), ("ZeroDivisionError", "IndexError"), ("one", "two")]
        for result, parts in zip((first, second, third), expected, strict=True):
            for part in parts:
                holds(part in traceback_of(result), f"no {part!r} in {traceback_of(result)}")

    @within(SECONDS)
    async def test_exceptions_that_are_no_errors_end_only_their_cell(self) -> None:
        """``BaseException``, ``GeneratorExit`` and ``CancelledError`` do not end the worker."""
        cells = (
            "raise BaseException('base')",
            "raise GeneratorExit",
            "import asyncio; raise asyncio.CancelledError",
            "'alive'",
        )
        *raised, last = await self.cells(*cells)
        for result, kind in zip(
            raised, ("BaseException", "GeneratorExit", "CancelledError"), strict=True
        ):
            raises(result, kind)
        prints(last, "'alive'\n")

    @within(SECONDS)
    async def test_hostile_exceptions_and_reprs_are_told(self) -> None:
        """An exception whose own ``__str__`` raises, and a value whose ``__repr__`` does."""
        cells = (
            "class E(Exception):\n    def __str__(self): raise ValueError('no str')\nraise E()",
            "class R:\n    def __repr__(self): raise ValueError('no repr')\nR()",
            "class L:\n    def __len__(self): raise SystemError\nv = L()\n1",
            "class M(type):\n    def __getattribute__(c, n): raise OSError\n"
            "class X(metaclass=M): 0",
            "'alive'",
        )
        first, second, third, _, last = await self.cells(*cells)
        raises(first, "E")
        raises(second, "ValueError")
        prints(third, "1\n")
        prints(last, "'alive'\n")

    @within(SECONDS)
    async def test_endless_recursion_is_an_exception(self) -> None:
        """It is a ``RecursionError`` in the cell, with a traceback that is cut; state is kept."""
        first, second = await self.cells("x = 1\ndef f(): return f()\nf()", "x")
        raises(first, "RecursionError")
        holds(len(traceback_of(first)) <= _LONGEST, "the traceback is not cut")
        prints(second, "1\n")

    @within(SECONDS)
    async def test_an_allocation_that_cannot_be_is_a_memory_error(self) -> None:
        """More memory than there can be is ``MemoryError`` in the cell; state is kept."""
        first, second = await self.cells("x = 1\nb = bytearray(1 << 60)", "x")
        raises(first, "MemoryError")
        prints(second, "1\n")

    @within(SECONDS)
    async def test_long_messages_are_cut(self) -> None:
        """Message and traceback of an exception of 10 MB come out short, head and tail kept."""
        first, second = await self.cells("x = 1\nraise ValueError('HEAD' + 'm' * 10_000_000)", "x")
        message = raises(first, "ValueError")
        holds(message.startswith("HEAD"), f"the message begins {message[:40]!r}")
        longest = max(len(message), len(traceback_of(first)))
        holds(longest <= _LONGEST, f"{longest:,} characters came out")
        prints(second, "1\n")

    @within(SECONDS)
    async def test_an_exception_in_a_thread_does_not_end_the_cell(self) -> None:
        """It is printed, as Python does; the cell goes on."""
        code = (
            "import threading\nthread = threading.Thread(target=lambda: 1 / 0)\n"
            "thread.start(); thread.join()\nprint('on')"
        )
        (result,) = await self.cells(code)
        holds(result.ok, "the cell did not go on")
        for part in ("ZeroDivisionError", "on\n"):
            holds(part in result.output, f"no {part!r} in the output: {result.output!r}")
