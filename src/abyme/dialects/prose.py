"""``FINAL(...)`` written as prose, which counts only in a reply without cells."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import msgspec

from abyme.dialects.cells import parse, quietly, spoken


class ProseFinish(msgspec.Struct, frozen=True):
    """``FINAL(...)`` or ``FINAL_VAR(...)`` written as prose.

    Where ``variable`` is set the answer is that variable, and there is none where the variable
    does not exist: ``text`` is then the bare word, never an answer. Else the answer is ``value``,
    ``text`` as text.
    """

    via: str
    text: str
    variable: str = ""
    value: Any = None
    quotes: tuple[str, ...] = ()


_PROSE = re.compile(
    r"^[ \t]*+(?:>[ \t]*+)*+(?:#{1,6}[ \t]++)?+[*_`]*+(FINAL(?:_VAR)?)[ \t]?+\(", re.MULTILINE
)
_REST = re.compile(r"[ \t*_`.;,!]*+$", re.MULTILINE)
"""What may follow the closing parenthesis on its line: anything more makes it a sentence."""
_ENUMERATES = re.compile(r"\n[ \t]*(?:\d{1,3}|[A-Za-z])$")
_TRIES = 8
_LONGEST = 200_000
"""Occurrences that are tried although they do not close, and characters that are looked through."""


def prose_finish(reply: str) -> ProseFinish | None:
    """The answer that a reply without cells gives as ``FINAL(...)`` at the start of a line.

    None inside a sentence, in a thought, in a fence of another language, for unbalanced
    parentheses, for nothing in them, and for an expression that would have to be run. Of several
    the last one counts.
    """
    if "FINAL" not in reply:  # nearly always, and looking closer means parsing
        return None
    with quietly():
        return _last_finish(spoken(reply))


def _last_finish(text: str) -> ProseFinish | None:
    found: list[tuple[str, str]] = []
    tries = at = 0
    while tries < _TRIES and (match := _PROSE.search(text, at)) is not None:
        at = match.end()
        if (end := _end(text, at)) is None:
            tries += 1
        else:
            found.append((match[1], text[at:end].strip()))
            at = end
    answers = (_prose(via, inside) for via, inside in reversed(found))
    return next((answer for answer in answers if answer is not None), None)


def _end(text: str, start: int) -> int | None:
    """Where the parenthesis that opens before ``start`` closes, if its line ends with it."""
    window = text[start : start + _LONGEST]
    end = _end_of_python(window)
    if end is None:
        end = _end_of_text(window)
    return None if end is None else start + end


_PYTHON = re.compile(
    r"""("{3}|'{3})(?:[^\\]|\\.)*?\1|"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+'|[()\[\]{}"']""",
    re.DOTALL,
)


def _end_of_python(window: str) -> int | None:
    """The closing parenthesis, reading ``window`` as Python: brackets in strings do not count."""
    if not re.match(r"\s*+[A-Za-z]{0,2}(?:[\"'(\[{]|\w+\s*=)", window):
        return None
    depth = 0
    for token in _PYTHON.finditer(window):
        mark = token[0]
        if mark in ('"', "'"):
            return None
        if mark in ("(", "[", "{"):
            depth += 1
        elif mark in (")", "]", "}"):
            depth -= 1
            if depth < 0:
                inside = window[: token.start()]
                ends = mark == ")" and _REST.match(window, token.end()) and _call(inside)
                return token.start() if ends else None
    return None


def _end_of_text(window: str) -> int | None:
    """The closing parenthesis, reading ``window`` as text: ``1)`` in a list closes nothing."""
    depth = 0
    for token in re.finditer(r"[()]", window):
        if token[0] == "(":
            depth += 1
            continue
        if depth > 0:
            depth -= 1
        elif _REST.match(window, token.end()):
            return token.start()
        elif not _ENUMERATES.search(window[max(0, token.start() - 12) : token.start()]):
            return None
    return None


def _call(inside: str) -> ast.Call | None:
    """``FINAL(inside)`` as a call, where ``inside`` can be read as Python."""
    tree = parse(f"FINAL(\n{inside}\n)")
    match tree.body if tree else None:
        case [ast.Expr(ast.Call(func=ast.Name("FINAL")) as call)]:
            return call
    return None


def _prose(via: str, inside: str) -> ProseFinish | None:
    call = _call(inside)
    if call is not None and (handed := _handed_over(call)) is not None:
        known, value = _evaluate(handed)
        if via == "FINAL_VAR" and isinstance(value, str) and value.isidentifier():
            return ProseFinish(via, value, variable=value)
        if known:
            return _literal_finish(via, value, call)
    bare = inside.strip("`*").strip()
    if bare.isidentifier():
        return ProseFinish(via, bare, variable=bare)
    if via == "FINAL_VAR" or not bare or (call is not None and _is_code(call, inside)):
        return None
    return ProseFinish(via, bare, value=bare)


def _handed_over(call: ast.Call) -> ast.expr | None:
    """The one argument that is the answer; ``quotes`` beside it are none."""
    named = [each.value for each in call.keywords if each.arg not in (None, "quotes")]
    values = [*call.args, *named]
    return values[0] if len(values) == 1 else None


def _evaluate(node: ast.expr) -> tuple[bool, Any]:
    try:
        return True, ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False, None


def _literal_finish(via: str, value: Any, call: ast.Call) -> ProseFinish | None:
    if value is None:
        return None
    value, text = _as_json(value)
    if not text.strip():
        return None
    quotes = next((_evaluate(each.value)[1] for each in call.keywords if each.arg == "quotes"), ())
    if not isinstance(quotes, list | tuple):
        quotes = ()
    return ProseFinish(via, text, value=value, quotes=tuple(str(quote) for quote in quotes))


def _as_json(value: Any) -> tuple[Any, str]:
    """A literal as JSON has it, and as a user reads it: as if a cell had handed it over."""
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        return str(value), str(value)
    container = isinstance(value, dict | list | tuple)
    return json.loads(written), written if container else str(value)


_CODE = (ast.Subscript, ast.JoinedStr, ast.ListComp, ast.GeneratorExp, ast.Lambda, ast.Await)


def _is_code(call: ast.Call, inside: str) -> bool:
    """Whether text that happens to parse is code rather than words: ``len(rows)``, ``rows[0]``.

    ``Paris, France`` and ``Paris (France)`` parse too. Quoted strings that are part of a larger
    expression make it code. In doubt it is code: that costs a turn, a wrong answer costs the run.
    """
    for node in ast.walk(call):
        if isinstance(node, _CODE) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        ):
            return True
    return bool(call.keywords) or re.search(r"\w\(", inside) is not None
