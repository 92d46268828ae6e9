"""What broke an earlier version, each as the attack that found it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, ConfigError, Limits, replay
from abyme.events import CallRefused, CellEnded, HostCalled
from abyme.subcalls import book
from abyme.subcalls.batches import IN_A_ROW
from support.runs import ask, cell, events_of, of_kind, scripted_rlm, settled, told
from support.stub import Stub

FIND_SOCKET = (
    "import gc\n"
    "sock = [o for o in gc.get_objects() if type(o).__name__ == 'Channel'][0]._socket\n"
    "def forge(body): sock.sendall(len(body).to_bytes(4, 'big') + body)\n"
)


def quits(x: int) -> str:
    """Leave."""
    sys.exit(2)


def interrupted(x: int) -> str:
    """Pretend that Ctrl-C was pressed."""
    raise KeyboardInterrupt


def cancelled(x: int) -> str:
    """Raise what asyncio raises."""
    raise asyncio.CancelledError


async def quits_later(x: int) -> str:
    """Leave, from a coroutine."""
    await asyncio.sleep(0)
    sys.exit(2)


async def stubborn(x: int) -> str:
    """Never end."""
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)


def deep() -> list[Any]:
    """Nested far too deep."""
    value: list[Any] = []
    for _ in range(150):
        value = [value]
    return value


@pytest.mark.parametrize("tool", [quits, interrupted, cancelled, quits_later])
def test_a_tool_that_raises_what_ends_threads_is_a_tool_error(runs: Path, tool: Any) -> None:
    code = f"try: {tool.__name__}(1)\nexcept ToolError as e: print(e)"
    answer = ask(runs, [cell(code), cell("FINAL('on')")], tools=[tool])
    assert answer.text == "on"
    assert f"{tool.__name__} raised " in told(events_of(runs, answer))[1]


def test_a_model_that_raises_system_exit_ends_its_own_run_alone(runs: Path) -> None:
    def leave(request: Any) -> str:
        raise SystemExit(3)

    assert scripted_rlm(runs, leave).completion("q", "text").status == "failed"
    assert ask(runs, [cell("FINAL(1)")]).value == 1


def test_a_listener_that_raises_system_exit_is_dropped(runs: Path) -> None:
    def leave(event: Any) -> None:
        raise SystemExit(3)

    rlm = scripted_rlm(runs, [cell("FINAL(1)")])
    assert rlm.start("q", "text", leave).future.result(timeout=30).value == 1


def test_a_tool_that_never_ends_does_not_outlive_the_time_limit(runs: Path) -> None:
    rlm = scripted_rlm(runs, [cell("stubborn(1)")], tools=[stubborn], limits=Limits(max_seconds=2))
    answer = rlm.start("q", "text").future.result(timeout=120)
    assert answer.status == "partial" and "max_seconds" in answer.reason


def test_completion_in_the_engines_own_thread_is_refused(runs: Path) -> None:
    rlm = scripted_rlm(runs, [cell("FINAL(1)")])
    seen: list[str] = []

    def listener(event: Any) -> None:
        try:
            rlm.completion("q", "text")
        except ConfigError as error:
            seen.append(str(error))

    assert rlm.start("q", "text", listener).future.result(timeout=30).value == 1
    assert "would wait for itself" in seen[0]


def test_a_tool_may_ask_another_rlm(runs: Path) -> None:
    inner = scripted_rlm(runs, [cell("FINAL(len(context))")])

    async def length(text: str) -> int:
        """How long it is."""
        return int((await inner.acompletion("q", text)).value)

    assert ask(runs, [cell("FINAL(length('abcd'))")], tools=[length]).value == 4


@pytest.mark.parametrize(
    "value", [{"$blob": "abc", "rows": 1}, {"$dict": {"$blob": "x"}}, {"$dict": 1}]
)
def test_a_value_that_looks_like_a_blob_comes_back(runs: Path, value: Any) -> None:
    kill = cell("import os; os._exit(1)")
    answer = ask(runs, [cell(f"v = {value!r}"), kill, cell("FINAL([v, 'x' * 3000])")])
    assert answer.value == [value, "x" * 3000]
    events = events_of(runs, answer)
    assert of_kind(events, CellEnded)[-1].result.finish is not None
    assert events[-1].answer.value == answer.value  # type: ignore[attr-defined]


def test_a_result_nested_too_deep_is_an_error_at_once(runs: Path) -> None:
    code = "try: deep()\nexcept CallError as e: print(e)"
    answer = ask(runs, [cell(code), cell("FINAL('on')")], tools=[deep])
    assert (
        "cannot be handed to the REPL: nested deeper than 100" in told(events_of(runs, answer))[1]
    )


def test_a_batch_of_very_many_does_not_stall_and_is_refused_cheaply(runs: Path) -> None:
    code = "r = llm_query_batched(['x' * 400] * 20_000)\nprint(len(r.failed))"
    limits = Limits(max_calls=None, max_tokens=60_000, max_seconds=60)
    answer = ask(runs, [cell(code), cell("FINAL(len(r.failed))")], lambda _: "y", limits=limits)
    assert 19_000 < answer.value < 20_000
    events = events_of(runs, answer)
    assert len(of_kind(events, CallRefused)) <= limits.most_at_once + IN_A_ROW  # and not 20,000
    assert len(of_kind(events, CellEnded)[0].result.failed_calls) <= 1000


def test_a_batch_whose_answers_do_not_fit_one_frame(runs: Path) -> None:
    code = "r = llm_query_batched(['a'] * 900)\nFINAL([len(r), sum(map(len, r)), r.failed])"
    answer = ask(runs, [cell(code)], sub=lambda request: "x" * 80_000)
    assert answer.value == [900, 72_000_000, []]


def test_a_batch_whose_prompts_do_not_fit_one_frame(runs: Path) -> None:
    code = "r = llm_query_batched([f'{i} ' + 'p' * 900_000 for i in range(80)])\nFINAL(list(r))"
    answer = ask(runs, [cell(code)], sub=lambda request: request.messages[0].text[:2])
    assert answer.value == [f"{i} "[:2].strip() for i in range(80)]


def test_calls_that_no_limit_counts_are_bounded(runs: Path) -> None:
    code = "n = 0\ntry:\n    while True: budget(); n += 1\nexcept CallError as e: print(n, e)"
    answer = ask(runs, [cell(code), cell("FINAL('on')")])
    assert "10000 more than 10,000 calls" in told(events_of(runs, answer))[1]
    assert len(of_kind(events_of(runs, answer), HostCalled)) == 10_000


@pytest.mark.parametrize(
    "body",
    [
        'b\'{"t":"out","text":"","x":[\' + b\'{},\' * 3_000_000 + b\'{}]}\'',
        'b\'{"t":"out","text":"\' + b\'x\' * 2_000_000 + b\'"}\'',
        'b\'{"t":"done","cell":1,"ended":"done","output_chars":\' + b\'9\' * 400 + b\'}\'',
        'b\'{"t":"looked","finish":{"value":NaN,"text":"","via":""}}\'',
    ],
)
def test_forged_frames_cost_the_host_nothing(runs: Path, body: str) -> None:
    code = FIND_SOCKET + f"forge({body})\nimport time; time.sleep(20)"
    answer = ask(runs, [cell(code), cell("FINAL('on')")])
    assert answer.text == "on"
    assert of_kind(events_of(runs, answer), CellEnded)[0].result.ended == "died"


def test_a_long_name_or_error_is_cut_before_it_is_kept(runs: Path) -> None:
    code = "try: llm_query('x', model='A' * 5_000_000)\nexcept CallError as e: print(len(str(e)))"
    answer = ask(runs, [cell(code), cell("FINAL('on')")])
    assert answer.text == "on"
    settled()
    assert sum(path.stat().st_size for path in (runs / answer.run).rglob("*")) < 100_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_seconds": math.inf},
        {"max_cost": 1e300},
        {"max_tokens": 10**400},
        {"max_turns": None},
        {"cell_seconds": None},
        {"max_turns": 2.5},
        {"max_calls": True},
        {"max_cost": math.nan},
    ],
)
def test_limits_that_make_no_sense_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Limits(**wrong)


def test_an_rlm_made_before_a_fork_works_in_the_child(runs: Path) -> None:
    with Stub(lambda request: cell("FINAL(len(context))")) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs)
        assert rlm.completion("q", "abc").value == 3
        pid = os.fork()
        if pid == 0:
            value = 0
            try:
                value = rlm.completion("q", "abcd").value
            finally:
                os._exit(value)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4


def test_half_a_character_in_each_of_two_pieces_is_one(runs: Path) -> None:
    from support.stub import Stream

    pieces = [
        b'data: {"choices":[{"index":0,"delta":{"content":"FINAL(\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00)"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]
    with Stub(lambda request: Stream(pieces)) as stub:
        stream = RLM("m", base_url=stub.url, runs=runs).stream("q", "text")
        list(stream)
    assert stream.answer.text == "\U0001f600"


def test_refused_batches_leave_nothing_in_the_host(runs: Path) -> None:
    code = (
        "whys = set()\nfor n in range(30):\n"
        "    try: llm_query_batched([f'{n} {i}' for i in range(5_000)])\n"
        "    except BudgetExceeded as e: whys.add(str(e)[:13])\n"
        "FINAL([sorted(whys), llm_query('0 0')])"
    )
    seen: list[int] = []

    def count(_: Any) -> str:
        gc.collect()
        seen.append(sum(len(found) for found in gc.get_objects() if type(found) is Counter))
        return "y"

    answer = ask(runs, [cell(code)], count, limits=Limits(max_calls=100))
    assert answer.value == [["5,000 prompts"], "y"]
    assert seen[0] < 5_000, "the keys of 150,000 calls that nobody made"
    assert replay(answer.run, runs=runs).identical


def test_calls_that_are_refused_are_bounded_in_a_cell(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "MAX_REFUSED", 50)
    code = (
        "whys = []\nfor n in range(200):\n"
        "    try: llm_query(str(n))\n"
        "    except BudgetExceeded as e: whys.append(str(e))\n"
        "print(len(whys), whys[-1])"
    )
    replies = [cell(code), cell("FINAL(1)")]
    answer = ask(runs, replies, lambda _: "y", limits=Limits(max_calls=4, max_turns=1))
    events = events_of(runs, answer)
    assert len(of_kind(events, CallRefused)) <= 51
    assert "50 calls of this cell were refused" in of_kind(events, CellEnded)[0].result.output
    assert replay(answer.run, runs=runs).identical
