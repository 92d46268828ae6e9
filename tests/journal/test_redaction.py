"""A journal without texts holds none, and every field of every event was decided upon."""

from __future__ import annotations

import hashlib
import json
import re
import types
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from abyme.cli.show import show
from abyme.events import (
    JOURNALLED,
    CallEnded,
    CellEnded,
    DocumentLoaded,
    Event,
    HostAnswered,
    HostCalled,
    MessageAdded,
    NodeStarted,
    RunEnded,
)
from abyme.journal.reader import read
from abyme.journal.redaction import FIELDS, redacted
from abyme.journal.summary import summarise
from abyme.journal.verify import verify
from abyme.journal.writer import Journal
from abyme.types import (
    Answer,
    CellError,
    CellResult,
    FailedCall,
    Finish,
    Quote,
    Usage,
    Variable,
)
from support.journals import events_in, message, started, write
from support.runs import ask, cell, settled

SECRET = "Ada owes 4711"
KINDS: tuple[type[Event], ...] = typing.get_args(JOURNALLED)


def structs_in(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    """The structs that the fields of ``kind`` may hold, at any depth."""
    found: set[type[msgspec.Struct]] = set()
    waiting: list[Any] = list(typing.get_type_hints(kind).values())
    while waiting:
        hint = waiting.pop()
        waiting += typing.get_args(hint)
        plain = isinstance(hint, type) and not isinstance(hint, types.GenericAlias)
        if plain and issubclass(hint, msgspec.Struct):
            found |= {hint, *structs_in(hint)}
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_every_field_was_decided_upon(kind: type[Event]) -> None:
    for each in {kind, *structs_in(kind)} - {Usage}:
        assert set(FIELDS.get(each, {})) == set(each.__struct_fields__), (
            f"{each.__name__}: decide in abyme.journal.redaction what becomes of its fields"
        )


def strings_in(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for item in [*value, *value.values()] for text in strings_in(item)]
        case list() | tuple():
            return [text for item in value for text in strings_in(item)]
    return []


RESULT = CellResult(
    "raised",
    output=SECRET,
    output_chars=13,
    error=CellError("ValueError", SECRET, SECRET),
    variables=(Variable(SECRET, "dict", SECRET), Variable("x", SECRET)),
    finish=Finish({SECRET: SECRET}, SECRET, "FINAL", (Quote(SECRET, SECRET, 1, 0, 3, True),)),
    draft=SECRET,
    failed_calls=(FailedCall(SECRET, 0),),
    notes=(SECRET, "y"),
)
EVENTS: list[Event] = [
    message(0, SECRET),
    DocumentLoaded(0, SECRET, f"/home/{SECRET}", 1, 2, 3, "utf-8", "strict", True),
    HostCalled("0/1/ab/0", "0", 1, "note", {"x": SECRET, "n": 4711, "none": None}),
    HostAnswered("0/1/ab/0", {SECRET: [4711]}),
    HostAnswered("0/1/ab/0", error=SECRET, error_type="KeyError"),
    CellEnded("0", 1, 1, RESULT),
    RunEnded(Answer(SECRET, [SECRET, 4711], "complete", SECRET, (Quote(SECRET, SECRET),))),
]


def test_no_text_is_left(runs: Path) -> None:
    make = lambda: Journal(runs, "r", redact=True)  # noqa: E731
    folder = write(make, started(redacted=True), *EVENTS)
    raw = (folder / "journal.jsonl").read_text()
    assert SECRET not in raw and "Ada" not in raw
    assert not re.search(r"\b4711\b", raw)  # a timestamp may hold these digits among others
    assert not any(path.is_file() for path in (folder / "blobs").rglob("*"))
    for kept in ('"note"', '"KeyError"', '"ValueError"', '"dict"', '"0/1/ab/0"'):
        assert kept in raw


def test_what_stands_there_proves_the_text(runs: Path) -> None:
    body = redacted(message(3, SECRET))
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    assert body["text"] == {"$sha256": digest, "chars": len(SECRET)}
    assert (body["event"], body["index"]) == ("MessageAdded", 3)
    value = redacted(HostAnswered("k", {"a": [1, "é"]}))["value"]
    raw = '{"a":[1,"é"]}'
    assert value == {"$sha256": hashlib.sha256(raw.encode()).hexdigest(), "chars": len(raw)}
    assert redacted(message(0, ""))["text"] == ""
    odd = redacted(message(0, "\ud800"))["text"]
    assert odd["$sha256"] == hashlib.sha256(b"\xed\xa0\x80").hexdigest()


def test_a_reader_is_told_that_a_text_was_there(runs: Path) -> None:
    make = lambda: Journal(runs, "r", redact=True)  # noqa: E731
    folder = write(make, started(redacted=True), *EVENTS)
    events = events_in(folder)
    assert [type(event) for event in events[1:]] == [type(event) for event in EVENTS]
    (text,) = [event.text for event in events if isinstance(event, MessageAdded)]
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    assert text == f"[redacted: 13 characters, sha256 {digest[:12]}…]"
    ended = events[-1]
    assert isinstance(ended, RunEnded) and ended.answer.status == "complete"
    assert "redacted" in str(ended.answer.value)
    assert summarise(folder).question.startswith("[redacted: 2 characters")
    lines: list[str] = []
    show(folder, lines.append)
    assert any("[redacted: 13 characters" in line for line in lines)


def test_a_whole_run_without_texts(runs: Path) -> None:
    """All strings of its journal are names, or texts of Abyme that no data and no model made."""
    secret = "Kettlewell"
    code = (
        f"{secret} = 1\nprint('{secret}')\nr = llm_query('{secret}?')\nraise KeyError('{secret}')"
    )
    replies = [cell(code), cell(f"FINAL(r, quotes=['{secret}'])")]
    answer = ask(runs, replies, [f"{secret}!"], f"the data of {secret}", redact=True)
    assert answer.text == f"{secret}!" and answer.quotes[0].verified
    folder = runs / answer.run
    for path in folder.rglob("*"):
        assert path.is_dir() or secret not in path.read_text()
    for line in (folder / "journal.jsonl").read_text().splitlines():
        assert max(map(len, strings_in(json.loads(line))), default=0) < 100
    first = next(read(folder)).event
    assert getattr(first, "question", "").startswith("[redacted: ")
    found = verify(folder, answer.head)
    assert found.whole and found.compared == "same"


def test_a_value_of_the_users_that_looks_like_a_hash(runs: Path) -> None:
    value = {"$sha256": "x", "chars": 1, "inner": {"$sha256": {"$blob": 1}}}
    folder = write(lambda: Journal(runs, "r"), started(), HostAnswered("k", value))
    assert events_in(folder)[1] == HostAnswered("k", value)
    line = json.loads((folder / "journal.jsonl").read_text().splitlines()[1])
    assert list(line["value"]) == ["$dict"]


def test_it_goes_on_as_it_began(runs: Path) -> None:
    folder = write(lambda: Journal(runs, "r", redact=True), started(redacted=True))
    write(lambda: Journal.reopen(folder), NodeStarted("0", "", 0, SECRET), CallEnded("k", SECRET))
    fork = write(lambda: Journal.fork(folder, runs, "f", 1), message(0, SECRET))
    for each in (folder, fork):
        assert SECRET not in (each / "journal.jsonl").read_text()


def test_a_worker_that_dies_is_given_what_was_answered(runs: Path) -> None:
    """The journal has hashes in the place of the answers: they are remembered beside it."""
    replies = [cell("r = llm_query('q')"), cell("import os; os._exit(1)"), cell("FINAL(r)")]
    answer = ask(runs, replies, [SECRET], SECRET * 500, redact=True)
    assert (answer.status, answer.value) == ("complete", SECRET)
    settled()
    kept = [path for path in (runs / answer.run).rglob("*") if path.is_file()]
    assert [path.name for path in kept] == ["journal.jsonl"]
    assert SECRET.encode() not in kept[0].read_bytes()
