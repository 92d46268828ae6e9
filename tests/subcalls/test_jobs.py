"""Jobs, typed answers and coroutines, in real workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme import RLM, Answer, Limits, replay
from abyme.events import (
    CallEnded,
    CallGivenUp,
    CallStarted,
    CellEnded,
    Event,
    HostAnswered,
    HostCalled,
)
from abyme.models.scripted import Scripted
from abyme.subcalls.jobs import indices, ranges
from support.runs import ask, cell, events_of, of_kind, told


@given(st.lists(st.integers(0, 60), unique=True))
def test_ranges_keep_the_order(numbers: list[int]) -> None:
    assert indices(ranges(numbers), 61) == numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0-99999999999", [0, 1, 2]),
        ("2,1,9,2", [2, 1]),
        ("-1,x,1-,1", [1]),
        ({"a": 1}, []),
    ],
)
def test_ranges_of_anybody(text: Any, numbers: list[int]) -> None:
    assert indices(text, 3) == numbers


def outputs(runs: Path, answer: Answer) -> list[str]:
    """What each cell printed."""
    return [event.result.output for event in of_kind(events_of(runs, answer), CellEnded)]


def to(request: Any) -> str:
    return f"to {request.messages[0].text}"


def test_a_job_lives_across_turns_and_each_message_tells_of_it(runs: Path) -> None:
    gate = asyncio.Event()

    class Waiting(Scripted):
        async def complete(self, request: Any, on_text: Any = None) -> Any:
            if request.purpose == "sub" and request.messages[0].text > "p5":
                await gate.wait()
            if request.purpose == "root" and len(request.messages) > 4:
                gate.set()
            return await super().complete(request, on_text)

    model = Waiting(
        [
            cell(
                "job = llm_start([f'p{i}' for i in range(10)])\n"
                "for index, answer in as_completed(job):\n    if len(job.so_far()) > 5: break\n"
                "print(job, len(job), job.done())"
            ),
            cell(
                "print(sorted(job.so_far()))\ntry: job.results(timeout=0.05)\n"
                "except TimeoutError as e: print(e)"
            ),
            cell("r = job.results()\nprint(job.done(), job.progress(), r.failed)\nprint(r[9])"),
            cell("FINAL(list(r))"),
        ],
        to,
    )
    answer = RLM(model, runs=runs).completion("q", "some text")
    assert answer.value == [f"to p{i}" for i in range(10)]
    first, second, third, _ = outputs(runs, answer)
    assert first == "<job 1: 6 of 10 done> 10 False\n"
    assert second == "[0, 1, 2, 3, 4, 5]\njob 1: 6 of 10 done; it goes on\n"
    assert third == "True 10 of 10 done []\nto p9\n"
    lines = [text.rpartition("\n\n")[2].split("\n")[0] for text in told(events_of(runs, answer))]
    assert lines[1] == lines[2] == "job 1 (llm_start, cell 1): 6 of 10 done"
    assert lines[3] == "job 1 (llm_start, cell 1): 10 of 10 done"
    assert replay(answer.run, runs=runs).identical


def test_what_is_recorded_of_a_look_is_small(runs: Path) -> None:
    """No text of an answer is in the journal twice."""
    code = "job = llm_start([str(i) for i in range(500)])\nFINAL(len(job.results()))"
    answer = ask(runs, [cell(code)], sub=lambda request: "a" * 1_000)
    events = events_of(runs, answer)
    (start, look) = of_kind(events, HostCalled)
    assert start.arguments == {"prompts": 500, "model": None}
    assert look.name == "job_wait"
    over = of_kind(events, HostAnswered)[-1].value["over"]
    assert sorted(indices(over, 500)) == list(range(500))
    assert len(of_kind(events, CallStarted)) == 502 - 1


def test_failures_are_items_and_cancelled_ones_too(runs: Path) -> None:
    def sub(request: Any) -> str:
        from abyme import ModelError

        if request.messages[0].text == "b":
            raise ModelError("no such thing")
        return to(request)

    code = (
        "job = llm_start(['a', 'b'])\nr = job.results()\nprint(r.failed, r[1], job)\n"
        "slow = llm_start(['x'] * 5, model='nobody')\nslow.cancel(); slow.cancel()\n"
        "print(slow.results().failed, slow.done())\n"
        "empty = llm_start([])\nprint(empty.results(), empty.done(), list(as_completed(empty)))"
    )
    answer = ask(runs, [cell(code), cell("FINAL(r[0])")], sub=sub)
    assert answer.value == "to a"
    output = outputs(runs, answer)[0]
    assert "[1] <sub-call 1 failed: no such thing> <job 1: 2 of 2 done, 1 failed>" in output
    assert "[0, 1, 2, 3, 4] True\n[] True []\n" in output
    assert replay(answer.run, runs=runs).identical


def test_a_hostile_worker_asks_for_what_is_not_there(runs: Path) -> None:
    code = """
