"""Host calls from code: every way to make them, and how their failures look."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from abyme.errors import BudgetExceeded, CallFailed, WindowExceeded
from abyme.sandbox.base import Function
from support.repl import TestHost, run_cell, run_cells


def echo(arguments: dict[str, Any]) -> str:
    return f"re: {arguments['prompt']}"


def batch(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"error": {"type": "RateLimited", "message": "429 until the deadline"}}
        if "bad" in prompt
        else {"value": prompt.upper()}
        for prompt in arguments["prompts"]
    ]


def test_llm_query_asks_the_host(tmp_path: Path) -> None:
    host = TestHost({"llm_query": echo})
    result = run_cell(tmp_path, "llm_query('hi')", host=host)
    assert result.output == "'re: hi'\n"
    assert host.calls == [(1, "llm_query", {"prompt": "hi", "model": None})]


def test_a_failed_call_is_an_exception_that_says_why(tmp_path: Path) -> None:
    def fail(arguments: dict[str, Any]) -> str:
        raise {
            "b": BudgetExceeded("max_calls", "no calls left"),
            "w": WindowExceeded("too long"),
            "t": CallFailed("boom", "ToolError"),
            "x": ValueError("our fault"),
        }[arguments["prompt"]]

    code = """
for p in 'bwtx':
    try: llm_query(p)
    except CallError as e: print(type(e).__name__, e)
"""
    result = run_cell(tmp_path, code, host=TestHost({"llm_query": fail}))
    assert result.output.splitlines() == [
        "BudgetExceeded no calls left",
        "PromptTooLong too long",
        "ToolError boom",
        "CallError Abyme itself failed in llm_query: ValueError: our fault",
    ]


def test_a_failed_item_says_so_when_printed_and_raises_when_used(tmp_path: Path) -> None:
    code = """
r = llm_query_batched(['a', 'bad', 'c'])
print(r)
print(r[1], r.failed, isinstance(r[1], Failed))
uses = [lambda x: x.strip(), lambda x: f'{x}', lambda x: x + 'y', lambda x: 'y' + x, len,
        lambda x: x[0], bool, lambda x: x == 'a', lambda x: 'a' in x, lambda x: ''.join([x]),
        lambda x: '%s' % x if x else 0, list, int, hash, lambda x: x < 'a']
for use in uses:
    try: use(r[1])
    except (CallError, TypeError) as e: pass
    else: print('no error', use)
"""
    result = run_cell(tmp_path, code, host=TestHost({"llm_query_batched": batch}))
    first, second = result.output.splitlines()
    assert first == "['A', <sub-call 1 failed: 429 until the deadline>, 'C']"
    assert second == "<sub-call 1 failed: 429 until the deadline> [1] True"


def test_calls_from_threads_coroutines_and_to_thread_all_at_once(tmp_path: Path) -> None:
    async def slow(arguments: dict[str, Any]) -> str:
        await asyncio.sleep(0.02)
        return str(arguments["prompt"])

    code = """
import asyncio, concurrent.futures, threading
with concurrent.futures.ThreadPoolExecutor(300) as pool:
    threads = list(pool.map(llm_query, [f't{i}' for i in range(300)]))
