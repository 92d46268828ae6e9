"""Runs that were killed, interrupted or ended by a limit go on, and ask nothing a second time."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abyme import (
    RLM,
    Answer,
    ConfigError,
    DataChanged,
    DataError,
    JournalError,
    Limits,
    ModelError,
    replay,
)
from abyme.events import (
    PASSING,
    CallEnded,
    CallStarted,
    CellStarted,
    DocumentHashed,
    DocumentLoaded,
    Event,
    HostAnswered,
    LimitReached,
    MessageAdded,
    NodeStarted,
    RunEnded,
    RunResumed,
)
from abyme.journal.reader import read
from abyme.models.base import Request
from abyme.spec import GoesOn
from support.forked import in_a_child
from support.runs import ask, cell, events_of, of_kind, scripted_rlm
from support.stub import Reply, Status, Stub, StubRequest

TURNS = (
    cell(
        "import random, time\nr = llm_query_batched([f'item {i}' for i in range(4)])\n"
        "n = note(len(r))\nprint(n, random.random(), budget()['turns']['used'])"
    ),
    cell("t = time.strftime('%F')\ns = [llm_query(f'again {t} {x}') for x in r[:2]]")
    + "\n\n"
    + cell("seen = sorted([*r, *s])\nprint(seen)"),
    "I shall think about it.",
    cell("print(s[0])\nFINAL('typed out')"),
    cell("FINAL([list(r), s, n, seen, random.random()])"),
)


def answering() -> Callable[[StubRequest], Any]:
    """A stub that numbers its replies in the order of the requests, and refuses each item once."""
    refused: set[str] = set()

    def answer(request: StubRequest) -> Any:
        if request.messages[0]["role"] == "system":
            return TURNS[sum(message["role"] == "assistant" for message in request.messages)]
        if request.prompt.startswith("item") and request.prompt not in refused:
            refused.add(request.prompt)
            return Status(429, headers={"Retry-After": "0"})
        return Reply(f"{request.prompt[:9]} was request {request.index}", latency=0.005)

    return answer


def note(x: int) -> int:
    """Add one, and leave a mark for each time that it is done."""
    with Path(os.environ["NOTED"]).open("a") as file:
        file.write("x")
    return x + 1


def an_rlm(runs: Path, url: str, **options: Any) -> RLM:
    return RLM("m", base_url=url, api_key="k", runs=runs, tools=[note], **options)


THREADED = (
    cell(
        "import threading\ngot = []\n"
        "def work():\n    for i in range(6): got.append(llm_query(f'step {i}'))\n"
        "thread = threading.Thread(target=work); thread.start()"
    ),
    cell("beside = [llm_query(f'beside {i}') for i in range(2)]"),
    cell("thread.join()\nFINAL([got, beside])"),
)


def answering_a_thread(request: StubRequest) -> Any:
    """The turns of THREADED; sub-calls take about as long as a turn."""
    if request.messages[0]["role"] == "system":
        return THREADED[sum(message["role"] == "assistant" for message in request.messages)]
    return Reply(f"{request.prompt} was request {request.index}", latency=0.02)


NESTED = {
    "q": [
        cell(
            "r = rlm_query_batched(['part', 'made'], [context[:9000], 'a text of my own'])\n"
            "s = [llm_query(f'root asks {x[:20]}') for x in r]"
        ),
        cell("FINAL([list(r), s])"),
    ],
    "part": [cell("a = llm_query(f'{context[:12]}')\nprint(a)"), cell("FINAL(a)")],
    "made": [cell("FINAL(llm_query('made ' + context))")],
}
DEEP = Limits(max_depth=2, max_seconds=100)
NESTED_DATA = "".join(f"{i} of the lines\n" for i in range(2000))


def answering_children() -> Callable[[StubRequest], Any]:
    """The turns of NESTED; sub-calls are refused once, and numbered in the order they come in."""
    refused: set[str] = set()

    def answer(request: StubRequest) -> Any:
        if request.messages[0]["role"] == "system":
            asked = request.messages[1]["content"]
            question = next(q for q in NESTED if f"Question:\n{q}\n" in asked)
            turn = sum(message["role"] == "assistant" for message in request.messages)
            return Reply(NESTED[question][turn], latency=0.002)
        if request.prompt not in refused:
            refused.add(request.prompt)
            return Status(429, headers={"Retry-After": "0"})
        return Reply(f"{request.prompt[:30]} was request {request.index}", latency=0.005)

    return answer


def killed_at(runs: Path, url: str, number: int, context: str = "some text", **options: Any) -> int:
    """Do the run in a process that kills itself at event ``number`` of those it writes."""

    def work() -> None:
        seen = 0

        def listener(event: Event) -> None:
            nonlocal seen
            if not isinstance(event, PASSING):
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        an_rlm(runs, url, **options).start("q", context, listener).future.result()

    return in_a_child(work)


def resumed(runs: Path, url: str, run: str, **options: Any) -> Answer:
    """The answer of the run, gone on with here: in another process than the one that was killed."""
    return an_rlm(runs, url, **options).resume(run)


def replies(events: list[Event]) -> dict[str, str]:
    """What came back, by key: of a call that was made again, the last."""
    return {e.key: e.text for e in of_kind(events, CallEnded) if not e.error}


def events_in(folder: Path) -> list[Event]:
    return [record.event for record in read(folder)]


@pytest.mark.slow
def test_kill_at_every_event_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the journal has is asked or done again, and the answer is made of it."""
    number, ended, kinds = 0, -signal.SIGKILL, set()
    while ended == -signal.SIGKILL:
        runs = tmp_path / str(number)
        runs.mkdir()
        monkeypatch.setenv("NOTED", str(runs / "noted"))
        with Stub(answering()) as stub:
            ended = killed_at(runs, stub.url, number)
            (folder,) = runs.glob("2*")
            before = events_in(folder)
            kinds.add(type(before[-1]).__name__)
            if ended == 0:
                break
            asked = len(stub.requests)
            prompts = {e.key: e.prompt for e in of_kind(before, CallStarted)}
            known = replies(before)
            if isinstance(before[-1], RunEnded):
                with pytest.raises(ConfigError, match="complete"):
                    an_rlm(runs, stub.url).resume(folder.name)
                break
            if not any(type(event).__name__ == "DataLoaded" for event in before):
                number += 1
                continue
            answer = resumed(runs, stub.url, folder.name)
            assert (answer.status, answer.reason) == ("complete", ""), number
            again = {request.prompt for request in stub.requests[asked:]}
            assert not again & {prompts[key] for key in known if prompts[key]}, number
        events = events_in(folder)
        now, asked_for = replies(events), {e.key: e.prompt for e in of_kind(events, CallStarted)}
        assert {key: now[key] for key in known} == known, number
        started = [event.key for event in of_kind(events[len(before) :], CallStarted)]
        assert not set(started) & set(known), number
        r, s, n, seen, _ = answer.value
        of_prompts = {asked_for[key]: text for key, text in now.items() if asked_for[key]}
        assert r == [of_prompts[f"item {i}"] for i in range(4)], number
        assert all(text in of_prompts.values() for text in s) and seen == sorted([*r, *s]), number
        assert n == 5
        answered = [e for e in of_kind(before, HostAnswered) if e.value == 5]
        noted = len((runs / "noted").read_text())
        assert noted == 1 or (noted == 2 and not answered), number
        if in_flight := set(prompts) - {e.key for e in of_kind(before, CallEnded)}:
            assert set(of_kind(events, RunResumed)[0].in_flight) == in_flight, number
        number += 1
    assert {"CallStarted", "CallEnded", "AttemptFailed", "FinishHeld", "CellStarted"} <= kinds
    assert {"HostCalled", "HostAnswered", "TurnEnded", "MessageAdded"} <= kinds


