"""Telling an answer that the model typed from one that its code computed."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from abyme.dialects.cells import parse, quietly

_CALLS = frozenset({"FINAL", "FINAL_VAR", "SUBMIT"})


class _HandOver(NamedTuple):
    """A place where code hands over an answer; ``certain`` where no branch decides about it."""

    values: tuple[ast.expr, ...]
    certain: bool


def literal_argument(cells: Sequence[str]) -> bool:
    """Whether the answer that ``cells`` hand over was typed out rather than computed.

    Literals are constants, containers and concatenations of them, formatting of constants, and a
    name whose only assignment in these cells is such a literal. A choice that code makes between
    several literals (``FINAL("yes") if … else FINAL("no")``) is computed.
    """
    tree = ast.Module([], [])
    with quietly():
        for code in cells:
            if (parsed := parse(code)) is not None:
                tree.body += parsed.body
    try:
        found = list(_hand_overs(tree.body, certain=True))
        if not found:
            return False
        last = max((i for i, each in enumerate(found) if each.certain), default=0)
        candidates = {tuple(ast.dump(value) for value in each.values) for each in found[last:]}
        names = _Names(tree)
        return len(candidates) == 1 and all(names.literal(value) for value in found[-1].values)
    except RecursionError:
        return True  # nested too deep to tell; a computed answer loses no more than one turn


_BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.Match,
    ast.Try,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.Lambda,
)
"""What stands inside these may run or not."""


def _hand_overs(nodes: Sequence[ast.AST], certain: bool) -> Iterator[_HandOver]:
    for node in nodes:
        if (values := _handed_over(node)) is not None:
            yield _HandOver(values, certain)
        else:
            inner = certain and not isinstance(node, _BRANCHES)
            yield from _hand_overs(list(ast.iter_child_nodes(node)), inner)


def _handed_over(node: ast.AST) -> tuple[ast.expr, ...] | None:
    """The expressions of the answer that ``node`` hands over; None where it hands over none."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in _CALLS:
            values = (*args[:1], *(each.value for each in keywords if each.arg != "quotes"))
            return tuple(_as_variable(value) for value in values) if name == "FINAL_VAR" else values
        case ast.Assign(targets=[ast.Subscript(ast.Name("answer"), ast.Constant("content"))]):
            return (node.value,)
        case ast.Assign(targets=[ast.Name("answer")], value=ast.Dict() as record):
            return _content(record)
        case ast.Call(func=ast.Attribute(ast.Name("answer"), "update"), args=[ast.Dict() as more]):
            return _content(more)
        case ast.Call(func=ast.Attribute(ast.Name("answer"), "update"), keywords=keywords):
            return tuple(each.value for each in keywords if each.arg == "content") or None
    return None


def _content(record: ast.Dict) -> tuple[ast.expr, ...] | None:
    pairs = zip(record.keys, record.values, strict=True)
    found = (v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "content")
    return tuple(found) or None


def _as_variable(node: ast.expr) -> ast.expr:
    """``FINAL_VAR("total")`` hands over the variable ``total``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        return ast.Name(node.value, ast.Load())
    return node


_PURE = frozenset({"str", "int", "float", "bool", "list", "tuple", "set", "dict", "repr", "sorted"})
_READERS = _PURE | _CALLS | {"print", "len", "sum", "min", "max"}
"""Functions that do not change what they are given."""


class _Names:
    """What the names of one reply stand for, as far as the text of the code tells."""

    def __init__(self, tree: ast.Module) -> None:
        self._literals: dict[str, ast.expr] = {}
        self._bound: Counter[str] = Counter()
        self._changed: set[str] = set()
        self._known: dict[str, bool] = {}
        for node in ast.walk(tree):
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=value):
                self._literals[name] = value
            case ast.AnnAssign(target=ast.Name(name), value=ast.expr() as value):
                self._literals[name] = value
            case ast.Name(name, ast.Store() | ast.Del()) | ast.alias(asname=str(name)):
                self._bound[name] += 1
            case ast.AugAssign(target=ast.Name(name)):
                self._changed.add(name)
            case ast.Attribute(value=ast.Name(name)):
                self._changed.add(name)
            case ast.Subscript(ast.Name(name), ctx=ast.Store() | ast.Del()):
                self._changed.add(name)
            case ast.Call(func=func, args=args):
                if not (isinstance(func, ast.Name) and func.id in _READERS):
                    self._changed.update(arg.id for arg in args if isinstance(arg, ast.Name))

    def literal(self, node: ast.AST | None) -> bool:
        """Whether ``node`` is a literal in the sense of :func:`literal_argument`."""
        match node:
            case None | ast.Constant():
                return True
            case ast.Name(name):
                return self._literal_name(name)
            case ast.Call(func=func, args=args, keywords=keywords):
                inner = [*args, *(each.value for each in keywords)]
                return self._literal_function(func) and all(map(self.literal, inner))
            case (
                ast.Tuple()
                | ast.List()
                | ast.Set()
                | ast.Dict()
                | ast.BinOp()
                | ast.UnaryOp()
                | ast.BoolOp()
                | ast.IfExp()
                | ast.Starred()
                | ast.Subscript()
                | ast.JoinedStr()
                | ast.FormattedValue()
            ):
                return all(
                    self.literal(child)
                    for child in ast.iter_child_nodes(node)
                    if isinstance(child, ast.expr)
                )
        return False

    def _literal_name(self, name: str) -> bool:
        if name not in self._known:
            self._known[name] = False  # a name that leads back to itself is no literal
            self._known[name] = self._bound[name] == 1 and self._keeps_literal(name)
        return self._known[name]

    def _keeps_literal(self, name: str) -> bool:
        value = self._literals.get(name)
        if value is None:
            return False
        fixed = isinstance(value, ast.Constant | ast.JoinedStr | ast.BinOp)
        if name in self._changed and not fixed:
            return False  # a list that was appended to, a dict that was handed to a function
        return self.literal(value)

    def _literal_function(self, func: ast.expr) -> bool:
        """``str``, ``"…".join``, ``json.dumps``: what makes a literal out of literals."""
        match func:
            case ast.Name(name):
                return name in _PURE
            case ast.Attribute(value=ast.Name("json" | "textwrap")):
                return True
            case ast.Attribute(value=value):
                return self.literal(value)
        return False
