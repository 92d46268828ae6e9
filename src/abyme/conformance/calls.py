"""Host calls: what code asks the host for, from wherever in the cell it asks."""

from __future__ import annotations

import asyncio
from typing import Any

from abyme.conformance.trial import (
    SECONDS,
    AnsweringHost,
    Trial,
    ends,
    holds,
    output_of,
    prints,
    raises,
    same,
    within,
)
from abyme.errors import BudgetExceeded, CallFailed, WindowExceeded
from abyme.sandbox.base import GAVE_UP, Function

TAKE = Function("take", ("value",), "Take a value.", "(value)")
_MANY = 1_000
_BIG = 30_000_000


def echo(arguments: dict[str, Any]) -> str:
    """The prompt itself."""
    return str(arguments["prompt"])


class Crowd:
    """Answers calls only once ``size`` of them are in flight at once, the last one first."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._prompts: list[str] = []
        self._full = asyncio.Event()
        self._few = ""

    async def answer(self, arguments: dict[str, Any]) -> str:
        """The prompt, marked. Fails where the others do not come."""
        place = len(self._prompts)
        self._prompts.append(arguments["prompt"])
        if len(self._prompts) == self._size:
            self._full.set()
        try:
            async with asyncio.timeout(self._seconds):
                await self._full.wait()
        except TimeoutError:
            self._few = self._few or f"{place + 1:,} calls in flight at once, not {self._size:,}"
            self._full.set()
        if self._few:
            raise CallFailed(self._few)
        await asyncio.sleep((self._size - place) * 1e-4)
        return f"<{arguments['prompt']}>"


class CallChecks(Trial):
    """A call reaches the host as it was made, its answer reaches the code that waits for it."""

    @within(SECONDS)
    async def test_a_call_reaches_the_host_with_its_arguments_by_name(self) -> None:
        """And with the number of the cell that makes it."""
        host = AnsweringHost({"llm_query": echo, "rlm_query": lambda a: a["question"]})
        cells = ("llm_query('hi')", "llm_query('ho', model='m')", "rlm_query('q', ['a', 'b'])")
        results = await self.cells(*cells, host=host)
        same("the values", [output_of(r) for r in results], ["'hi'\n", "'ho'\n", "'q'\n"])
        pieces = [{"text": "a", "name": "1"}, {"text": "b", "name": "2"}]
        expected = [
            (1, "llm_query", {"prompt": "hi", "model": None}),
            (2, "llm_query", {"prompt": "ho", "model": "m"}),
            (3, "rlm_query", {"question": "q", "context": {"pieces": pieces}, "model": None}),
        ]
        same("what the host was asked", host.calls, expected)

    @within(SECONDS)
    async def test_the_hosts_own_functions_are_offered_by_name(self) -> None:
        """Each ``Function`` is one in the namespace, with its docstring; arguments get names."""
        host = AnsweringHost({"lookup": lambda a: [a["city"], a.get("year", 0)]})
        tool = Function("lookup", ("city", "year"), "Find a city.", "(city, year=0)")
        right = "lookup('Rome', year=3), lookup(city='Bari')"
        cells = (right, "lookup.__doc__", "lookup(1, 2, 3)", "lookup('a', city='b')")
        called, doc, *wrong = await self.cells(*cells, host=host, functions=(tool,))
        prints(called, "(['Rome', 3], ['Bari', 0])\n")
        prints(doc, "'Find a city.'\n")
        for result in wrong:
            raises(result, "TypeError")
        same("calls that reached the host", len(host.calls), 2)

    @within(SECONDS)
    async def test_a_failed_call_is_an_exception_of_its_kind(self) -> None:
        """With the host's message for code, word for word; the cell can catch it and go on."""

        def fail(arguments: dict[str, Any]) -> str:
            raise {
                "budget": BudgetExceeded("max_calls", "no calls left"),
                "window": WindowExceeded("too long"),
                "tool": CallFailed("boom", "ToolError"),
                "type": CallFailed("wrong", "TypeError"),
                "other": CallFailed("no"),
            }[arguments["prompt"]]

        code = (
            "for p in ('budget', 'window', 'tool', 'type', 'other'):\n"
            "    try: llm_query(p)\n"
            "    except Exception as e: print(type(e).__name__, isinstance(e, CallError), e)"
        )
        caught, uncaught = await self.cells(
            code, "llm_query('tool')", host=AnsweringHost({"llm_query": fail})
        )
        expected = (
            "BudgetExceeded True no calls left\nPromptTooLong True too long\n"
            "ToolError True boom\nTypeError False wrong\nCallError True no\n"
        )
        prints(caught, expected)
        same("the message", raises(uncaught, "ToolError"), "boom")

    @within(SECONDS)
    async def test_a_fault_of_the_host_fails_the_call_and_not_the_cell(self) -> None:
        """An exception that is none of Abyme's, and a value that is no JSON, are errors too.

        Nothing waits for an answer that cannot come.
        """

        def broken(arguments: dict[str, Any]) -> Any:
            if arguments["prompt"] == "raise":
                raise ValueError("a fault of the host")
            return {"a": {1, 2}} if arguments["prompt"] == "set" else float("nan")

        code = (
            "for p in ('raise', 'set', 'nan'):\n"
            "    try: llm_query(p)\n    except CallError as e: print('failed')"
        )
        (result,) = await self.cells(code, host=AnsweringHost({"llm_query": broken}))
        prints(result, "failed\nfailed\nfailed\n")

    @within(SECONDS)
    async def test_wrong_arguments_are_type_errors_and_no_calls(self) -> None:
        """What is no text is refused where it is handed over; the host is not asked."""
        host = AnsweringHost()
        cells = (
            *("llm_query(3)", "llm_query_batched('one')", "llm_query_batched(['a', 4])"),
            *("rlm_query('q', context=7)", "await allm_query(None)"),
        )
        uneven = "rlm_query_batched(['q'], contexts=['a', 'b'])"
        *results, last = await self.cells(*cells, uneven, host=host)
        for result in results:
            raises(result, "TypeError")
        raises(last, "ValueError")
        same("calls that reached the host", host.calls, [])

    @within(SECONDS)
    async def test_a_batch_gives_answers_in_order_and_failures_in_place(self) -> None:
        """The host's list of ``{"value": …}`` and ``{"error": …}`` becomes a list whose failed
        items say so when printed and raise ``CallError`` when used.
        """

        def batch(arguments: dict[str, Any]) -> list[dict[str, Any]]:
            failed = {"error": {"type": "RateLimited", "message": "429"}}
            return [failed if p == "bad" else {"value": p.upper()} for p in arguments["prompts"]]

        cells = (
            "r = llm_query_batched(['a', 'bad', 'c'])\nr[0], r[2], r.failed",
            "'429' in repr(r[1]), isinstance(r[1], Failed)",
            "uses = [len, bool, list, int, hash, lambda x: x + 'y', lambda x: 'y' + x,\n"
            "  lambda x: x.strip(), lambda x: f'{x}', lambda x: x[0], lambda x: x == 'a',\n"
            "  lambda x: 'a' in x, lambda x: x < 'a']\n"
            "for at, use in enumerate(uses):\n"
            "    try: use(r[1]); print('no error in use', at)\n    except CallError: pass",
        )
        host = AnsweringHost({"llm_query_batched": batch})
        first, second, third = await self.cells(*cells, host=host)
        prints(first, "('A', 'C', [1])\n")
        prints(second, "(True, True)\n")
        prints(third, "")

    @within(SECONDS)
    async def test_answers_find_their_calls_whatever_order_they_come_in(self) -> None:
        """Fifty threads ask; the host answers the last one first."""
        crowd = Crowd(50, SECONDS * self.patience / 3)
        code = f"{POOL.format(50)}\nprint(got == [f'<{{i}}>' for i in range(50)])"
        (result,) = await self.cells(code, host=AnsweringHost({"llm_query": crowd.answer}))
        prints(result, "True\n")

    async def _a_thousand(self, code: str) -> None:
        crowd = Crowd(_MANY, SECONDS * self.patience / 3)
        check = f"{code}\nprint(got == [f'<{{i}}>' for i in range({_MANY})])"
        (result,) = await self.cells(check, host=AnsweringHost({"llm_query": crowd.answer}))
        prints(result, "True\n")

    @within(SECONDS)
    async def test_a_thousand_calls_are_in_flight_at_once_from_threads(self) -> None:
        """All reach the host before any of them is answered."""
        await self._a_thousand(POOL.format(_MANY))

    @within(SECONDS)
    async def test_a_thousand_calls_are_in_flight_at_once_from_coroutines(self) -> None:
        """``await asyncio.gather(*[allm_query(…) …])`` at the top level of a cell."""
        await self._a_thousand(
            "import asyncio\n"
            f"got = await asyncio.gather(*[allm_query(str(i)) for i in range({_MANY})])"
        )

    @within(SECONDS)
    async def test_a_thousand_calls_are_in_flight_at_once_from_to_thread(self) -> None:
        """``asyncio.to_thread(llm_query, …)``: its pool has room for a thousand that wait."""
        await self._a_thousand(
            "import asyncio\n"
            "got = await asyncio.gather("
            f"*[asyncio.to_thread(llm_query, str(i)) for i in range({_MANY})])"
        )

    @within(SECONDS)
    async def test_a_coroutine_that_is_cancelled_gives_its_call_up(self) -> None:
        """The host's ``call`` is cancelled, with :data:`~abyme.sandbox.base.GAVE_UP`; no other."""
        begun, ended = asyncio.Event(), asyncio.Event()
        given_up: list[tuple[str, ...]] = []

        async def answer(arguments: dict[str, Any]) -> str:
            prompt = str(arguments["prompt"])
            if prompt == "never":
                begun.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError as error:
                    given_up.append(error.args)
                    ended.set()
                    raise
            await (begun if prompt == "first" else ended).wait()
            return prompt

        code = (
            "import asyncio\ntask = asyncio.ensure_future(allm_query('never'))\n"
            "print(await allm_query('first'))\ntask.cancel()\n"
            "print(await allm_query('then'), task.cancelled())"
        )
        (result,) = await self.cells(code, host=AnsweringHost({"llm_query": answer}))
        prints(result, "first\nthen True\n")
        same("what the call was cancelled with", given_up, [(GAVE_UP,)])

    @within(SECONDS)
    async def test_coroutines_of_a_loop_of_the_cells_own_may_ask(self) -> None:
        """``asyncio.run`` in a cell and in a thread of a cell."""
        code = (
            "import asyncio, threading\nasync def ask(p): return await allm_query(p)\n"
            "got = [asyncio.run(ask('a'))]\n"
            "thread = threading.Thread(target=lambda: got.append(asyncio.run(ask('b'))))\n"
            "thread.start(); thread.join(); got"
        )
        (result,) = await self.cells(code, host=AnsweringHost({"llm_query": echo}))
        prints(result, "['a', 'b']\n")

    @within(SECONDS)
    async def test_the_host_is_told_that_another_thread_asks(self) -> None:
        """And that the cell itself does, in coroutines too."""
        host = AnsweringHost({"llm_query": echo})
        code = (
            "import asyncio\nllm_query('a'); await allm_query('b')\n"
            "await asyncio.to_thread(llm_query, 'c')"
        )
        output_of(*await self.cells(code, host=host))
        same("what was told of three calls", host.aside, [False, False, True])

    @within(SECONDS)
    async def test_a_thread_that_outlives_its_cell_gets_its_answers(self) -> None:
        """While later cells run, whatever these do themselves, and between them."""

        async def slow(arguments: dict[str, Any]) -> str:
            await asyncio.sleep(0.01)
            return echo(arguments)

        start = (
            "import threading\ngot = []\ndef work():\n"
            "    for i in range(30): got.append(llm_query(str(i)))\n"
            "thread = threading.Thread(target=work); thread.start()"
        )
        host = AnsweringHost({"llm_query": slow})
        async with self.repl(host=host) as repl:
            output_of(await self.run(repl, 1, start))
            prints(await self.run(repl, 2, "llm_query('mine')"), "'mine'\n")
            await asyncio.sleep(0.1)
            prints(await self.run(repl, 3, "1"), "1\n")
            last = "thread.join()\ngot == [str(i) for i in range(30)]"
            prints(await self.run(repl, 4, last), "True\n")

    @within(SECONDS)
    async def test_a_call_that_nobody_waits_for_any_more_does_no_harm(self) -> None:
        """A coroutine that was cancelled while it waited; its late answer goes to nobody."""
        release = asyncio.Event()

        async def answer(arguments: dict[str, Any]) -> str:
            if arguments["prompt"] == "slow":
                await release.wait()
            return echo(arguments)

        cells = (
            "import asyncio\ntry: await asyncio.wait_for(allm_query('slow'), 0.2)\n"
            "except TimeoutError: print('given up')",
            "[llm_query(str(i)) for i in range(3)]",
        )
        async with self.repl(host=AnsweringHost({"llm_query": answer})) as repl:
            prints(await self.run(repl, 1, cells[0]), "given up\n")
            release.set()
            prints(await self.run(repl, 2, cells[1]), "['0', '1', '2']\n")

    @within(SECONDS)
    async def test_an_interrupt_among_calls_mixes_up_no_answers(self) -> None:
        """A cell that does nothing but call is interrupted; the next one gets its own answers."""
        code = "n = 0\nwhile True:\n    n += 1\n    assert llm_query(str(n)) == str(n)"
        check = "n > 0, [llm_query(f'x{i}') for i in range(50)] == [f'x{i}' for i in range(50)]"
        async with self.repl(host=AnsweringHost({"llm_query": echo})) as repl:
            for cell in (1, 3):
                ends(await repl.run(cell, code, 0.2 * self.patience), "interrupted")
                prints(await self.run(repl, cell + 1, check), "(True, True)\n")

    @within(SECONDS)
    async def test_thirty_megabytes_come_through_both_ways(self) -> None:
        """One argument and one answer of that size; nothing is cut."""
        host = AnsweringHost({"llm_query": lambda a: a["prompt"] + "!"})
        code = f"p = 'é' * {_BIG // 2}\nr = llm_query(p)\nr == p + '!'"
        (result,) = await self.cells(code, host=host)
        prints(result, "True\n")
        same("characters that the host was asked with", len(host.calls[0][2]["prompt"]), _BIG // 2)

    @within(SECONDS)
    async def test_a_batch_of_thirty_megabytes_comes_through_both_ways(self) -> None:
        """Three thousand prompts and answers of ten thousand characters."""

        def batch(arguments: dict[str, Any]) -> list[dict[str, Any]]:
            return [{"value": prompt} for prompt in arguments["prompts"]]

        code = (
            "prompts = [f'{i:05}' * 2_000 for i in range(3_000)]\n"
            "list(llm_query_batched(prompts)) == prompts"
        )
        (result,) = await self.cells(code, host=AnsweringHost({"llm_query_batched": batch}))
        prints(result, "True\n")

    @within(SECONDS)
    async def test_what_is_too_large_for_a_call_is_an_error_in_the_cell(self) -> None:
        """A sandbox may limit one call; above that the cell raises, and the worker lives on."""
        host = AnsweringHost({"llm_query": lambda a: str(len(a["prompt"]))})
        cells = ("p = 'x' * 100_000_000\nllm_query(p)", "len(p), llm_query('y')")
        first, second = await self.cells(*cells, host=host)
        holds(first.ended in ("done", "raised"), f"a prompt of 100 MB: {first.ended}")
        if first.ended == "done":
            prints(first, "'100000000'\n")
        prints(second, "(100000000, '1')\n")

    @within(SECONDS)
    async def test_what_cannot_be_sent_is_an_error_in_the_cell(self) -> None:
        """Sets, objects, numbers that JSON has not, endless nesting: the worker lives on."""
        code = (
            "loop = []; loop.append(loop)\ndeep = []\nfor _ in range(5000): deep = [deep]\n"
            "for v in ({1}, object(), float('nan'), float('inf'), loop, deep, {'a': b''}):\n"
            "    try: take(v); print('sent', type(v))\n"
            "    except Exception as e: pass\ntake('still')"
        )
        host = AnsweringHost({"take": lambda a: a["value"]})
        (result,) = await self.cells(code, host=host, functions=(TAKE,))
        prints(result, "'still'\n")


POOL = (
    "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor({0}) as pool:\n"
    "    got = list(pool.map(llm_query, map(str, range({0}))))"
)
