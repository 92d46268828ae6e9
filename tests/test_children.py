"""Children: nodes with a REPL of their own, over data that they are given by reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, Answer, Limits, replay
from abyme.config import ChildLimits
from abyme.events import (
    CallRefused,
    CellEnded,
    DocumentLoaded,
    Event,
    MessageAdded,
    NodeEnded,
    NodeStarted,
    WorkerStarted,
)
from abyme.progress import Tally
from support.runs import cell, events_of, of_kind
from support.stub import Reply, Stub, StubRequest

TEXT = "".join(f"line {i}: a kettle, {i % 7} pots\n" for i in range(8000))
Turns = dict[str, list[str]]


def acting(turns: Turns) -> Callable[[StubRequest], Any]:
    """A stub whose models act by their question: the turns of the first key that it holds."""

    def answer(request: StubRequest) -> Any:
        if request.messages[0]["role"] != "system":
            return Reply(f"leaf: {request.prompt[-40:]}")
        asked = request.messages[1]["content"]
        turn = sum(message["role"] == "assistant" for message in request.messages)
        for question, replies in turns.items():
            if f"Question:\n{question}" in asked:
                return replies[min(turn, len(replies) - 1)]
        return Reply("FINAL(nobody knows)")

    return answer


def run(
    runs: Path, turns: Turns, context: Any = TEXT, *, depth: int = 2, **limits: Any
) -> tuple[Answer, list[Event], Stub]:
    """Ask "root" and give the answer, the events and the stub that was asked."""
    with Stub(acting(turns)) as stub:
        rlm = RLM(
            "m",
            base_url=stub.url,
            api_key="k",
            runs=runs,
            limits=Limits(max_depth=depth, max_seconds=100, **limits),
        )
        answer = rlm.completion("root", context)
        return answer, events_of(runs, answer), stub


COUNT = [cell("n = context.count('kettle')\nprint(n)"), cell("FINAL(str(n))")]


def test_children_work_on_slices_of_the_data_which_never_travel(runs: Path) -> None:
    root = [
        cell(
            "half = len(context) // 2\n"
            "r = rlm_query_batched('count', [context[:half], context[half:]])\nprint(r)"
        ),
        cell("FINAL([int(n) for n in r])"),
    ]
    answer, events, _ = run(runs, {"root": root, "count": COUNT})
    half = len(TEXT) // 2
    assert answer.value == [TEXT[:half].count("kettle"), TEXT[half:].count("kettle")]
    children = [node for node in of_kind(events, NodeStarted) if node.parent]
    assert [(node.node, node.depth, node.parent) for node in children] == [
        ("0.1", 1, "0"),
        ("0.2", 1, "0"),
    ]
    assert [node.given and node.given.parts for node in children] == [
        ((0, 0, half),),
        ((0, half, len(TEXT)),),
    ]
    assert len(of_kind(events, DocumentLoaded)) == 1
    assert {event.node for event in of_kind(events, WorkerStarted)} == {"0", "0.1", "0.2"}


def test_a_text_that_code_made_is_kept_once_and_handed_over(runs: Path) -> None:
    root = [cell("FINAL(rlm_query_batched('count', [('kettle ' * 900), ('kettle ' * 900)]))")]
    answer, events, _ = run(runs, {"root": root, "count": COUNT})
    assert answer.value == ["900", "900"]
    made = [event for event in of_kind(events, DocumentLoaded) if event.index == 1]
    assert len(made) == 1 and len(of_kind(events, DocumentLoaded)) == 2
    assert (runs / answer.run / made[0].path).read_text() == "kettle " * 900


@pytest.mark.parametrize(
    ("context", "kind", "parts", "seen"),
    [
        ("context['b.txt']", "text", ((1, 1),), "str 5"),
        ("{'x': context['a.txt'], 'y': 'mine'}", "documents", ((0, 1), (3, 1)), "Documents 2"),
        ("[context['a.txt'], context['c.txt']]", "documents", ((0, 1), (2, 1)), "Documents 2"),
        ("context", "documents", ((0, 3),), "Documents 3"),
        ("None", "documents", (), "Documents 0"),
        ("grep('two')", "documents", ((3, 1),), "Documents 1"),
    ],
)
def test_what_a_child_may_be_given(
    runs: Path, tmp_path: Path, context: str, kind: str, parts: Any, seen: str
) -> None:
    long = "".join(f"{i} of many lines that are long enough to be looked for\n" for i in range(99))
    data = {"a.txt": "one" + long, "b.txt": "two" + long, "c.txt": "three" + long}
    look = [cell("said = f'{type(context).__name__} {len(context)}'"), cell("FINAL(said)")]
    root = [cell(f"FINAL(rlm_query('look', {context}))")]
    answer, events, _ = run(runs, {"root": root, "look": look}, data)
    child = next(node for node in of_kind(events, NodeStarted) if node.parent)
    assert child.given is not None
    assert (child.given.kind, child.given.parts) == (kind, parts)
    length = len("two" + long)
    assert answer.value == (seen if kind == "documents" else f"str {length}")


def test_a_childs_failure_is_an_exception_with_its_draft_and_cost(runs: Path) -> None:
    root = [
        cell(
            "try:\n    rlm_query('never', 'some text')\n"
            "except ChildFailed as error:\n"
            "    FINAL([error.status, error.draft, error.cost, str(error)])"
        )
    ]
    never = [cell("answer['content'] = 'a draft'\nprint(1)")]
    limits = (ChildLimits(max_turns=2),)
    answer, events, _ = run(runs, {"root": root, "never": never}, children=limits)
    status, draft, cost, message = answer.value
    ended = of_kind(events, NodeEnded)[0]
    assert (answer.status, draft, cost) == ("complete", "a draft", None)
    assert status == ended.status == "partial" and ended.turns == 2
    assert message.startswith("child 0.1 ended partial: max_turns") and "a draft" in message


def test_a_failed_child_is_an_item_of_its_batch(runs: Path) -> None:
    root = [
        cell(
            "r = rlm_query_batched(['never', 'sure'], ['x', 'y'])\n"
            "FINAL([r.failed, r[1], r[0].error.status])"
        )
    ]
    turns = {"root": root, "never": [cell("1")], "sure": [cell("FINAL('yes')")]}
    answer, *_ = run(runs, turns, children=(ChildLimits(max_turns=1),))
    assert answer.value == [[0], "yes", "partial"]


def test_children_of_children_and_the_depth_limit(runs: Path) -> None:
    turns = {
        "root": [cell("FINAL(rlm_query('middle', context[:20000]))")],
        "middle": [cell("FINAL(rlm_query('lower', context[6:10000]))")],
        "lower": [cell("FINAL(rlm_query('plain', context[:12]))")],
    }
    answer, events, _ = run(runs, turns, depth=3)
    assert answer.value == f"leaf: {TEXT[6:18]}\n\n---\n\nplain"
    children = {node.node: node for node in of_kind(events, NodeStarted) if node.parent}
    assert set(children) == {"0.1", "0.1.1"}
    assert children["0.1.1"].given is not None
    assert children["0.1.1"].given.parts == ((0, 6, 10000),)
    told = [e.text for e in of_kind(events, MessageAdded) if e.role == "system"]
    assert ["recursion is off" in text for text in told] == [False, False, True]


def test_a_child_given_all_with_the_same_question_is_challenged(runs: Path) -> None:
    root = [
        cell("try:\n    rlm_query('root', context)\nexcept ChildRefused as e:\n    said = str(e)"),
        cell("print(rlm_query('count', context), rlm_query('Root', context[5:], insist=True))"),
        cell("FINAL(said)"),
    ]
    turns = {"root": root, "count": COUNT, "Root": COUNT}
    answer, events, _ = run(runs, turns)
    assert "100 % of your data and your own question" in answer.value
    refused = of_kind(events, CallRefused)
    assert len(refused) == 1 and len(of_kind(events, NodeEnded)) == 2
    assert refused[0].error_type == "ChildRefused"


@pytest.mark.parametrize(
    ("question", "context", "challenged"),
    [
        ("'root'", "context", True),
        ("'root'", "context[:int(.95 * len(context))]", True),
        ("'root'", "[context[:len(context) // 2], context[len(context) // 2:]]", True),
        ("'root'", "context[:len(context) // 2]", False),
        ("'root'", "[context[:len(context) // 2], context[9:len(context) // 2 + 9]]", False),
        ("'root'", "context.upper()", False),
        ("'root'", "context[::-1]", False),
        ("'count'", "context", False),
        ("'root\\n' + context", "None", True),
        ("context + '\\nRoot?'", "None", True),
        ("'root\\n' + context[int(.05 * len(context)):] + '\\n.'", "None", True),
        ("'root\\n' + context[:len(context) // 2]", "None", False),
        ("'root\\n' + context.upper()", "None", False),
        ("'count the pots in this\\n' + context", "None", False),
    ],
)
def test_what_is_challenged_is_the_data_and_the_question(
    runs: Path, question: str, context: str, challenged: bool
) -> None:
    """A text that code made is not the data, even one of the same size."""
    root = [
        cell(
            f"try:\n    said = rlm_query({question}, {context})\n"
            "except ChildRefused as e:\n    said = str(e)"
        ),
        cell("FINAL(said)"),
    ]
    final = [cell("FINAL('it')")]
    answers = dict.fromkeys(("count", "line", "root\nline", "root\nLINE"), final)
    text = "".join(f"line {i}: a kettle, {i % 7} pots\n" for i in range(900))
    answer, events, _ = run(runs, {**answers, "root": root}, text)
    assert (len(of_kind(events, CallRefused)) == 1) == challenged, answer.value
    assert ("your own question" in answer.value) == challenged


def test_many_documents_in_a_question_are_the_data_too(runs: Path) -> None:
    data = {f"{i}.txt": f"document {i}: " + f"{i} pots\n" * 90 for i in range(40)}
    root = [
        cell(
            "r = rlm_query_batched(['root\\n' + '\\n--\\n'.join(context.values())"
            ", 'root\\n' + '\\n--\\n'.join(list(context.values())[::2])])"
        ),
        cell("FINAL([r.failed, type(r[0].error).__name__])"),
    ]
    turns = {"root\ndocument": [cell("FINAL('it')")], "root": root}
    answer, *_ = run(runs, turns, data)
    assert answer.value == [[0], "ChildRefused"]


def test_a_run_with_children_replays(runs: Path) -> None:
    root = [
        cell("r = rlm_query_batched('count', [context[:9000], 'my kettle'])\nprint(r)"),
        cell("FINAL(r[1])"),
    ]
    answer, *_ = run(runs, {"root": root, "count": COUNT})
    replayed = replay(answer.run, runs=runs)
    assert replayed.identical and replayed.cells == 6 and replayed.turns == 6


@pytest.mark.parametrize("given", ["", "\\ufeffx", "\\x00\\x01" * 50, "\\ud800" * 9, "caf\\xe9"])
def test_whatever_text_a_child_is_given_the_run_can_be_gone_on_with(runs: Path, given: str) -> None:
    root = [cell(f"FINAL(rlm_query('look', ['{given}', 'more']))")]
    look = [cell("FINAL(repr(list(context.values())[0]))")]
    with Stub(acting({"root": root, "look": look})) as stub:
        rlm = RLM("m", base_url=stub.url, runs=runs, limits=Limits(max_depth=2, max_seconds=100))
        answer = rlm.completion("root", TEXT)
        assert answer.text == repr(given.encode().decode("unicode_escape"))
        assert replay(answer.run, runs=runs).identical
        assert rlm.fork(answer.run, 1, "root again").status == "complete"


def test_children_that_cannot_begin_are_told_of_and_nobody_waits_for_them(runs: Path) -> None:
    root = cell(
        "said = []\n"
        "for wrong in ({'model': 'big'}, {'schema': 'list[foo]'}, {'question': ' '}, {'x': 1}):\n"
        "    try:\n"
        "        rlm_query(**{'question': 'child', 'context': context[:9], **wrong})\n"
        "    except Exception as error:\n"
        "        said.append(str(error))\n"
        "FINAL('|'.join(said))"
    )
    answer, events, _ = run(runs, {"root": [root]})
    assert "'big' is not offered here" in answer.text
    assert "'foo' is not supported" in answer.text
    assert "the question is empty" in answer.text
    assert answer.text.endswith(
        "it is rlm_query(question, context=None, model=None, schema=None, insist=False)"
    )
    (refused,) = of_kind(events, CallRefused)
    assert "big" in refused.error
    tally = Tally()
    for event in events:
        if isinstance(event, CellEnded):
            break
        tally.take(event)
    assert tally.progress.children_waiting == 0
