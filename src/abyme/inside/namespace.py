"""The persistent namespace: how a cell is compiled and run, and what is told of it afterwards."""

from __future__ import annotations

import ast
import linecache
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .shorten import shorten
from .text import LazyText

TRACEBACK_CHARS = 4_000
MAX_VARIABLES = 200
_HERE = str(Path(__file__).parent)

Display = Callable[[str], None]


class Namespace:
    """One ``__main__`` module in whose dict every cell is executed in place.

    What a cell assigned before it raised is kept. ``protected`` names (the data, the calls) are
    put back before each cell, so that code cannot lose them for good.
    """

    def __init__(self, display: Display, display_limit: int) -> None:
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.names: dict[str, Any] = module.__dict__
        self.protected: dict[str, Any] = {}
        self._display = display
        self._display_limit = display_limit
        self._loop: Any = None
        sys.displayhook = self._show
        self.names["exit"] = self.names["quit"] = _exit

    def restore(self) -> list[str]:
        """Put the protected names back; the names that had been overwritten or deleted."""
        lost = [name for name, value in self.protected.items() if self.names.get(name) is not value]
        self.names.update(self.protected)
        return lost

    def run(self, source: str, filename: str) -> None:
        """Execute one cell. Raises whatever the cell raises.

        The value of a last line that is an expression is shown, as a notebook does. A cell with
        ``await`` at its top level runs in one event loop that lives as long as the namespace.
        """
        lines = source.splitlines(keepends=True)
        linecache.cache[filename] = (len(source), None, lines, filename)
        if "asyncio" in source or "await" in source:
            self._prepare_asyncio()
        for code in _compile(source, filename):
            outcome = eval(code, self.names)
            if code.co_flags & 0x80:  # inspect.CO_COROUTINE, without importing inspect
                self._loop.run_until_complete(outcome)

    def _prepare_asyncio(self) -> None:
        """A loop of our own whose ``to_thread`` has room for a thousand calls that wait.

        The default executor has five threads a core, so that a thousand waiting calls would
        queue behind a few.
        """
        if self._loop is None:
            import asyncio
            from concurrent.futures import ThreadPoolExecutor

            self._loop = asyncio.new_event_loop()
            self._loop.set_default_executor(ThreadPoolExecutor(1000))

    def _show(self, value: object) -> None:
        if value is None:
            return
        self.names["_"] = value
        if isinstance(value, str | bytes) and len(value) > self._display_limit:
            # The repr of a large text would be built whole only to be cut.
            part = self._display_limit // 3
            self._display(f"{value[:part]!r}\n… {len(value):,} in all …\n{value[-part:]!r}\n")
        else:
            self._display(f"{value!r}\n")

    def snapshot(self) -> dict[str, tuple[int, str, str]]:
        """A fingerprint of every variable that a user would call one."""
        return {
            name: (id(value), type(value).__name__, size_of(value))
            for name, value in list(self.names.items())
            if not name.startswith("_") and name not in self.protected and name not in _NOT_SHOWN
        }

    def changes(self, before: dict[str, tuple[int, str, str]], source: str) -> list[dict[str, str]]:
        """Variables that are new or differ from ``before``, without loop temporaries."""
        hidden = loop_temporaries(source)
        changed = [
            {"name": name[:100], "type": kind[:60], "size": size}
            for name, (identity, kind, size) in self.snapshot().items()
            if before.get(name) != (identity, kind, size)
            and not (name in hidden and name not in before)
            and kind != "module"
        ]
        return changed[:MAX_VARIABLES]


_NOT_SHOWN = frozenset({"exit", "quit", "answer"})


def _exit(code: object = None) -> None:
    raise SystemExit(code)


def _compile(source: str, filename: str) -> list[types.CodeType]:
    """The cell's code, and apart from it a last expression whose value is to be shown."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(source, filename, "exec", flags | ast.PyCF_ONLY_AST)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    parts: list[types.CodeType] = []
    if tree.body:
        parts.append(compile(tree, filename, "exec", flags))
    if last is not None:
        parts.append(compile(ast.Interactive([last]), filename, "single", flags))
    return parts


def loop_temporaries(source: str) -> set[str]:
    """Names that the cell binds only as the target of a ``for``, ``with`` or ``except``."""
    temporary: set[str] = set()
    kept: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.For | ast.AsyncFor):
            temporary.update(_bound(node.target))
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            temporary.update(_bound(node.optional_vars))
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                kept.update(_bound(target))
        elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
            kept.update(_bound(node.target))
    return temporary - kept


def _bound(target: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]


def size_of(value: object) -> str:
    """How large a value is, in words; empty where it has no size. Never its content."""
    if isinstance(value, LazyText):
        return "lazy"  # its length would be counted over all of the data
    try:
        length = len(value)  # type: ignore[arg-type]
    except Exception:  # any __len__ of any class may raise anything
        return ""
    unit = {"str": "characters", "bytes": "bytes"}.get(type(value).__name__, "items")
    return f"{length:,} {unit}"


def describe_error(error: BaseException) -> dict[str, str]:
    """Type, message and traceback, from the cell's own first frame on, cut head and tail."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    try:
        text = "".join(traceback.format_exception(type(error), error, trace))
        message = str(error)
    except Exception as broken:  # an exception whose own __str__ raises
        text = message = f"(the exception cannot be shown: {type(broken).__name__})"
    return {
        "type": type(error).__name__[:100],
        "message": shorten(message, 1_000),
        "traceback": shorten(text, TRACEBACK_CHARS),
    }
