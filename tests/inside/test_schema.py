"""Schemas of code, taken for hostile: what is understood, what is refused, what fits."""

from __future__ import annotations

import json
import typing
from typing import Any, Literal, NamedTuple, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme.inside.replies import MOST_CHARACTERS, read_reply
from abyme.inside.schema import MAX_CHARACTERS, Misfit, Schema, SchemaRefused
from abyme.inside.shapes import schema_of, written


class Point(NamedTuple):
    x: int
    label: str


TEXT = {"type": "string"}
ITEMS = {"type": "array", "items": TEXT}
FIELDS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": TEXT},
    "required": ["a", "b"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("shape", "schema"),
    [
        (str, TEXT),
        ("str", TEXT),
        (list[str], ITEMS),
        ("list[str]", ITEMS),
        ("List['str']", ITEMS),
        ([str], ITEMS),
        (typing.List[str], ITEMS),  # noqa: UP006
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["a", 1, None], {"enum": ["a", 1, None]}),
        ("Literal['a', -1]", {"enum": ["a", -1]}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
        (int | str | None, {"anyOf": [{"type": "integer"}, TEXT, {"type": "null"}]}),
        ("int | str", {"anyOf": [{"type": "integer"}, TEXT]}),
        ({"a": int, "b": str}, FIELDS),
        ("{'a': int, 'b': str}", FIELDS),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            tuple[int, str],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, TEXT],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (Any, {}),
        (typing.Any, {}),
        ({"type": "string", "default": "x"}, TEXT),
        ('{"type": "string"}', TEXT),
        (float, {"type": "number"}),
    ],
)
def test_shapes(shape: Any, schema: Any) -> None:
    travels = written(shape)
    assert travels is not None
    assert json.loads(schema_of(json.loads(json.dumps(travels))).text) == schema


def test_a_named_tuple_is_an_object_of_its_fields() -> None:
    class Pair:
        x: int
        y: list[str]

    Pair.__annotations__ = {"x": int, "y": list[str]}
    travels = written(Pair)
    assert travels == "{'x': int, 'y': list[str]}"


@pytest.mark.parametrize("shape", [bytes, 3, print, {1: b"x"}, [str, int], object()])
def test_what_no_expression_says_is_a_type_error(shape: Any) -> None:
    with pytest.raises(TypeError, match="not supported"):
        written(shape)


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ("__import__('os').system('x')", "not supported"),
        ("list[str", "no such expression"),
        ("(" * 4_000, "no such expression"),
        ("[" * 100 + "str" + "]" * 100, "deep"),
        ("str" + " | str" * 1_200, "at most"),
        ("a" * 6_000, "at most"),
        ("list[1]", "not supported"),
        ("dict[int, str]", "not supported"),
        ("lambda: str", "not supported"),
        ("{str: str}", "names of fields"),
        ({"pattern": "(a+)+$"}, r"pattern.*those are type, enum"),
        ({"type": "object", "patternProperties": {}}, "patternProperties"),
        ({"$ref": "https://example.com/schema.json"}, r"\$ref"),
        ({"format": "date"}, "format"),
        ({"type": "thing"}, "one of string, integer"),
        ({"enum": []}, "a list"),
        ({"enum": [[1]]}, "texts, numbers"),
        ({"enum": list(range(2_000))}, "at most 1,000 parts"),
        ({"description": "x" * (MAX_CHARACTERS + 1)}, "at most"),
        ({"properties": {str(n): {} for n in range(2_000)}}, "at most 1,000 parts"),
        ({"minItems": -1}, "whole number"),
        ({"items": [{}]}, "a schema is an object"),
        ({"additionalProperties": 3}, "a schema is an object"),
        ('{"minimum": ' + "9" * 4_900 + "}", "no such expression"),
        ('{"minimum": NaN}', "no number"),
        ("Literal[1e999]", "no number"),
    ],
)
def test_what_is_refused_says_why(shape: Any, why: str) -> None:
    with pytest.raises(SchemaRefused, match=why):
        schema_of(shape)


