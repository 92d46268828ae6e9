"""The persistent namespace: how a cell is compiled and run, and what is told of it afterwards."""

from __future__ import annotations

import ast
import linecache
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

from .pieces import LazyList
from .refused import advice_on
from .shorten import shorten
from .text import LazyText

TRACEBACK_CHARS = 4_000
MAX_VARIABLES = 200
CELL = "<cell "
"""How the name begins under which a cell is compiled."""
_HERE = __file__.rpartition("/")[0]

Display = Callable[[str], None]
Snapshot = dict[str, tuple[int, str, str]]
"""Of each variable the identity of its value, its type and its size."""


class Namespace:
    """One ``__main__`` module in whose dict every cell is executed in place.

    What a cell assigned before it raised is kept. ``protected`` names (the data, the calls) are
    put back around each cell, so that code cannot lose them for good.
    """

    def __init__(self, display: Display, display_limit: int) -> None:
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.names: dict[str, Any] = module.__dict__
        self.protected: dict[str, Any] = {}
        self._display = display
        self._display_limit = display_limit
        self.loop: Any = None
        self._tree: ast.Module | None = None
        self._shown_by = self._show
        sys.displayhook = self._shown_by
        self.names["exit"] = self.names["quit"] = _exit

    def restore(self) -> list[str]:
        """Put the protected names back; the names that had been overwritten or deleted."""
        lost = [name for name, value in self.protected.items() if self.names.get(name) is not value]
        self.names.update(self.protected)
        if sys.displayhook is not self._shown_by:
            sys.displayhook = self._shown_by
            lost.append("sys.displayhook")
        return lost

    def run(self, source: str, filename: str) -> None:
        """Execute one cell. Raises whatever the cell raises.

        The value of a last line that is an expression is shown, as a notebook does. A cell with
        ``await`` at its top level runs in one event loop that lives as long as the namespace.
        """
        lines = f"{source}\n".splitlines(keepends=True)  # tracebacks count on the last one's end
        linecache.cache[filename] = (len(source), None, lines, filename)
        if "asyncio" in source or "await" in source:
            self.prepare_asyncio()
        self._tree = None
        self.names.pop(_LAST, None)
        self._tree = compile(
            source, filename, "exec", _FLAGS | ast.PyCF_ONLY_AST, dont_inherit=True
        )
        for code in _compile(self._tree, filename):
            outcome = eval(code, self.names)
            if code.co_flags & _COROUTINE:
                self.loop.run_until_complete(outcome)
        if _LAST in self.names:
            sys.displayhook(self.names.pop(_LAST))

    def prepare_asyncio(self) -> None:
        """A loop of our own whose ``to_thread`` has room for a thousand calls that wait.

        The default executor has four threads more than there are cores, so that a thousand
        waiting calls would queue behind a few.
        """
        if self.loop is None:
            import asyncio
            from concurrent.futures import ThreadPoolExecutor

            self.loop = asyncio.new_event_loop()
            self.loop.set_default_executor(ThreadPoolExecutor(1000))

    def _show(self, value: object) -> None:
        if value is None:
            return
        self.names["_"] = value
        if isinstance(value, str | bytes) and len(value) > self._display_limit:
            # The repr of a large text would be built whole only to be cut.
            part = self._display_limit // 3
            self._display(f"{value[:part]!r}\n… {len(value):,} in all …\n{value[-part:]!r}\n")
        else:
            self._display(repr(value))  # not in one text with the line's end: it may be huge
            self._display("\n")

    def snapshot(self) -> Snapshot:
        """A fingerprint of every variable that a user would call one."""
        return {
            name: (id(value), type(value).__name__, size_of(value))
            for name, value in list(self.names.items())
            if isinstance(name, str)  # code can put anything into its globals()
            and not name.startswith("_")
            and name not in self.protected
            and name not in _NOT_SHOWN
        }

    def changes(self, before: Snapshot) -> list[dict[str, str]]:
        """Variables that are new or differ from ``before``, without the last cell's temporaries."""
        changed = {
            name: (kind, size)
            for name, (identity, kind, size) in self.snapshot().items()
            if before.get(name) != (identity, kind, size) and kind != "module"
        }
        if changed and self._tree is not None:
            for name in loop_temporaries(self._tree) - before.keys():
                changed.pop(name, None)
        rows = list(changed.items())[:MAX_VARIABLES]
        return [{"name": n[:100], "type": kind[:60], "size": size} for n, (kind, size) in rows]