ask = llm_start(['a'])._ask
def tried(name, arguments):
    try: return ask(name, arguments)
    except Exception as e: return f'{type(e).__name__}: {e}'[:60]
print(tried('job_wait', {'job': 99, 'after': 0}))
print(tried('job_wait', {'job': -1, 'after': 0}))
print(tried('job_wait', {'job': 1, 'after': 10**15, 'wait': 'all', 'seconds': 0.01}))
print(tried('job_wait', {'job': 1, 'after': 0, 'wait': 'all', 'seconds': float('inf')}))
print(tried('job_wait', {'job': 1, 'after': 0, 'wait': 'all'}))
print(tried('job_cancel', {'job': 1, 'after': 0}))
print(tried('job_cancel', {'job': 'x', 'after': 0}))
print(tried('llm_start', {'prompts': ['a'], 'schema': {'pattern': 'x'}}))
print(tried('llm_start', {'prompts': ['a'] * 100_001}))
print(tried('llm_start', {'prompts': ['a'] * 2_000}))
"""
    answer = ask(runs, [cell(code), cell("FINAL(1)")], sub=to)
    lines = outputs(runs, answer)[0].splitlines()
    assert lines[0] == "CallError: there is no job 99 any more, or never was"
    assert lines[1].startswith("TypeError: job_wait: Expected `int` >= 0")
    assert lines[2] == "[]"
    assert lines[3].startswith("ValueError")
    assert lines[4] == "[[0, {'value': 'to a'}]]"
    assert lines[5] == "CallError: there is no job 1 any more, or never was"
    assert lines[6].startswith("TypeError")
    assert lines[7].startswith("ValueError: $.pattern: not a keyword")
    assert lines[8].startswith("CallError: a batch has at most 100,000")
    assert lines[9].startswith("BudgetExceeded: 2,000 prompts, but only")


def test_open_jobs_are_bounded(runs: Path) -> None:
    begin = cell(
        "jobs = []\ntry:\n    while True: jobs.append(llm_start(['a']))\n"
        "except CallError as e: print(len(jobs), e)"
    )
    fetch = cell(
        "print([job.results() for job in jobs] == [['to a']] * 100)\n"
        "print(len(llm_start(['a']).results()))"
    )
    answer = ask(runs, [begin, fetch, cell("FINAL(1)")], sub=to)
    first, second, _ = outputs(runs, answer)
    assert first.startswith("100 100 jobs are open") and second == "True\n1\n"


def test_a_job_ends_with_its_question(runs: Path) -> None:
    """What it has is kept; a later question finds what is missing closed, also when resumed."""

    class Hanging(Scripted):
        async def complete(self, request: Any, on_text: Any = None) -> Any:
            if request.purpose == "sub" and request.messages[0].text != "a":
                await asyncio.Event().wait()
            return await super().complete(request, on_text)

    begin = cell("job = llm_start(['a', 'b', 'c'])\nfirst = next(as_completed(job))\nFINAL(first)")
    look = cell("r = job.results()\nFINAL([r[0], r.failed, str(r[1])])")

    def root(request: Any) -> str:
        return look if "second" in request.messages[1].text else begin

    limits = Limits(max_seconds=60)
    with RLM(Hanging(root, to), runs=runs, limits=limits).session("some text") as session:
        assert session.ask("the first").value == [0, "to a"]
        answer = session.ask("the second")
    assert answer.value[:2] == ["to a", [1, 2]] and "closed, since" in answer.value[2]
    assert replay(answer.run, runs=runs).identical


TYPED = """
print(llm_query('words', schema=list[str]))
print(llm_query_batched(['one', 'twice', 'never'], schema={'n': int}))
print(await allm_query('label', schema="Literal['a', 'b'] | None"))
job = llm_start(['one', 'twice', 'never'], schema={'n': int})
r = job.results()
print(r.failed, r[:2], type(r[2].error).__name__)
try: llm_query('words', schema={'pattern': 'x'})
except ValueError as e: print(str(e)[:20])
try: llm_query('never', schema={'n': int})
except SchemaError as e: print(isinstance(e, CallError), e)
"""


def typed(request: Any) -> str:
    text = request.messages[0].text
    if text.startswith("words"):
        return 'Here you are:\n```json\n["a", "b"]\n```'
    if text.startswith("label"):
        return "a"
    if text.startswith("one") or (text.startswith("twice") and "Answer again" in text):
        return '{"n": 1}'
    return '{"n": "no number"}'


def test_answers_that_must_fit_a_schema(runs: Path) -> None:
    answer = ask(runs, [cell(TYPED), cell("FINAL(r[1]['n'])")], sub=typed)
    assert answer.value == 1
    lines = outputs(runs, answer)[0].splitlines()
    assert lines[0] == "['a', 'b']"
    assert lines[1].startswith("[{'n': 1}, {'n': 1}, <sub-call 2 failed: the reply does not fit")
    assert lines[2] == "a"
    assert lines[3] == "[2] [{'n': 1}, {'n': 1}] SchemaError"
    assert lines[4] == "$.pattern: not a key"
    assert lines[5].startswith('True the reply does not fit the schema: $.n: "no number" is not of')
    assert lines[5].endswith('it was: «{"n": "no number"}»')
    asked = [event.prompt for event in of_kind(events_of(runs, answer), CallStarted)]
    assert sum("Answer again" in prompt for prompt in asked) == 5
    assert all(event.text for event in of_kind(events_of(runs, answer), CallEnded))
    assert replay(answer.run, runs=runs).identical


def test_llm_map_in_a_worker(runs: Path) -> None:
    def sub(request: Any) -> str:
        lines = request.messages[0].text.split("\n")
        pairs = [line.partition(": ") for line in lines if line[:1].isdigit()]
        return "\n".join(f"{number}: {len(text)}" for number, _, text in pairs)

    items = "['x' * i for i in range(1, 150)]"
    code = f"r = llm_map({items}, 'How long?\\n{{items}}', schema=int)\nprint(r.failed)"
    answer = ask(runs, [cell(code), cell("FINAL(list(r))")], sub=sub)
    assert answer.value == list(range(1, 150))
    assert len(of_kind(events_of(runs, answer), CallStarted)) == 2 + 3
    assert replay(answer.run, runs=runs).identical


GIVING_UP = """
import asyncio
async def first_of(prompts):
    tasks = [asyncio.create_task(allm_query(p)) for p in prompts]
    for done in asyncio.as_completed(tasks):
        answer = await done
        break
    for task in tasks: task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return answer