gathered = await asyncio.gather(*[allm_query(f'a{i}') for i in range(300)])
through = await asyncio.gather(*[asyncio.to_thread(llm_query, f'o{i}') for i in range(300)])
assert threads == [f't{i}' for i in range(300)], threads
assert gathered == [f'a{i}' for i in range(300)]
assert through == [f'o{i}' for i in range(300)]
async def main(): return await arlm_query('q', 'ctx')
"""
    host = TestHost({"llm_query": slow, "rlm_query": lambda a: a["question"]})
    results = run_cells(tmp_path, [code, "import asyncio; asyncio.run(main())"], host=host)
    assert results[0].ok, results[0].error
    assert results[1].output == "'q'\n"


def test_wrong_arguments_are_type_errors_that_name_the_argument(tmp_path: Path) -> None:
    cells = [
        "llm_query(3)",
        "llm_query_batched('one')",
        "llm_query_batched(['a', 4])",
        "rlm_query('q', context=7)",
        "rlm_query_batched(['q'], contexts=['a', 'b'])",
    ]
    host = TestHost()
    results = run_cells(tmp_path, cells, host=host)
    kinds = [r.error.type if r.error else "" for r in results]
    assert kinds == ["TypeError", "TypeError", "TypeError", "TypeError", "ValueError"]
    assert host.calls == []


def test_a_tool_gets_its_arguments_by_name(tmp_path: Path) -> None:
    host = TestHost({"lookup": lambda a: [a["city"], a.get("year", 0)]})
    tool = Function("lookup", ("city", "year"), "Find a city.", "(city: str, year: int = 0)")
    cells = [
        "lookup('Rome', year=3)",
        "lookup.__doc__",
        "lookup('a', 1, 2)",
        "lookup('a', city='b')",
    ]
    results = run_cells(tmp_path, cells, host=host, functions=(tool,))
    assert results[0].output == "['Rome', 3]\n" and results[1].output == "'Find a city.'\n"
    assert all(r.error is not None and r.error.type == "TypeError" for r in results[2:])


def test_a_result_that_cannot_be_sent_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    host = TestHost({"llm_query_batched": lambda a: object(), "budget": lambda a: {"a": {1, 2}}})
    result = run_cell(tmp_path, "budget()", host=host)
    assert result.error is not None and "cannot be handed to the REPL" in result.error.message


def test_a_hundred_megabytes_of_prompts_come_through(tmp_path: Path) -> None:
    host = TestHost({"llm_query": lambda a: str(len(a["prompt"]))})
    code = "sum(int(llm_query('é' * 2_000_000)) for _ in range(5))"
    assert run_cell(tmp_path, code, host=host).output == "10000000\n"


def test_a_prompt_larger_than_a_frame_is_an_error_in_the_cell(tmp_path: Path) -> None:
    result = run_cell(tmp_path, "llm_query('x' * 70_000_000)", host=TestHost({"llm_query": echo}))
    assert result.error is not None and "send less at once" in result.error.message


@pytest.mark.parametrize(
    ("code", "via", "value"),
    [
        ("FINAL('done')", "FINAL", "done"),
        ("x = {'a': [1, 2]}\nFINAL_VAR('x')", "FINAL_VAR", {"a": [1, 2]}),
        ("x = 'the text itself'\nFINAL_VAR(x)", "FINAL_VAR", "the text itself"),
        ("FINAL_VAR([1])", "FINAL_VAR", [1]),
        ("v = 'Par'; v += 'is'\nFINAL_VAR(v)", "FINAL_VAR", "Paris"),
        ("SUBMIT(3.5)", "SUBMIT", 3.5),
        ("SUBMIT(answer='a')", "SUBMIT", "a"),
        ("SUBMIT(a=1, b=2)", "SUBMIT", {"a": 1, "b": 2}),
        ("answer['content'] = 'c'\nanswer['ready'] = True", "answer", "c"),
        ("answer = {'content': 5, 'ready': True}", "answer", 5),
        ("FINAL((1, 2))", "FINAL", [1, 2]),
        ("FINAL({1, 2})", "FINAL", "{1, 2}"),
        ("FINAL(float('nan'))", "FINAL", "nan"),
        ("FINAL('a'); FINAL('b')", "FINAL", "b"),
    ],
)
def test_every_way_to_finish(tmp_path: Path, code: str, via: str, value: Any) -> None:
    finish = run_cell(tmp_path, code).finish
    assert finish is not None
    assert (finish.via, finish.value) == (via, value)


def test_what_is_no_finish(tmp_path: Path) -> None:
    cells = [
        "FINAL_VAR('nosuch')",
        "FINAL()",
        "SUBMIT()",
        "answer['ready'] = False",
        "answer['content'] = 'draft only'",
        "answer = 'just a variable'",
    ]
    results = run_cells(tmp_path, cells)
    assert all(result.finish is None for result in results)
    assert results[4].draft == "draft only"
    assert results[5].ok


def test_a_ready_answer_dict_finishes_once(tmp_path: Path) -> None:
    cells = ["answer['content'] = 'c'; answer['ready'] = True", "1", "answer['ready'] = True"]
    results = run_cells(tmp_path, cells)
    assert [result.finish is not None for result in results] == [True, False, True]


def test_quotes_are_found_in_the_data_or_refused(tmp_path: Path) -> None:
    text = "first line\nsecond: café opens at 9\nthird\n"
    cells = ["FINAL('9', quotes=['café opens at 9'])", "FINAL('9', quotes=['cafe opens'])"]
    good, bad = run_cells(tmp_path, cells, context=text)
    assert good.finish is not None
    quote = good.finish.quotes[0]
    raw = text.encode()
    assert quote.line == 2 and raw[quote.start : quote.end].decode() == "café opens at 9"
    assert bad.error is not None and "1 of 1 quotes are not in the data" in bad.error.message


def test_a_quoted_search_result_keeps_its_own_place(tmp_path: Path) -> None:
    text = "the same\nother\nthe same\n" + "x\n" * 900 + "a needle here\n" + "the same\n"
    code = "h = grep('the same')\nFINAL('x', quotes=[h[1], h[2], search('needle')[0]])"
    finish = run_cell(tmp_path, code, context=text).finish
    assert finish is not None
    assert [quote.line for quote in finish.quotes][:2] == [3, 905]


def test_a_thread_of_an_earlier_cell_gets_its_answers_while_later_cells_run(tmp_path: Path) -> None:
    async def slow(arguments: dict[str, Any]) -> str:
        await asyncio.sleep(0.05)
        return str(arguments["prompt"])

    start = (
        "import threading, time\ngot = []\n"
        "def work():\n    for i in range(20): got.append(llm_query(str(i)))\n"
        "thread = threading.Thread(target=work); thread.start()"
    )
    cells = [start, "time.sleep(0.1)", "1", "2", "thread.join()\nlen(got)"]
    results = run_cells(tmp_path, cells, host=TestHost({"llm_query": slow}))
    assert [result.ended for result in results] == ["done"] * 5
    assert results[-1].output == "20\n"
