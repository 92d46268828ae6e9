"""Whole runs on the scripted model: how they finish, and how they end when they cannot."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, DataError, Limits
from abyme.errors import AuthError, EndpointError, ModelNotFound, SandboxError
from abyme.events import (
    CallEnded,
    CellEnded,
    DataMeasured,
    DocumentHashed,
    Event,
    FinishHeld,
    LimitReached,
    MessageAdded,
    RunEnded,
)
from abyme.models.base import Request
from abyme.sandbox.base import Repl, Workers
from abyme.sandbox.process import ProcessSandbox
from support.runs import ask, cell, events_of, of_kind, scripted_rlm, told
from support.stub import Status, Stub


def test_two_turns_and_a_sub_call(runs: Path) -> None:
    replies = [cell("x = llm_query('hey')\nprint(len(context), x)"), cell("FINAL(x + '!')")]
    answer = ask(runs, replies, sub=["yo"])
    assert (answer.status, answer.text, answer.value, answer.turns) == ("complete", "yo!", "yo!", 2)
    assert answer.usage.calls == 3 and answer.cost == 0.0
    assert answer.peak_bytes > 1_000_000 and answer.cpu_seconds > 0
    assert "9 yo" in told(events_of(runs, answer))[1]


def test_history_only_grows_and_the_question_comes_every_turn(runs: Path) -> None:
    seen: list[tuple[Any, ...]] = []

    def root(request: Any) -> str:
        seen.append(request.messages)
        return cell("FINAL(len(context))" if len(seen) == 3 else "print(1)")

    scripted_rlm(runs, root).completion("what is it?", "text")
    for before, after in itertools.pairwise(seen):
        assert after[: len(before)] == before
    for messages in seen:
        assert "what is it?" in messages[-1].text
        assert "turn " in messages[-1].text.splitlines()[-1]


def test_a_value_keeps_its_type(runs: Path) -> None:
    answer = ask(runs, [cell("FINAL({'a': [1, 2.5, None]})")])
    assert answer.value == {"a": [1, 2.5, None]}
    assert answer.text == '{"a": [1, 2.5, null]}'


def test_a_literal_beside_unseen_output_is_held_one_turn(runs: Path) -> None:
    replies = [cell("print(len(context))\nFINAL('invented')"), cell("FINAL('9 characters')")]
    answer = ask(runs, replies)
    assert (answer.text, answer.turns) == ("9 characters", 2)
    events = events_of(runs, answer)
    assert [event.text for event in of_kind(events, FinishHeld)] == ["invented"]
    assert "held for one turn" in told(events)[1]


def test_a_held_literal_that_is_confirmed_is_accepted(runs: Path) -> None:
    replies = [cell("print(1)\nFINAL('a')"), cell("print(2)\nFINAL('a')")]
    assert ask(runs, replies).text == "a"


def test_a_held_answer_is_the_draft_when_turns_run_out(runs: Path) -> None:
    answer = ask(
        runs,
        [cell("print(1)\nFINAL('held')"), EndpointError("gone")],
        limits=Limits(max_turns=1, max_seconds=60),
    )
    assert (answer.status, answer.text) == ("partial", "held")


def test_an_answer_does_not_count_where_a_later_cell_raised(runs: Path) -> None:
    replies = [cell("FINAL(1)") + "\n" + cell("1/0"), cell("FINAL(2)")]
    answer = ask(runs, replies)
    assert answer.value == 2
    assert "ZeroDivisionError" in told(events_of(runs, answer))[1]


def test_cells_stop_at_the_first_that_raises(runs: Path) -> None:
    replies = [cell("a = 1") + cell("\nraise ValueError('x')") + cell("\na = 2"), cell("FINAL(a)")]
    answer = ask(runs, replies)
    assert answer.value == 1
    assert len(of_kind(events_of(runs, answer), CellEnded)) == 3


def test_final_in_prose_beside_no_cell(runs: Path) -> None:
    assert ask(runs, ["FINAL(the answer (so far))"]).text == "the answer (so far)"
    assert ask(runs, [cell("v = [1, 2]"), "FINAL_VAR(v)"]).value == [1, 2]
    assert ask(runs, [cell("answer['content'] = 'c'"), "FINAL_VAR(answer)"]).text == "c"


def test_final_of_a_variable_that_is_not_there_is_no_answer(runs: Path) -> None:
    answer = ask(runs, ["FINAL(result)", cell("FINAL('real')")])
    assert (answer.text, answer.turns) == ("real", 2)
    assert "no variable 'result'" in told(events_of(runs, answer))[1]


def test_prose_beside_a_cell_is_dropped(runs: Path) -> None:
    assert ask(runs, ["FINAL(wrong)\n" + cell("x = 1"), cell("FINAL('right')")]).text == "right"


def test_the_third_reply_without_code_ends_the_run_partial(runs: Path) -> None:
    answer = ask(runs, ["Let me think.", "Still thinking.", "It is 42."])
    assert (answer.status, answer.text, answer.turns) == ("partial", "It is 42.", 3)
    assert "without code" in answer.reason


def test_after_the_last_turn_one_reserved_call_answers(runs: Path) -> None:
    replies = [cell("print('seen')"), cell("print('more')"), "From what I saw: 7."]
    answer = ask(runs, replies, limits=Limits(max_turns=2, max_seconds=60))
    assert (answer.status, answer.text) == ("partial", "From what I saw: 7.")
    assert "max_turns" in answer.reason and "--max-turns" in answer.reason
    events = events_of(runs, answer)
    assert [event.limit for event in of_kind(events, LimitReached)] == ["max_turns"]
    assert events[-1] == RunEnded(answer)


def test_the_last_call_may_name_a_variable(runs: Path) -> None:
    replies = [cell("best = ['a', 'b']"), "FINAL_VAR(best)"]
    answer = ask(runs, replies, limits=Limits(max_turns=1, max_seconds=60))
    assert (answer.status, answer.value) == ("partial", ["a", "b"])


def test_calls_run_out_inside_a_cell_and_the_last_call_is_still_there(runs: Path) -> None:
    code = (
        "try: llm_query_batched(['a', 'b', 'c', 'd'])\n"
        "except BudgetExceeded as e: print(e)\n"
        "print(llm_query('a'), llm_query('b'))\nllm_query('c')"
    )
    replies = [cell(code), "two of four answered"]
    answer = ask(
        runs, replies, sub=lambda request: "ok", limits=Limits(max_calls=4, max_seconds=60)
    )
    assert answer.status == "partial" and answer.text == "two of four answered"
    assert answer.usage.calls == 4 and "max_calls" in answer.reason
    result = of_kind(events_of(runs, answer), CellEnded)[0].result
    assert result.calls == 3 and len(result.failed_calls) == 1
    assert "4 prompts, but only 2 calls are left: none was sent" in result.output
    assert result.output.endswith("ok ok\n")


def test_time_runs_out_in_the_middle_of_a_cell(runs: Path) -> None:
    replies = [cell("best = 'draft'\nwhile True: pass"), "FINAL_VAR(best)"]
    answer = ask(runs, replies, limits=Limits(max_seconds=2))
    assert (answer.status, answer.text) == ("partial", "draft")
    assert "max_seconds" in answer.reason


def test_a_root_that_never_replies_is_failed_and_one_that_did_is_partial(runs: Path) -> None:
    never = ask(runs, [AuthError("no such key")])
    assert (never.status, never.reason) == ("failed", "no such key")
    unknown = ask(runs, [ModelNotFound("no model m there")])
    assert unknown.reason == "no model m there; check --model and --base-url"
    later = ask(runs, [cell("answer['content'] = 'so far'"), AuthError("key was revoked")])
    assert (later.status, later.text, later.reason) == ("partial", "so far", "key was revoked")


def test_exits_and_dead_workers_are_told_and_the_run_goes_on(runs: Path) -> None:
    replies = [
        cell("x = 1\nimport sys; sys.exit(2)"),
        cell("y = x + 1\nimport os; os._exit(3)"),
        cell("FINAL(x)"),
    ]
    answer = ask(runs, replies)
    assert (answer.status, answer.value) == ("complete", 1)
    messages = told(events_of(runs, answer))
    assert "sys.exit()" in messages[1]
    assert "status 3" in messages[2] and "re-ran the cells 1" in messages[2]
    assert "Lost: os, y" in messages[2]


def test_estimates_are_corrected_in_a_later_message(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    path.write_text("0123456789\n" * 2_000_000)
    awaited: set[type[Event]] = {DataMeasured, DocumentHashed}
    examined = threading.Event()

    def first_reply(_: Request) -> str:
        assert examined.wait(50)
        return cell("pass")

    def listener(event: Event) -> None:
        awaited.discard(type(event))
        if not awaited:
            examined.set()

    rlm = scripted_rlm(runs, [first_reply, cell("FINAL(len(context))")])
    answer = rlm.start("what is it?", path, listener).future.result(60)
    assert answer.value == 22_000_000
    events = events_of(runs, answer)
    first, second = told(events)[:2]
    assert "≈" in first and "22,000,000" in second
    assert of_kind(events, DataMeasured) == [DataMeasured(22_000_000, 2_000_000, 10)]
    assert len(of_kind(events, DocumentHashed)[0].sha256) == 64


def test_quotes_are_verified_by_the_host(runs: Path) -> None:
    text = "alpha\nthe answer is 42, says Ada\nomega\n"
    code = "FINAL(42, quotes=['answer is 42', search('Ada')[0]])"
    answer = ask(runs, [cell(code)], context={"notes.txt": text, "other.txt": "nothing here\n"})
    first, second = answer.quotes
    assert (first.document, first.line, first.verified) == ("notes.txt", 2, True)
    raw = text.encode()
    assert raw[first.start : first.end] == b"answer is 42"
    assert second.verified and second.document == "notes.txt"


def test_tools_are_called_on_the_host(runs: Path) -> None:
    def area(width: int, height: float = 2.0) -> dict[str, float]:
        """The area of a field in square metres."""
        if width < 0:
            raise ValueError("negative width")
        return {"area": width * height}

    replies = [
        cell("print(area(3)['area'], area(width=2, height=5))"),
        cell(
            "try: area(-1)\nexcept ToolError as e: print(e)\n"
            "try: area('x')\nexcept TypeError as e: print(e)"
        ),
        cell("FINAL(area(4))"),
    ]
    answer = ask(runs, replies, tools=[area])
    assert answer.value == {"area": 8.0}
    events = events_of(runs, answer)
    system = of_kind(events, MessageAdded)[0].text
    assert "area(width: int, height: float = 2.0)" in system and "square metres" in system
    assert "6.0 {'area': 10.0}" in told(events)[1]
    assert "area raised ValueError: negative width" in told(events)[2]


def test_budget_can_be_read_and_not_written(runs: Path) -> None:
    code = "b = budget()\nb['calls']['limit'] = 10**9\nprint(b['calls']['used'], budget()['calls'])"
    answer = ask(runs, [cell(code), cell("FINAL(1)")])
    assert "1 {'used': 1, 'reserved': 0, 'limit': 1000" in told(events_of(runs, answer))[1]


def test_code_may_ask_only_for_the_models_of_the_run(runs: Path) -> None:
    replies = [
        cell("try: llm_query('x', model='gpt-99')\nexcept CallError as e: print(e)"),
        cell("FINAL(llm_query('x', model='scripted'))"),
    ]
    answer = ask(runs, replies, sub=lambda request: "ok")
    assert answer.text == "ok"
    assert "'gpt-99' is not offered here" in told(events_of(runs, answer))[1]


def test_a_prompt_beyond_the_window_is_refused_before_it_costs(runs: Path) -> None:
    replies = [
        cell("try: llm_query('x' * 9_000_000)\nexcept PromptTooLong as e: print(e)"),
        cell("FINAL(1)"),
    ]
    answer = ask(runs, replies, sub=lambda request: "ok")
    assert answer.usage.calls == 2
    assert "9,000,000 characters" in told(events_of(runs, answer))[1]


def test_sub_calls_that_failed_are_counted_in_the_status_line(runs: Path) -> None:
    def sub(request: Any) -> str:
        if "bad" in request.messages[0].text:
            raise AuthError("refused")
        return "ok"

    replies = [cell("r = llm_query_batched(['a', 'bad', 'c'])"), cell("FINAL(len(r))")]
    answer = ask(runs, replies, sub=sub)
    last = told(events_of(runs, answer))[1].splitlines()[-1]
    assert "1 of 3 failed ([1])" in last and "recursion off" in last


def test_a_mistake_in_the_data_raises_and_leaves_no_run(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nosuch"):
        ask(runs, [cell("FINAL(1)")], context=tmp_path / "nosuch.txt")
    assert list(runs.iterdir()) == []


def test_data_that_changes_under_a_run_ends_it_with_the_draft(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("a\n" * 1000)

    def root(request: Any) -> str:
        if len(request.messages) > 2:
            time.sleep(0.01)
            path.write_text("b\n")
        return cell("answer['content'] = len(context)")

    answer = scripted_rlm(runs, root).completion("how long?", path)
    assert (answer.status, answer.text) == ("partial", "2000")
    assert "log.txt changed" in answer.reason


def test_lone_surrogates_live_in_the_repl_and_not_in_requests(runs: Path) -> None:
    asked: list[str] = []

    def sub(request: Any) -> str:
        asked.append(request.messages[0].text)
        return "ok"

    code = "x = context[1]\nllm_query('say ' + x)\nprint(x)\nFINAL(x)"
    answer = ask(runs, [cell(code)], sub=sub, context="a\udc80b")
    assert answer.text == "\udc80"
    assert asked == ["say \ufffd"]
    calls = of_kind(events_of(runs, answer), CallEnded)
    assert all(not call.error for call in calls)


def test_a_conversation_that_outgrows_the_window_is_answered_from_its_ends(runs: Path) -> None:
    def script(request: Any) -> Any:
        if sum(len(message["content"]) for message in request.messages) > 30_000:
            return Status(400, {"error": {"code": "context_length_exceeded"}})
        if "No code will be run" in request.prompt:
            return f"answered over {len(request.messages)} messages"
        return cell("print('y' * 6000)")

    with Stub(script) as stub:
        answer = RLM("m", base_url=stub.url, runs=runs).completion("q", "text")
    assert answer.status == "partial" and answer.text.startswith("answered over ")
    assert "window" in answer.reason
    assert [event.limit for event in of_kind(events_of(runs, answer), LimitReached)] == ["window"]


def test_a_prompt_that_is_refused_by_the_estimate_never_goes_out(runs: Path) -> None:
    with Stub(lambda request: cell("FINAL(1)")) as stub:
        small = RLM("m", base_url=stub.url, runs=runs)
        answer = small.completion("why? " * 60_000, "text")
        assert (answer.status, len(stub.requests)) == ("failed", 0)
    assert "characters" in answer.reason and "window" not in answer.text


class _Breaking:
    """A sandbox of somebody's own, which breaks when it is entered or left."""

    name, text_bytes = "breaking", 1 << 20

    def __init__(self, entering: Exception | None, leaving: Exception | None) -> None:
        self._entering, self._leaving = entering, leaving

    @contextlib.asynccontextmanager
    async def workers(self) -> AsyncIterator[Workers]:
        if self._entering is not None:
            raise self._entering
        async with ProcessSandbox().workers() as workers:
            yield workers
        if self._leaving is not None:
            raise self._leaving


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SandboxError("no room"), "no room"),
        (KeyError("x"), "a fault in Abyme itself: KeyError: 'x'"),
    ],
)
def test_a_sandbox_that_cannot_be_entered_fails_the_run(
    runs: Path, error: Exception, reason: str
) -> None:
    answer = ask(runs, [cell("FINAL(1)")], sandbox=_Breaking(error, None))
    assert (answer.status, answer.reason) == ("failed", reason)
    assert of_kind(events_of(runs, answer), RunEnded)


class _BreakingWorkers:
    """Workers of somebody's own, one of which breaks when it is left."""

    name, text_bytes = "breaking", 1 << 20

    @contextlib.asynccontextmanager
    async def workers(self) -> AsyncIterator[Workers]:
        async with ProcessSandbox().workers() as self._inner:
            yield self

    @contextlib.asynccontextmanager
    async def open(self, *given: Any) -> AsyncIterator[Repl]:
        async with self._inner.open(*given) as repl:
            yield repl
        raise KeyError("x")


@pytest.mark.parametrize("sandbox", [_Breaking(None, KeyError("x")), _BreakingWorkers()])
def test_a_sandbox_that_breaks_at_the_end_takes_no_answer_along(runs: Path, sandbox: Any) -> None:
    rlm = scripted_rlm(runs, [cell("FINAL(1)")], sandbox=sandbox)
    answer = rlm.completion("q", "some text")
    assert (answer.status, answer.value) == ("complete", 1)
    assert rlm.fork(answer.run, 0).value == 1, "its journal was let go of"
