"""The identity of calls: journals hold it, so it is what it always was, however it is computed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from abyme.subcalls import keys
from abyme.subcalls.keys import Keys, hashes, request_hash

SHORT = st.text(st.characters(codec=None), max_size=20)  # lone surrogates too
TEXT = SHORT | st.builds(
    lambda part, filling: part + filling * keys._LONG + part,
    SHORT,
    st.sampled_from(
        ["a", "\x7f", "\n", '"', "\\", "\x00", "\x1f", "é", "界", "\U0001f600", "\ud800"]
    ),
)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(SHORT, inner),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(SHORT, VALUE | st.lists(TEXT), max_size=5)


def first_hash(name: str, arguments: dict[str, Any]) -> str:
    """As the first version computed it."""
    canonical = json.dumps([name, arguments], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:16]


@settings(deadline=None)
@given(SHORT, ARGUMENTS)
@example("llm_query", {"prompt": "".join(map(chr, range(128))) * 10, "model": None})
def test_the_hash_of_a_request_is_over_its_canonical_json(
    name: str, arguments: dict[str, Any]
) -> None:
    assert request_hash(name, arguments) == first_hash(name, arguments)


@settings(deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_calls_of_a_batch_have_the_keys_that_they_would_have_alone(prompts: list[str]) -> None:
    requests: list[tuple[str, dict[str, Any]]] = [("batched", {"prompts": prompts})]
    requests += [("one", {"prompt": prompt, "model": None}) for prompt in prompts]
    alone = [digest for request in requests for digest in hashes([request])]
    assert hashes(requests, {}) == alone == [first_hash(*request) for request in requests]


def test_equal_calls_of_a_cell_are_counted_and_may_be_taken_back() -> None:
    keys = Keys("0")
    given = keys.each(1, ["a", "b", "a"])
    assert given == ["0/1/a/0", "0/1/b/0", "0/1/a/1"]
    keys.take_back(1, given[1:])
    assert keys.each(1, ["a", "b"]) == ["0/1/a/1", "0/1/b/0"]
    assert keys.each(2, ["a"]) == ["0/2/a/0"]
    keys.start_cell(1)
    assert keys.each(1, ["a"]) == ["0/1/a/0"]