def test_a_deep_schema_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"items": deep}
    with pytest.raises(SchemaRefused, match="deep"):
        Schema(deep)


@pytest.mark.parametrize(
    ("schema", "fits", "not_so"),
    [
        ({"type": "integer"}, [0, -3], [True, 1.0, "1", None]),
        ({"type": "number"}, [0, 1.5], [False, "1"]),
        ({"type": ["string", "null"]}, ["", None], [0]),
        ({"enum": ["a", 1]}, ["a", 1], [True, "1", None]),
        ({"const": False}, [False], [0, None]),
        ({"minLength": 2, "maxLength": 3}, ["ab", 7, [1]], ["a", "abcd"]),
        ({"minItems": 1, "items": {"type": "integer"}}, [[1, 2]], [[], [1, "2"]]),
        ({"minimum": 1, "exclusiveMaximum": 3}, [1, 2.9, "x"], [0, 3]),
        (FIELDS, [{"a": 1, "b": ""}], [{"a": 1}, {"a": 1, "b": "", "c": 0}, {"a": "1", "b": ""}]),
        ({"prefixItems": [{"type": "integer"}], "items": TEXT}, [[1, "a"], []], [["a"], [1, 2]]),
        ({"anyOf": [{"type": "integer"}, ITEMS]}, [3, ["a"]], ["a", [3]]),
        ({}, [None, {"a": [1]}], []),
    ],
)
def test_what_fits(schema: Any, fits: list[Any], not_so: list[Any]) -> None:
    read = Schema(schema)
    for value in fits:
        read.check(value)
    for value in not_so:
        with pytest.raises(Misfit):
            read.check(value)


def test_a_check_is_bounded() -> None:
    """However many ways there are, and however long a list is tried against all of them."""
    ways = [{"type": "array", "items": {"enum": list(range(9))}} for _ in range(60)]
    with pytest.raises(Misfit, match=r"too much to check"):
        Schema({"anyOf": ways}).check([5] * 100_000 + ["x"])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
PROSE = st.text(st.characters(exclude_characters='[]{}`"', exclude_categories=["Cs"]), max_size=40)


@given(VALUES.filter(lambda value: isinstance(value, list | dict)), PROSE, PROSE)
def test_json_is_found_in_a_fence_and_behind_prose(value: Any, before: str, after: str) -> None:
    schema = Schema({"type": ["array", "object"]})
    said = json.dumps(value)
    assert read_reply(said, schema) == value
    assert read_reply(f"{before}\n```json\n{said}\n```\n{after}", schema) == value
    assert read_reply(f"{before}\n{said}\n{after}", schema) == value


@given(st.text(max_size=200))
def test_no_reply_breaks_the_reader(reply: str) -> None:
    for shape in ("list[int]", "{'a': str}", "int | None"):
        try:
            value = read_reply(reply, schema_of(shape))
        except Misfit:
            continue
        schema_of(shape).check(value)


@pytest.mark.parametrize(
    "reply",
    [
        *("[" * 200_000, "```\n" * 50_000, "{" * 9_999, "[1e999]", "[NaN]"),
        "x " + "[" * 50 + "1," * 400_000,
        "[" + "1," * MOST_CHARACTERS + "1]",
    ],
)
def test_hostile_replies_do_not_fit(reply: str) -> None:
    with pytest.raises(Misfit):
        read_reply(reply, schema_of("list[int]"))


def test_a_text_needs_no_quotation_marks() -> None:
    labels = schema_of("Literal['billing', 'login']")
    assert read_reply("billing", labels) == read_reply('"billing"', labels) == "billing"
    assert read_reply("Sure.\n```\nlogin\n```", schema_of("str")).startswith("Sure")
    with pytest.raises(Misfit, match="none of"):
        read_reply('"other"', labels)
    with pytest.raises(Misfit):
        read_reply("other", labels)