_NOT_SHOWN = frozenset({"exit", "quit", "answer", "as_completed"})


def _exit(code: object = None) -> None:
    raise SystemExit(code)


_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_COROUTINE = 0x80  # inspect.CO_COROUTINE, without importing inspect
_LAST = "__last__"


def _compile(tree: ast.Module, filename: str) -> list[types.CodeType]:
    """The cell's code, and apart from it a last expression whose value is to be shown."""
    body = tree.body
    last = body[-1] if body and isinstance(body[-1], ast.Expr) else None
    if last is not None:
        body = body[:-1]
    parts: list[types.CodeType] = []
    if last is not None:
        parts.append(
            compile(ast.Interactive([last]), filename, "single", _FLAGS, dont_inherit=True)
        )
        if parts[0].co_flags & _COROUTINE:
            # A task that the cell makes belongs to the loop that runs when it is made: the cell
            # and its last `await` are one coroutine.
            value = ast.Assign([ast.Name(_LAST, ast.Store())], last.value)
            body.append(ast.fix_missing_locations(ast.copy_location(value, last)))
            parts.clear()
    if body:
        parts.insert(0, compile(ast.Module(body, []), filename, "exec", _FLAGS, dont_inherit=True))
    return parts


def loop_temporaries(tree: ast.Module) -> set[str]:
    """Names that matter only inside a loop or a ``with`` of the cell: their targets.

    Also names of one or two letters that only a loop's body binds: ``m``, ``c``, ``l``. What is
    bound there under a longer name may be what the loop was for.
    """
    outside = [node for statement in tree.body for node in _outside_loops(statement)]
    handles = [n.optional_vars for n in outside if isinstance(n, ast.withitem) and n.optional_vars]
    opened = {name for handle in handles for name in _bound(handle)}
    looped = {
        name.id
        for loop in ast.walk(tree)
        if isinstance(loop, _LOOPS)
        for name in ast.walk(loop)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }
    elsewhere = {n.id for n in outside if isinstance(n, ast.Name)}
    targets = {
        name
        for loop in ast.walk(tree)
        if isinstance(loop, ast.For | ast.AsyncFor)
        for name in _bound(loop.target)
    }
    short = {name for name in looped if len(name) <= 2}
    return opened | ((targets | short) - elsewhere)


_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def _outside_loops(node: ast.AST) -> Iterator[ast.AST]:
    """``node`` and all below it, loops left out."""
    if isinstance(node, _LOOPS):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _outside_loops(child)


def _bound(target: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]


def size_of(value: object) -> str:
    """How large a value is, in words; empty where it has no size. Never its content."""
    try:
        if isinstance(value, LazyText | LazyList):
            return "lazy"  # its length would be counted over all of the data
        length = len(value)  # type: ignore[arg-type]
    except BaseException:  # __len__ and __class__ may be the cell's, and raise anything
        return ""
    unit = {"str": "characters", "bytes": "bytes"}.get(type(value).__name__, "items")
    return f"{length:,} {unit}"


def _leave_out_our_frames(shown: traceback.TracebackException | None, depth: int = 10) -> None:
    """Keep the cell's frames: neither how it was started nor the insides of what it called."""
    if shown is None or depth == 0:
        return
    kept: list[traceback.FrameSummary] = []
    for frame in shown.stack:
        if frame.filename.startswith(_HERE):
            if kept:
                break
        elif kept or frame.filename.startswith(CELL):  # before it: an event loop, a thread's start
            kept.append(frame)
    shown.stack = traceback.StackSummary.from_list(kept)
    _leave_out_our_frames(shown.__cause__, depth - 1)
    _leave_out_our_frames(shown.__context__, depth - 1)


def describe_error(error: BaseException) -> dict[str, str]:
    """Type, message and traceback, from the cell's own first frame on, cut head and tail."""
    try:
        shown = traceback.TracebackException.from_exception(error)
        _leave_out_our_frames(shown)
        text = "".join(shown.format())
        message = str(error)
        if advice := advice_on(error):
            message, text = f"{message}: {advice}".removeprefix(": "), f"{text}{advice}\n"
    except Exception as broken:  # an exception whose own __str__ raises
        text = message = f"(the exception cannot be shown: {type(broken).__name__})"
    return {
        "type": type(error).__name__[:100],
        "message": shorten(message, 1_000),
        "traceback": shorten(text, TRACEBACK_CHARS),
    }
