"""A JSON schema of a stated subset, and whether a value fits it.

The host checks with it what models answer, the worker what they answer to ``llm_map``. A schema
comes from model-written code, so the host takes it for hostile. No library does the work: in those
that there are ``pattern`` is a regular expression that runs with the host's GIL held, ``$ref`` may
fetch, and the fast ones write code and execute it. Here a schema is bounded in size and depth,
refers to nothing, and a check is bounded in steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

MAX_NODES = 1_000
"""Schemas, properties and values of ``enum`` in one schema."""
MAX_DEPTH = 20
MAX_CHARACTERS = 20_000
"""Of a schema as JSON."""
MAX_STEPS = 300_000
"""Values looked at for one reply: some tenths of a second."""

_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_LEAST = {"minItems": list, "minLength": str, "minProperties": dict}
_MOST = {"maxItems": list, "maxLength": str, "maxProperties": dict}
_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (lambda value, bound: value >= bound, "at least"),
    "maximum": (lambda value, bound: value <= bound, "at most"),
    "exclusiveMinimum": (lambda value, bound: value > bound, "more than"),
    "exclusiveMaximum": (lambda value, bound: value < bound, "less than"),
}
_TOLD = ("title", "description")
_IGNORED = frozenset(("default", "examples", "$schema", "$comment", "deprecated"))
KEYWORDS = (
    *("type", "enum", "const", "anyOf", "properties", "required", "additionalProperties"),
    *("items", "prefixItems", *_LEAST, *_MOST, *_BOUNDS, *_TOLD),
)
"""The keywords that are understood; ``_IGNORED`` may stand there too."""


class SchemaRefused(ValueError):
    """This is no schema of the subset; the message says what is supported."""


class Misfit(ValueError):
    """A value does not fit; the message says where and why."""


class TooMuch(Misfit):
    """The check was given up: neither this way nor another is tried any more."""


class Schema:
    """The JSON schema ``schema``. Raises :class:`SchemaRefused`."""

    def __init__(self, schema: object) -> None:
        self._nodes = 0
        self._root = self._cleaned(schema, "$", 0)
        self.text = json.dumps(self._root, ensure_ascii=False, separators=(",", ":"))
        """As JSON, with what is understood alone: for a prompt."""
        if len(self.text) > MAX_CHARACTERS:
            raise SchemaRefused(f"a schema has at most {MAX_CHARACTERS:,} characters")

    def check(self, value: Any, steps: Steps | None = None) -> None:
        """Raise :class:`Misfit` where ``value``, as JSON was read, does not fit.

        ``steps``: what checks of several values may take together.
        """
        (steps or Steps()).value(self._root, value, "$")

    # -- reading the schema ----------------------------------------------------------------------

    def _cleaned(self, schema: object, at: str, depth: int) -> dict[str, Any]:
        """A copy of it with what is understood alone."""
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise SchemaRefused(f"{at}: a schema is an object, not {_shown(schema)}")
        if depth > MAX_DEPTH:
            raise SchemaRefused(f"a schema is nested at most {MAX_DEPTH} deep")
        self._count(1)
        return {
            key: self._keyword(key, value, f"{at}.{_shown_key(key)}", depth + 1)
            for key, value in schema.items()
            if key not in _IGNORED
        }

    def _keyword(self, key: object, value: Any, at: str, depth: int) -> Any:
        match key:
            case "type":
                return _type(value, at)
            case "enum":
                return [self._scalar(item, at) for item in self._list(value, at)]
            case "const":
                return self._scalar(value, at)
            case "anyOf" | "prefixItems":
                items = self._list(value, at)
                return [self._cleaned(item, f"{at}[{n}]", depth) for n, item in enumerate(items)]
            case "properties":
                return self._properties(value, at, depth)
            case "required":
                return [self._name(item, at) for item in self._list(value, at, least=0)]
            case "additionalProperties" if value is False:
                return False
            case "items" | "additionalProperties":
                return self._cleaned(value, at, depth)
            case str() if key in _TOLD:
                return self._name(value, at)
            case str() if key in _LEAST or key in _MOST:
                return _count(value, at)
            case str() if key in _BOUNDS:
                return _number(value, at)
        raise SchemaRefused(
            f"{at}: not a keyword that is supported; those are {', '.join(KEYWORDS)}. For an "
            'object with fields of your own: {"type": "object", "properties": …} or {"name": str}'
        )

    def _properties(self, value: Any, at: str, depth: int) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise SchemaRefused(f"{at}: an object of schemas, not {_shown(value)}")
        return {
            self._name(name, at): self._cleaned(schema, f"{at}.{_shown_key(name)}", depth)
            for name, schema in value.items()
        }

    def _list(self, value: Any, at: str, least: int = 1) -> list[Any]:
        if not isinstance(value, list) or len(value) < least:
            raise SchemaRefused(f"{at}: a list, not {_shown(value)}")
        self._count(len(value))
        return value

    def _scalar(self, value: Any, at: str) -> Any:
        if isinstance(value, str):
            return self._name(value, at)
        if value is None or isinstance(value, bool | int | float):
            return _finite(value, at)
        raise SchemaRefused(f"{at}: texts, numbers, true, false and null alone")

    def _name(self, value: Any, at: str) -> str:
        if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
            raise SchemaRefused(f"{at}: a text of at most {MAX_CHARACTERS:,} characters")
        return value

    def _count(self, more: int) -> None:
        self._nodes += more
        if self._nodes > MAX_NODES:
            raise SchemaRefused(f"a schema has at most {MAX_NODES:,} parts")


def _type(value: Any, at: str) -> Any:
    names = value if isinstance(value, list) else [value]
    if not names or len(names) > len(_TYPES) or not all(_is_type(name) for name in names):
        raise SchemaRefused(f"{at}: one of {', '.join(_TYPES)}, or a list of them")
    return value


def _is_type(name: Any) -> bool:
    return isinstance(name, str) and name in _TYPES


def _count(value: Any, at: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise SchemaRefused(f"{at}: a whole number from 0 on")
    return value


def _number(value: Any, at: str) -> Any:
    if not _TYPES["number"](value):
        raise SchemaRefused(f"{at}: a number")
    return _finite(value, at)


def _finite(value: Any, at: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise SchemaRefused(f"{at}: {value} is no number in JSON")
    return value


class Steps:
    """Checks of values, as far as their steps reach."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def value(self, schema: dict[str, Any], value: Any, at: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooMuch(f"{at}: too much to check")
        kinds = schema.get("type")
        if kinds is not None:
            names = kinds if isinstance(kinds, list) else [kinds]
            if not any(_TYPES[name](value) for name in names):
                raise Misfit(f"{at}: {_shown(value)} is not of type {' or '.join(names)}")
        if "const" in schema and not _equal(value, schema["const"]):
            raise Misfit(f"{at}: {_shown(value)} is not {_shown(schema['const'])}")
        if "enum" in schema:
            self._one_of(schema["enum"], value, at)
        if "anyOf" in schema:
            self._any_of(schema["anyOf"], value, at)
        self._sizes(schema, value, at)
        if isinstance(value, dict):
            self._object(schema, value, at)
        elif isinstance(value, list):
            self._array(schema, value, at)

    def _one_of(self, allowed: list[Any], value: Any, at: str) -> None:
        self._left -= len(allowed)
        if not any(_equal(value, one) for one in allowed):
            known = ", ".join(_shown(one) for one in allowed[:20])
            raise Misfit(f"{at}: {_shown(value)} is none of {known}")

    def _any_of(self, schemas: list[dict[str, Any]], value: Any, at: str) -> None:
        whys: list[str] = []
        for schema in schemas:
            try:
                return self.value(schema, value, at)
            except TooMuch:
                raise
            except Misfit as error:
                whys.append(str(error))
        raise Misfit(f"{at}: it fits none of {len(schemas)} ways ({'; '.join(whys[:4])[:400]})")

    def _sizes(self, schema: dict[str, Any], value: Any, at: str) -> None:
        for key in schema.keys() & (_LEAST.keys() | _MOST.keys()):
            least = key in _LEAST
            if isinstance(value, _LEAST[key] if least else _MOST[key]):
                size, bound = len(value), schema[key]
                if size < bound if least else size > bound:
                    word = "least" if least else "most"
                    raise Misfit(f"{at}: it has {size:,} parts, not at {word} {bound:,}")
        for key in schema.keys() & _BOUNDS.keys():
            holds, word = _BOUNDS[key]
            if _TYPES["number"](value) and not holds(value, schema[key]):
                raise Misfit(f"{at}: {_shown(value)} is not {word} {_shown(schema[key])}")

    def _object(self, schema: dict[str, Any], value: dict[str, Any], at: str) -> None:
        for name in schema.get("required", ()):
            if name not in value:
                raise Misfit(f"{at}: {_shown(name)} is missing")
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", {})
        for name, item in value.items():
            if name not in properties and others is False:
                raise Misfit(f"{at}: {_shown(name)} is not one of {_listed(properties)}")
            inner = properties.get(name, others)
            if inner:
                self.value(inner, item, f"{at}.{_shown_key(name)}")

    def _array(self, schema: dict[str, Any], value: list[Any], at: str) -> None:
        first = schema.get("prefixItems", ())
        rest = schema.get("items", {})
        for place, item in enumerate(value):
            inner = first[place] if place < len(first) else rest
            if inner:
                self.value(inner, item, f"{at}[{place}]")


def _equal(value: Any, other: Any) -> bool:
    """As JSON has it: ``true`` is not 1."""
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(_shown(name) for name in list(names)[:20]) or "none"


def _shown(value: Any) -> str:
    """The beginning of a value, without walking through all of it."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    if isinstance(value, str):
        cut = value if len(value) <= 60 else f"{value[:60]}…"
        return json.dumps(cut, ensure_ascii=False)
    if isinstance(value, int) and value.bit_length() > 200:
        return "a huge number"
    return json.dumps(value) if value is None or isinstance(value, bool | int | float) else "that"


def _shown_key(key: object) -> str:
    return key[:60] if isinstance(key, str) else "?"


def depth_of(value: Any, most: int) -> int:
    """How deep lists and objects are nested in ``value``, counted up to ``most``."""
    level: list[Any] = [value]
    for depth in range(most):
        inner: list[Any] = []
        for each in level:
            inner.extend(_children(each))
        if not inner:
            return depth
        level = inner
    return most


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
