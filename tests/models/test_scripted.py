"""The scripted model says what it was told to say, and says when it has no more to say."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from abyme.errors import ConfigError, EndpointError, ModelError
from abyme.models.base import Request
from abyme.models.scripted import Scripted
from abyme.types import Message, Reply, Usage


def root(turn: int = 0) -> Request:
    history = [Message("system", "s"), Message("user", "q")]
    for number in range(turn):
        history += [Message("assistant", f"reply {number}"), Message("user", "output")]
    return Request(tuple(history))


def sub(prompt: str = "p") -> Request:
    return Request((Message("user", prompt),), "sub")


def ask(model: Scripted, *requests: Request) -> list[str]:
    async def steps() -> list[str]:
        return [(await model.complete(request)).text for request in requests]

    return asyncio.run(steps())


def test_the_root_gets_the_reply_of_its_turn_whatever_was_asked_before() -> None:
    model = Scripted(["first", "second", "third"])
    assert ask(model, root(2), root(0), root(1), root(0)) == ["third", "first", "second", "first"]


def test_calls_from_code_get_theirs_in_order_of_arrival() -> None:
    async def steps() -> None:
        model = Scripted(["r"], ["a", "b", "c"], latency=0.001)
        replies = await asyncio.gather(*(model.complete(sub()) for _ in range(3)))
        assert [reply.text for reply in replies] == ["a", "b", "c"]

    asyncio.run(steps())


def test_calls_from_code_may_be_answered_by_part_of_their_prompt() -> None:
    model = Scripted(["r"], {"red": "rot", "blue": "blau", "": "?"})
    assert ask(model, sub("so blue"), sub("red, blue"), sub("x")) == ["blau", "rot", "?"]
    with pytest.raises(ModelError, match="no reply for a call whose prompt begins 'x'"):
        ask(Scripted(["r"], {"red": "rot"}), sub("x"))


def test_a_callable_answers_and_without_a_sub_script_all() -> None:
    model = Scripted(lambda request: f"{request.purpose} {len(request.messages)}")
    assert ask(model, root(), sub()) == ["root 2", "sub 1"]
    model = Scripted(["r"], lambda request: Reply("whole", Usage(7, 7), cut=True))
    assert asyncio.run(model.complete(sub())) == Reply("whole", Usage(7, 7), cut=True)


def test_items_may_be_exceptions_and_callables() -> None:
    model = Scripted([EndpointError("down", status=500), lambda request: "made"])
    with pytest.raises(EndpointError, match="down"):
        ask(model, root(0))
    assert ask(model, root(1)) == ["made"]


@pytest.mark.parametrize(
    ("model", "request_", "line"),
    [
        (Scripted(["a"]), root(1), "scripted has 1 replies for the root; this is request 2"),
        (Scripted(["a"]), sub(), "scripted has no replies for calls from code"),
        (Scripted(["a"], []), sub(), "scripted has 0 replies for calls from code; .* request 1"),
    ],
)
def test_a_script_that_is_over_says_so_and_is_not_tried_again(
    model: Scripted, request_: Request, line: str
) -> None:
    with pytest.raises(ModelError, match=line) as caught:
        ask(model, request_)
    assert not caught.value.retryable


def test_usage_is_a_token_for_four_characters() -> None:
    request = Request((Message("user", "x" * 400),))
    reply = asyncio.run(Scripted(["y" * 80]).complete(request))
    assert reply.usage == Usage(100, 20, calls=1)


def test_a_reply_streams_line_by_line() -> None:
    pieces: list[str] = []
    asyncio.run(Scripted(["one\ntwo\n\nthree"]).complete(root(), pieces.append))
    assert pieces == ["one\n", "two\n", "\n", "three"]


def test_one_string_is_no_script() -> None:
    with pytest.raises(TypeError, match="not one string"):
        Scripted("abc")


def test_a_text_file_keeps_markdown_and_code_as_they_are(tmp_path: Path) -> None:
    first = "# Think\n\n---\n\n```repl\nx = 1\n  # === reply === not alone\n```"
    second = "```repl\nFINAL(x)\n```"
    file = tmp_path / "replies.txt"
    file.write_text(f"{first}\n=== reply ===\n{second}\n", encoding="utf-8")
    model = Scripted.from_file(file)
    assert model.name == f"scripted:{file}"
    assert ask(model, root(0), root(1)) == [first, second]


@pytest.mark.parametrize(
    ("script", "replies"),
    [
        (["a", "b"], ("a", None)),
        ({"root": ["a"], "sub": ["s"]}, ("a", "s")),
        ({"root": ["a"], "sub": {"p": "s"}}, ("a", "s")),
        ({"root": ["a"]}, ("a", None)),
    ],
)
def test_a_json_file_holds_both_scripts(
    tmp_path: Path, script: Any, replies: tuple[str, str | None]
) -> None:
    file = tmp_path / "replies.json"
    file.write_text(json.dumps(script), encoding="utf-8")
    model = Scripted.from_file(file)
    assert ask(model, root()) == [replies[0]]
    if replies[1] is not None:
        assert ask(model, sub()) == [replies[1]]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.json", b"{", "is not JSON"),
        ("a.json", b"3", "must be a list of strings"),
        ("a.json", b"[1]", "must be a list of strings"),
        ("a.json", b'{"root": ["a"], "subs": []}', "must be a list of strings"),
        ("a.json", b'{"root": ["a"], "sub": {"p": 1}}', "must be a list of strings"),
        ("a.json", b"[]", "has no reply in it"),
        ("a.txt", b"\n\n", "has no reply in it"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8"),
        (".", b"", "Is a directory"),
        ("missing.txt", None, "No such file"),
    ],
)
def test_a_file_that_is_no_script_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, line: str
) -> None:
    file = tmp_path / name
    if content:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=line) as caught:
        Scripted.from_file(file)
    assert "\n" not in str(caught.value)


def test_children_have_scripts_of_their_own_by_their_question() -> None:
    model = Scripted(["root"], children={"count": ["c1", "c2"], "Is it": lambda request: "it is"})

    def child(question: str, *said: str) -> Request:
        asked = (Message("system", "s"), Message("user", f"Question:\n{question}"))
        return Request((*asked, *(Message("assistant", text) for text in said)), depth=1)

    async def ask(request: Request) -> str:
        return (await model.complete(request)).text

    assert asyncio.run(ask(child("count the pots"))) == "c1"
    assert asyncio.run(ask(child("count the pots", "c1"))) == "c2"
    assert asyncio.run(ask(child("Is it so?"))) == "it is"
    assert asyncio.run(ask(Request((Message("user", "count"),)))) == "root"
    with pytest.raises(ModelError, match="no replies for a child that is told 'Question:"):
        asyncio.run(ask(child("who?")))
    with pytest.raises(ModelError, match="2 replies for a child; this is request 3"):
        asyncio.run(ask(child("count the pots", "c1", "c2")))


@pytest.mark.parametrize("children", [["a"], {"a": "b"}, {"a": [1]}])
def test_what_is_no_script_of_children(tmp_path: Path, children: object) -> None:
    file = tmp_path / "s.json"
    file.write_text(json.dumps({"root": ["r"], "children": children}))
    with pytest.raises(ConfigError, match="must be a list of strings"):
        Scripted.from_file(file)