@pytest.mark.slow
def test_calls_of_a_thread_that_outlives_its_cell_are_not_made_again(tmp_path: Path) -> None:
    """Which cell runs when such a call is made is another one every time."""
    number, ended = 0, -signal.SIGKILL
    while ended == -signal.SIGKILL:
        runs = tmp_path / str(number)
        runs.mkdir()
        with Stub(answering_a_thread) as stub:
            ended = killed_at(runs, stub.url, number)
            (folder,) = runs.glob("2*")
            before = events_in(folder)
            loaded = any(type(event).__name__ == "DataLoaded" for event in before)
            if loaded and not isinstance(before[-1], RunEnded):
                prompts = {e.key: e.prompt for e in of_kind(before, CallStarted)}
                known = replies(before)
                asked = len(stub.requests)
                answer = resumed(runs, stub.url, folder.name)
                assert (answer.status, answer.reason) == ("complete", ""), number
                again = {request.prompt for request in stub.requests[asked:]}
                assert not again & {prompts[key] for key in known if prompts[key]}, number
                texts = set(replies(events_in(folder)).values())
                got, beside = answer.value
                assert len(got) == 6 and len(beside) == 2, number
                assert texts.issuperset([*got, *beside]), number
                assert [text.partition(" was")[0] for text in got] == [
                    f"step {i}" for i in range(6)
                ], number
        number += 1
    assert number > 30