print(await first_of(['quick', 'slow 1', 'slow 2']))
try:
    async with asyncio.timeout(0.2): await allm_query('slow 3')
except TimeoutError: print('too slow')
"""


def test_a_coroutine_that_is_cancelled_ends_its_call(runs: Path) -> None:
    """No money is spent on what nobody waits for; run again, the code gives it up again."""
    cancelled: list[str] = []
    asked: list[str] = []
    both = asyncio.Event()

    class Slow(Scripted):
        async def complete(self, request: Any, on_text: Any = None) -> Any:
            text = request.messages[0].text
            if text.startswith("quick"):
                await both.wait()
            if text.startswith("slow"):
                asked.append(text)
                if len(asked) == 2:
                    both.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled.append(text)
                    raise
            return await super().complete(request, on_text)

    died = cell("import os\nos._exit(3)")
    replies = [cell(GIVING_UP), died, cell("FINAL('over')")]
    answer = RLM(Slow(replies, to), runs=runs).completion("q", "some text")
    assert answer.text == "over"
    assert outputs(runs, answer)[0] == "to quick\ntoo slow\n"
    assert sorted(cancelled) == ["slow 1", "slow 2", "slow 3"]
    events = events_of(runs, answer)
    given_up = {event.key for event in of_kind(events, CallGivenUp)}
    started = {event.key: event.prompt for event in of_kind(events, CallStarted)}
    assert sorted(started[key] for key in given_up) == ["slow 1", "slow 2", "slow 3"]
    assert replay(answer.run, runs=runs).identical


def test_thousands_of_coroutines_at_once(runs: Path) -> None:
    many = "*(allm_query(str(i)) for i in range(900))"
    code = f"import asyncio\nr = await asyncio.gather({many})\nprint(len(set(r)))"
    answer = ask(runs, [cell(code), cell("FINAL(r[899])")], sub=to)
    assert answer.value == "to 899" and outputs(runs, answer)[0] == "900\n"


def checkpoint_reasons(events: list[Event]) -> list[str]:
    from abyme.events import CheckpointRefused

    return [event.reason for event in of_kind(events, CheckpointRefused)]


def test_no_checkpoint_has_a_job_that_is_not_fetched(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from abyme import checkpoints
    from abyme.events import Checkpointed, WorkerRestored

    monkeypatch.setattr(checkpoints, "DUE_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "AFTER_SECONDS", 0.0)

    class Thinking(Scripted):
        async def complete(self, request: Any, on_text: Any = None) -> Any:
            if request.purpose == "root":
                await asyncio.sleep(0.4)
            return await super().complete(request, on_text)

    replies = [
        cell("job = llm_start(['a', 'b'])"),
        cell("r = job.results()"),
        cell("import os\nos._exit(3)"),
        cell("FINAL([job.done(), list(job.results()), list(r), str(job.progress())])"),
    ]
    answer = RLM(Thinking(replies, to), runs=runs).completion("q", "some text")
    assert answer.value == [True, ["to a", "to b"], ["to a", "to b"], "2 of 2 done"]
    events = events_of(runs, answer)
    assert checkpoint_reasons(events) == ["job 1 is not over, or its results have not been fetched"]
    taken, *_ = of_kind(events, Checkpointed)
    (restored,) = of_kind(events, WorkerRestored)
    assert taken.cell == 2 and restored.cells == ()


def test_a_job_of_children(runs: Path) -> None:
    """Each works in a REPL of its own, while the root goes on."""

    def root(request: Any) -> str:
        if "How long" in request.messages[1].text:
            return cell("FINAL(len(context))")
        turn = sum(message.role == "assistant" for message in request.messages)
        begin = "job = rlm_start('How long is it?', [context[:4], context[:6]], schema=int)"
        return cell(begin) if turn == 0 else cell("r = job.results()\nFINAL(list(r))")

    model = Scripted(root, to)
    limits = Limits(max_seconds=60, max_depth=2)
    answer = RLM(model, runs=runs, limits=limits).completion("q", "some text of a kind")
    assert answer.value == [4, 6]
    lines = told(events_of(runs, answer))
    assert any("job 1 (rlm_start, cell 1):" in line for line in lines)
    assert replay(answer.run, runs=runs).identical


def test_a_job_that_runs_out_of_money_says_so_at_each_item(runs: Path) -> None:
    """Also where it is told again: most of the items were never asked for."""
    code = cell("job = llm_start([f'{i:060000}' for i in range(30)])\nr = job.results()")
    died = cell("import os\nos._exit(3)")
    end = cell("FINAL([len(r), len(r.failed), type(r[29].error).__name__])")
    model = Scripted([code, died, end], lambda request: "x")
    limits = Limits(max_seconds=60, max_tokens=250_000)
    answer = RLM(model, runs=runs, limits=limits).completion("q", "some text")
    count, failed, kind = answer.value
    assert (count, kind) == (30, "BudgetExceeded") and 0 < failed < 30
    assert replay(answer.run, runs=runs).identical
