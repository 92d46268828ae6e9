"""What a value is to look like, as Python says it: ``list[str]``, ``{"name": str, "n": int}``.

The worker writes typing objects as text (:func:`written`); the host reads the text
(:func:`schema_of`) by parsing it. Nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import json
import sys
from typing import Any

from .schema import MAX_DEPTH, Schema, SchemaRefused

MAX_TEXT = 5_000
SUPPORTED = (
    "str, int, float, bool, None, Any, list[…], dict[str, …], tuple[…], Literal[…], Optional[…], "
    'Union[…], A | B, {"name": str}, and a JSON schema as a dict'
)
_NAMES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "NoneType": {"type": "null"},
    "list": {"type": "array"},
    "tuple": {"type": "array"},
    "dict": {"type": "object"},
    "object": {},
    "Any": {},
}
_NAMES |= {"List": _NAMES["list"], "Tuple": _NAMES["tuple"], "Dict": _NAMES["dict"]}
_LISTS = frozenset(("list", "List", "Sequence", "Iterable", "set", "Set"))


# -- in the worker -------------------------------------------------------------------------------


def written(shape: Any) -> str | dict[str, Any] | None:
    """``shape`` as it travels: a JSON schema as it is, any other as the text of an expression.

    Raises ``TypeError`` where it is nothing that an expression can say.
    """
    if shape is None or isinstance(shape, str):
        return shape
    if isinstance(shape, dict) and _is_plain(shape):
        return shape
    return _text(shape, 0)


def _is_plain(value: Any, depth: int = 0) -> bool:
    if depth > 2 * MAX_DEPTH:
        return False
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and _is_plain([*value.values()], depth)
    if isinstance(value, list):
        return all(_is_plain(item, depth + 1) for item in value)
    return value is None or isinstance(value, str | int | float)


def _text(shape: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise TypeError(f"a schema is nested at most {MAX_DEPTH} deep")
    inner = depth + 1
    if shape is None:
        return "None"
    if shape is ...:
        return "..."
    if isinstance(shape, str):
        return shape
    if isinstance(shape, dict):
        fields = (f"{str(name)!r}: {_text(kind, inner)}" for name, kind in shape.items())
        return f"{{{', '.join(fields)}}}"
    if isinstance(shape, list) and len(shape) == 1:
        return f"[{_text(shape[0], inner)}]"
    if (origin := getattr(shape, "__origin__", None)) is not None:
        return _generic(origin, shape, inner)
    if type(shape).__name__ == "UnionType":
        return " | ".join(_text(kind, inner) for kind in shape.__args__)
    if (forward := getattr(shape, "__forward_arg__", None)) is not None:
        return str(forward)
    name = getattr(shape, "__name__", "")
    if name in _NAMES:
        return str(name)
    if isinstance(shape, type) and (own := getattr(shape, "__annotations__", None)):
        return _text(dict(own), depth)  # a TypedDict, a NamedTuple, a dataclass
    raise TypeError(f"schema: {str(name or shape)[:80]!r} is not supported; use {SUPPORTED}")


def _generic(origin: Any, shape: Any, depth: int) -> str:
    typing = sys.modules.get("typing")
    if origin is getattr(typing, "Literal", ...):
        return f"Literal[{', '.join(repr(value) for value in shape.__args__)}]"
    args = [_text(kind, depth) for kind in shape.__args__]
    if origin is getattr(typing, "Union", ...):
        return " | ".join(args)
    return f"{getattr(origin, '__name__', str(origin))}[{', '.join(args)}]"


# -- where it is read ----------------------------------------------------------------------------


def schema_of(shape: str | dict[str, Any]) -> Schema:
    """The schema of what :func:`written` gave, or somebody hostile. Raises ``SchemaRefused``."""
    if not isinstance(shape, str):
        return Schema(shape)
    if len(shape) > MAX_TEXT:
        raise SchemaRefused(f"an expression has at most {MAX_TEXT:,} characters")
    text = shape.strip()
    if text.startswith("{"):
        try:
            return Schema(json.loads(text))
        except SchemaRefused:
            raise
        except (RecursionError, ValueError):
            pass  # a dict of types
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SchemaRefused(f"{text[:80]!r} is no such expression; use {SUPPORTED}") from None
    return Schema(_read(tree, 0))


def _read(node: ast.expr, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise SchemaRefused(f"a schema is nested at most {MAX_DEPTH} deep")
    inner = depth + 1
    match node:
        case ast.Name(name) | ast.Attribute(ast.Name("typing" | "t"), name) if name in _NAMES:
            return _NAMES[name]
        case ast.Constant(None):
            return _NAMES["None"]
        case ast.Constant(str(text)) if depth > 0 and text in _NAMES:
            return _NAMES[text]
        case ast.BinOp(_, ast.BitOr(), _):
            return {"anyOf": [_read(side, inner) for side in _sides(node)]}
        case ast.Dict(keys, values):
            return _fields(keys, values, inner)
        case ast.List([one]):
            return {"type": "array", "items": _read(one, inner)}
        case ast.Subscript(ast.Name(name) | ast.Attribute(ast.Name("typing" | "t"), name), given):
            args = given.elts if isinstance(given, ast.Tuple) else [given]
            return _subscript(name, args, inner)
    raise _not_read(node)


def _sides(node: ast.expr) -> list[ast.expr]:
    """All of ``A | B | C``, which is nested to the left."""
    sides: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides.append(node.right)
        node = node.left
    return [node, *reversed(sides)]


def _subscript(name: str, args: list[ast.expr], depth: int) -> dict[str, Any]:
    match name, args:
        case "Literal", _:
            return {"enum": [_literal(arg) for arg in args]}
        case "Optional", [one]:
            return {"anyOf": [_read(one, depth), _NAMES["None"]]}
        case "Union", _:
            return {"anyOf": [_read(arg, depth) for arg in args]}
        case "dict" | "Dict" | "Mapping", [ast.Name("str"), kind]:
            return {"type": "object", "additionalProperties": _read(kind, depth)}
        case "tuple" | "Tuple", [one, ast.Constant(value)] if value is ...:
            return {"type": "array", "items": _read(one, depth)}
        case "tuple" | "Tuple", _:
            size = len(args)
            first = [_read(arg, depth) for arg in args]
            return {"type": "array", "prefixItems": first, "minItems": size, "maxItems": size}
        case _, [one] if name in _LISTS:
            return {"type": "array", "items": _read(one, depth)}
    raise SchemaRefused(f"{name[:40]}[…] with {len(args)} is not supported; use {SUPPORTED}")


def _fields(keys: list[ast.expr | None], values: list[ast.expr], depth: int) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for key, value in zip(keys, values, strict=True):
        match key:
            case ast.Constant(str(name)):
                properties[name] = _read(value, depth)
            case _:
                raise SchemaRefused("the names of fields are texts")
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value) if value is None or isinstance(value, str | int | float):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as value)):
            return -value
    raise SchemaRefused("Literal[…] holds texts, numbers, True, False and None")


def _not_read(node: ast.expr) -> SchemaRefused:
    names = [each.id for each in ast.walk(node) if isinstance(each, ast.Name)][:1]
    what = repr(names[0][:60]) if names else "this"
    return SchemaRefused(f"schema: {what} is not supported; use {SUPPORTED}")
