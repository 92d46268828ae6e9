"""A journal without texts: what of each event is kept, and what only as a hash.

One rule: whatever data, a model, code or an endpoint could have written is hashed; what Abyme
itself counted or named stays, as do names of models and tools, keys of calls, hashes of documents.
Names and paths of documents are hashed too: they may tell secrets. The hash of a short text can be
found by trying texts; that is the price of being able to show later which text it was.
"""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from abyme import errors
from abyme import events as e
from abyme.journal.format import HASHED, encode_line, is_digest
from abyme.types import Answer, CellError, CellResult, FailedCall, Finish, Quote, Variable

Rule = Callable[[Any], Any]


def _keep(value: Any) -> Any:
    """As it is: a number, a name of ours, an identifier."""
    return value


def _text(value: str) -> Any:
    """The hash of a text's UTF-8 bytes. An empty text tells nothing and stays."""
    if not value:
        return value
    raw = value.encode("utf-8", "surrogatepass")
    return {HASHED: hashlib.sha256(raw).hexdigest(), "chars": len(value)}


def _texts(values: list[str]) -> Any:
    """The hash of each."""
    return [_text(value) for value in values]


def _value(value: Any) -> Any:
    """The hash of a text; of any other value, of its JSON. None stays."""
    if value is None or isinstance(value, str):
        return value and _text(value)
    return _text(encode_line(value).decode("utf-8"))


def _values(values: dict[str, Any]) -> Any:
    """The hash of each value; the names of arguments stay."""
    return {name: _value(value) for name, value in values.items()}


def _kind(name: str) -> Any:
    """The name of a type, kept where it is Python's or ours: code may name classes of its own."""
    return name if hasattr(builtins, name) or hasattr(errors, name) else _text(name)


def _rules(keep: str = "", **rules: Rule) -> dict[str, Rule]:
    """A rule for each field: the names in ``keep`` stay."""
    return {**dict.fromkeys(keep.split(), _keep), **rules}


def _struct(kind: type[msgspec.Struct]) -> Rule:
    return lambda value: None if value is None else _apply(kind, value)


def _structs(kind: type[msgspec.Struct]) -> Rule:
    return lambda values: [_apply(kind, value) for value in values]


def redacted(event: e.Event) -> dict[str, Any]:
    """The event as a line of a journal without texts has it."""
    body: dict[str, Any] = msgspec.to_builtins(event)
    return {"event": body.pop("event"), **_apply(type(event), body)}


def placeholder(reference: dict[str, Any]) -> str:
    """What a reader is given in the place of a text: its length and the beginning of its hash."""
    digest, chars = reference.get(HASHED), reference.get("chars")
    if not is_digest(digest) or not isinstance(chars, int):
        raise ValueError("a text that was kept as a hash has none")
    return f"[redacted: {chars:,} characters, sha256 {str(digest)[:12]}…]"


def _apply(kind: type[msgspec.Struct], body: dict[str, Any]) -> dict[str, Any]:
    rules = FIELDS[kind]
    return {name: rules[name](value) for name, value in body.items()}


FIELDS: Mapping[type[msgspec.Struct], Mapping[str, Rule]] = {
    e.RunStarted: _rules(
        "run version model sub_model base_url limits format tools python priced sandbox prices "
        "parameters redacted child_models cache",
        question=_text,
    ),
    e.Terms: _rules(
        "version model sub_model base_url limits tools python priced prices sandbox parameters "
        "child_models cache",
    ),
    e.RunResumed: _rules(
        "in_flight charged_tokens charged_cost torn_bytes changed", terms=_struct(e.Terms)
    ),
    e.RunForked: _rules("run parent turn", terms=_struct(e.Terms)),
    e.QuestionAsked: _rules("number turns", question=_text, terms=_struct(e.Terms)),
    e.DocumentLoaded: _rules(
        "index bytes mtime_ns inode encoding errors owned bom measures", name=_text, path=_text
    ),
    e.DataLoaded: _rules("kind documents bytes skipped"),
    e.DocumentHashed: _rules("index sha256 copied"),
    e.DataMeasured: _rules("characters lines longest_line"),
    e.NodeStarted: _rules(
        "node parent depth seed key model", question=_text, given=_struct(e.Given)
    ),
    e.Given: _rules("kind parts", names=_texts),
    e.NodeEnded: _rules(
        "node key status error_type usage cost seconds turns",
        text=_text,
        value=_value,
        error=_text,
    ),
    e.MessageAdded: _rules("node index role", text=_text),
    e.CallStarted: _rules(
        "key node cell kind model messages max_tokens reserved_tokens reserved_cost",
        prompt=_text,
    ),
    e.CallRefused: _rules("key node cell kind error_type", error=_text),
    e.AttemptFailed: _rules("key attempt status wait", error=_text),
    e.SurrogatesReplaced: _rules("key count"),
    e.CallEnded: _rules(
        "key usage cost seconds attempts error_type cut charged", text=_text, error=_text
    ),
    e.CallGivenUp: _rules("key"),
    e.CallCached: _rules("key node cell kind source"),
    e.HostCalled: _rules("key node cell name", arguments=_values),
    e.HostAnswered: _rules("key error_type seconds", value=_value, error=_text),
    e.WorkerStarted: _rules("node pid sandbox layers"),
    e.WorkerEnded: _rules("node", how=_text),
    e.Checkpointed: _rules("node cell blob bytes seconds"),
    e.CheckpointRefused: _rules("node cell", reason=_text),
    e.WorkerRestored: _rules("node cells differing saved", lost=_texts),
    e.CellStarted: _rules("node turn cell clock", code=_text),
    e.CellEnded: _rules("node turn cell", result=_struct(CellResult)),
    e.FinishHeld: _rules("node turn", text=_text),
    e.TurnEnded: _rules("node turn"),
    e.LimitReached: _rules("node limit", detail=_text),
    e.RunEnded: _rules(answer=_struct(Answer)),
    Answer: _rules(
        "status usage cost seconds turns peak_bytes cpu_seconds run layers head",
        text=_text,
        value=_value,
        reason=_text,
        quotes=_structs(Quote),
    ),
    Quote: _rules("line start end verified", text=_text, document=_text),
    CellResult: _rules(
        "ended output_chars calls seconds cpu_seconds peak_bytes",
        output=_text,
        error=_struct(CellError),
        variables=_structs(Variable),
        finish=_struct(Finish),
        draft=_text,
        failed_calls=_structs(FailedCall),
        notes=_texts,
    ),
    CellError: _rules(type=_kind, message=_text, traceback=_text),
    Variable: _rules(name=_text, type=_kind, size=_text),
    Finish: _rules(value=_value, text=_text, via=_text, quotes=_structs(Quote)),
    FailedCall: _rules("index", error=_text),
}
"""What becomes of each field of each event, and of the values in it."""