@pytest.mark.slow
def test_a_run_with_children_is_killed_at_every_event_and_resumed(tmp_path: Path) -> None:
    """A child at work goes on where it was; one that had ended is not asked again."""
    number, ended = 9, -signal.SIGKILL  # what is before the first child is killed above
    while ended == -signal.SIGKILL:
        runs = tmp_path / str(number)
        runs.mkdir()
        with Stub(answering_children()) as stub:
            ended = killed_at(runs, stub.url, number, NESTED_DATA, limits=DEEP)
            (folder,) = runs.glob("2*")
            before = events_in(folder)
            if not isinstance(before[-1], RunEnded):
                known = replies(before)
                asked = len(stub.requests)
                answer = resumed(runs, stub.url, folder.name, limits=DEEP)
                assert (answer.status, answer.reason) == ("complete", ""), number
                events = events_in(folder)
                again = [event.key for event in of_kind(events[len(before) :], CallStarted)]
                assert not set(again) & set(known), number
                prompts = {e.key: e.prompt for e in of_kind(before, CallStarted)}
                repeated = {request.prompt for request in stub.requests[asked:]}
                assert not repeated & {prompts[key] for key in known if prompts[key]}, number
                texts = set(replies(events).values())
                r, s = answer.value
                assert texts.issuperset([*r, *s]) and len(r) == 2, number
                assert all(f"root asks {x[:20]}" in y for x, y in zip(r, s, strict=True)), number
                nodes = [event.node for event in of_kind(events, NodeStarted)]
                assert sorted(nodes) == ["0", "0.1", "0.2"], number
                if number % 10 == 0:
                    assert replay(folder.name, runs=runs).identical, number
        number += 1
    assert number > 50


def killed_every(runs: Path, url: str, run: str, number: int) -> int:
    """Go on with ``run`` in a process that kills itself at its event ``number``."""

    def work() -> None:
        seen = 0

        def listener(event: Event) -> None:
            nonlocal seen
            if not isinstance(event, PASSING):
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1

        rlm = an_rlm(runs, url)
        goes_on = GoesOn(folder=runs / run, how="resume")
        rlm.start_from(goes_on, "", listener).future.result()

    return in_a_child(work)


@pytest.mark.parametrize("step", [8, 13])
def test_killed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Every process does a few steps more; what they did together is one run."""
    runs = tmp_path / "runs"
    monkeypatch.setenv("NOTED", str(tmp_path / "noted"))
    with Stub(answering()) as stub:
        ended = killed_at(runs, stub.url, 20)
        (folder,) = runs.glob("2*")
        times = 0
        while ended == -signal.SIGKILL and times < 60:
            ended = killed_every(runs, stub.url, folder.name, step)
            times += 1
    assert ended == 0 and times > 3
    events = events_in(folder)
    assert isinstance(events[-1], RunEnded) and events[-1].answer.status == "complete"
    answered = [event.key for event in of_kind(events, CallEnded) if not event.error]
    assert len(answered) == len(set(answered))
    assert (tmp_path / "noted").read_text() == "x"
    assert replay(folder.name, runs=runs).identical


def root(request: Any) -> str:
    """Counts up in a variable, and answers in the fifth turn."""
    turn = sum(message.role == "assistant" for message in request.messages)
    asked = cell(f"n = {turn}\nm = llm_query('turn {turn}')\nprint(n, m)")
    return cell("FINAL([n, m])") if turn >= 4 else asked


class Sub:
    """Numbers its replies, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, request: Any) -> str:
        self.asked.append(request.messages[0].text)
        return f"reply {len(self.asked)}"


def test_a_spent_limit_is_raised(runs: Path) -> None:
    sub = Sub()
    limits = Limits(max_turns=2, max_seconds=60)
    answer = scripted_rlm(runs, _final_or(root), sub, limits=limits).completion("q", "some text")
    assert (answer.status, answer.text) == ("partial", "so far: 1")
    before = events_of(runs, answer)
    again = scripted_rlm(runs, _final_or(root), sub).resume(answer.run)
    assert (again.status, again.value) == ("complete", [3, "reply 4"])
    assert sub.asked == ["turn 0", "turn 1", "turn 2", "turn 3"]
    assert again.run == answer.run and again.usage.calls == answer.usage.calls + 5
    assert again.turns == 5 and again.seconds > answer.seconds
    events = events_of(runs, again)
    assert events[: len(before)] == before, "the journal is only ever lengthened"
    assert not any("This is the last message" in text for text in _history(events)), (
        "it is not told of that limit"
    )
    assert len(of_kind(events, LimitReached)) == 1 and len(of_kind(events, RunEnded)) == 2


def test_a_limit_that_is_not_raised_costs_nothing_again(runs: Path) -> None:
    sub = Sub()
    limits = Limits(max_turns=2, max_seconds=60)
    rlm = scripted_rlm(runs, _final_or(root), sub, limits=limits)
    answer = rlm.completion("q", "some text")
    again = rlm.resume(answer.run)
    assert (again.status, again.text, again.usage) == ("partial", "so far: 1", answer.usage)
    assert len(sub.asked) == 2


def test_what_ended_for_want_of_an_endpoint_goes_on_with_one(runs: Path) -> None:
    with Stub([cell("n = 1\nprint(n)"), Status(401)]) as stub:
        answer = RLM("m", base_url=stub.url, api_key="k", runs=runs).completion("q", "some text")
    assert answer.status == "partial" and "key" in answer.reason
    with Stub([cell("FINAL(n + 1)")]) as stub:
        again = RLM("m", base_url=stub.url, api_key="k", runs=runs).resume(answer.run)
        assert (again.status, again.value, len(stub.requests)) == ("complete", 2, 1)


def test_an_interrupted_batch_asks_for_what_is_missing(runs: Path) -> None:
    code = cell("r = llm_query_batched([str(i) for i in range(8)])\nFINAL(r)")

    def script(request: StubRequest) -> Any:
        if request.messages[0]["role"] == "system":
            return code
        return Reply(f"said {request.prompt}", latency=0.0 if int(request.prompt) < 5 else 60.0)

    with Stub(script) as stub:
        rlm = RLM("m", base_url=stub.url, api_key="k", runs=runs)
        ended: list[Event] = []
        handle = rlm.start(
            "q", "some text", lambda event: _after(event, CallEnded, 6, ended, lambda: stop())
        )
        stop = handle.interrupt
        answer = handle.future.result(30)
        assert (answer.status, answer.reason) == ("partial", "interrupted")
    with Stub(lambda request: Reply(f"said {request.prompt}")) as stub:
        again = RLM("m", base_url=stub.url, api_key="k", runs=runs).resume(answer.run)
        assert again.value == [f"said {i}" for i in range(8)]
        assert sorted(request.prompt for request in stub.requests) == ["5", "6", "7"]
    assert answer.run == again.run


def test_data_must_be_what_it_was(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("one two three")
    limits = Limits(max_turns=1, max_seconds=60)
    hashed = threading.Event()

    def last(_: Request) -> str:
        assert hashed.wait(30), "only what has a hash on record can be known again"
        return "so far"

    def listener(event: Event) -> None:
        if isinstance(event, DocumentHashed):
            hashed.set()

    rlm = scripted_rlm(runs, [cell("n = len(context)\nprint(n)"), last], limits=limits)
    answer = rlm.start("q", path, listener).future.result(60)
    goes_on = scripted_rlm(runs, ["", cell("FINAL([n, len(context)])")])
    os.utime(path, (1, 1))
    assert goes_on.resume(answer.run).value == [13, 13], "the same bytes at another time"


def test_changed_data_is_refused_and_can_be_accepted(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("one two three")
    limits = Limits(max_turns=1, max_seconds=60)
    replies = [cell("n = 5\nprint(n)"), "so far"]
    answer = scripted_rlm(runs, replies, limits=limits).completion("q", path)
    before = events_of(runs, answer)
    path.write_text("one two three four")
    goes_on = scripted_rlm(runs, ["", cell("FINAL([n, len(context)])")])
    with pytest.raises(DataChanged, match=r"data\.txt.*--accept-changed"):
        goes_on.resume(answer.run)
    assert events_of(runs, answer) == before, "nothing was written"
    again = goes_on.resume(answer.run, accept_changed=True)
    assert again.value == [5, 18]
    events = events_of(runs, answer)
    assert of_kind(events, RunResumed)[0].changed == (0,)
    assert [event.bytes for event in of_kind(events, DocumentLoaded)] == [13, 18]
    path.unlink()
    with pytest.raises((DataChanged, ConfigError)):
        goes_on.resume(answer.run, accept_changed=True)


def test_cells_that_do_otherwise_stop_it_unless_that_is_accepted(runs: Path) -> None:
    limits = Limits(max_turns=1, max_seconds=60)
    replies = [cell("import os\nx = os.urandom(4).hex()\nprint(x)"), "so far"]
    answer = scripted_rlm(runs, replies, limits=limits).completion("q", "some text")
    goes_on = scripted_rlm(runs, ["", cell("FINAL(x)")])
    again = goes_on.resume(answer.run)
    assert again.status == "partial" and "cell 1 did not do the same" in again.reason
    assert again.usage == answer.usage, "no model was asked"
    assert again.text == answer.text == "so far", "what it had come to is not lost"
    last = goes_on.resume(answer.run, accept_different=True)
    assert last.status == "complete" and len(last.value) == 8


def test_what_a_deadline_took_is_told(runs: Path) -> None:
    limits = Limits(max_turns=2, cell_seconds=0.4, max_seconds=60)
    replies = [cell("kept = 1"), cell("lost = 2\nwhile True: pass"), "so far"]
    answer = scripted_rlm(runs, replies, limits=limits).completion("q", "some text")

    def going_on(request: Any) -> str:
        told_of = "Lost: lost" in request.messages[-1].text
        return cell("FINAL([kept, 'lost' in globals()])" if told_of else "print(kept)")

    again = scripted_rlm(runs, going_on).resume(answer.run)
    assert again.value == [1, False]


def test_a_model_that_wrote_no_code_gets_another_chance(runs: Path) -> None:
    answer = ask(runs, ["Hm.", "Well.", "I wonder."])
    assert answer.status == "partial" and "without code" in answer.reason
    again = scripted_rlm(runs, ["", "", "", cell("FINAL(1)")]).resume(answer.run)
    assert (again.status, again.value, again.turns) == ("complete", 1, 4)


def test_what_cannot_be_resumed_says_why(runs: Path, tmp_path: Path) -> None:
    rlm = scripted_rlm(runs, [cell("FINAL(1)")])
    complete = rlm.completion("q", "some text")
    with pytest.raises(ConfigError, match=r"complete.*--continue"):
        rlm.resume(complete.run)
    with pytest.raises(JournalError, match="no run 'nope'"):
        rlm.resume("nope")
    redacted = ask(runs, ["Hm.", "Hm.", "Hm."], redact=True)
    with pytest.raises(ConfigError, match="--redact"):
        rlm.resume(redacted.run)
    tooled = ask(runs, ["Hm.", "Hm.", "Hm."], tools=[note])
    with pytest.raises(ConfigError, match="tools note"):
        rlm.resume(tooled.run)
    lines = (runs / complete.run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for folder in (runs / "loading", tmp_path / "elsewhere"):
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(lines[0])
    with pytest.raises(DataError, match="was being loaded"):
        rlm.resume("loading")
    with pytest.raises(ConfigError, match=r"not in the folder of runs.*if you trust"):
        rlm.resume(str(tmp_path / "elsewhere"))
    (runs / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="not in the folder of runs"):
        rlm.resume("link")


def test_one_process_at_a_time_has_a_run(runs: Path) -> None:
    rlm = scripted_rlm(runs, [cell("n = 1"), cell("FINAL(n)")])
    seen: list[str] = []

    def listener(event: Event) -> None:
        if isinstance(event, CellStarted) and not seen:
            done = in_a_child(lambda: rlm.resume(next(runs.glob("2*")).name))
            seen.append(str(done))

    assert rlm.start("q", "some text", listener).future.result(30).value == 1
    assert seen == ["1"]


def _final_or(script: Callable[[Any], str]) -> Callable[[Any], str]:
    """``script``, but for the last call of a run that is over its limit."""

    def answer(request: Any) -> str:
        if "This is the last message" in request.messages[-1].text:
            turn = sum(message.role == "assistant" for message in request.messages) - 1
            return f"so far: {turn}"
        return script(request)

    return answer


def _history(events: list[Event]) -> list[str]:
    """The root's conversation as it stood at the end."""
    history: list[str] = []
    for event in of_kind(events, MessageAdded):
        history[event.index :] = [event.text]
    return history


def _after(
    event: Event, kind: type[Event], count: int, seen: list[Event], do: Callable[[], None]
) -> None:
    """Do something when so many events of a kind have been seen."""
    if isinstance(event, kind):
        seen.append(event)
        if len(seen) == count:
            do()


def test_threads_that_cells_left_behind_go_on_while_the_model_thinks(runs: Path) -> None:
    left = cell(
        "import threading\nmay, said = threading.Event(), []\n"
        "def work():\n    while len(said) < 3:\n        may.wait(0.02)\n"
        "        said.append(llm_query(f'item {len(said)}'))\n"
        "thread = threading.Thread(target=work)\nprint('made')"
    )
    over = threading.Event()

    def root(request: Any) -> str:
        turn = sum(message.role == "assistant" for message in request.messages)
        if turn == 0:
            return left
        if turn == 1:
            return cell("thread.start()")
        if not over.is_set():
            raise ModelError("dead")
        asked.wait(30)
        return cell("thread.join()\nFINAL(said)")

    asked = threading.Event()
    answered: list[str] = []

    def sub(request: Any) -> str:
        answered.append(request.messages[0].text)
        if len(set(answered)) == 3:
            asked.set()
        return f"to {answered[-1]}"

    first = scripted_rlm(runs, root, sub).completion("q", "some text")
    assert first.reason == "dead"
    over.set()
    answer = scripted_rlm(runs, root, sub).resume(first.run)
    assert answer.value == ["to item 0", "to item 1", "to item 2"]


def test_a_file_under_a_name_that_is_not_its_own_is_named_by_its_path(
    runs: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("some text")
    replies = [cell("n = 1"), ModelError("dead")]
    first = scripted_rlm(runs, replies).completion("q", {"notes.txt": secret})
    secret.write_text("other text")
    with pytest.raises(DataChanged, match=rf"notes.txt \({re.escape(str(secret))}\);"):
        scripted_rlm(runs, replies).resume(first.run)


def test_a_copy_of_its_own_is_no_link(runs: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("some text")
    first = scripted_rlm(runs, [cell("n = 1"), ModelError("dead")]).completion("q", "some text")
    (copy,) = (runs / first.run / "data").iterdir()
    copy.unlink()
    copy.symlink_to(secret)
    with pytest.raises(DataError, match="no copy of the run's own"):
        scripted_rlm(runs, [cell("n = 1"), cell("FINAL(n)")]).resume(first.run)
    with pytest.raises(DataError, match="no copy of the run's own"):
        replay(first.run, runs=runs)
