"""What cells change outside of their namespace: what of it a checkpoint keeps, what forbids one."""

from __future__ import annotations

import ast
import contextlib
import importlib
import linecache
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from .jobs import unfetched
from .namespace import Namespace

_KEPT_SETTERS = frozenset(("setrecursionlimit", "setstate", "set_state", "setdiff1d", "setxor1d"))
"""Functions whose effect is kept, or that have none, although their name begins with "set"."""
_SETTERS = ("set", "register", "basicConfig", "signal")


def surroundings() -> dict[str, Any]:
    """The state of modules that code often sets and expects to find again."""
    kept: dict[str, Any] = {
        "modules": [name for name in list(sys.modules) if not name.startswith(_OURS)],
        "recursion": sys.getrecursionlimit(),
        "warnings": warnings.filters[:],
    }
    for name, (get, _) in _STATES.items():
        if (module := sys.modules.get(name)) is not None:
            kept[name] = get(module)
    return kept


_OURS = (__name__.rpartition(".")[0], "__main__")
_STATES: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]] = {
    "random": (lambda module: module.getstate(), lambda module, state: module.setstate(state)),
    "decimal": (lambda module: module.getcontext(), lambda module, kept: module.setcontext(kept)),
    "numpy.random": (
        lambda module: module.get_state(),
        lambda module, state: module.set_state(state),
    ),
}


def put_back(kept: dict[str, Any]) -> None:
    """Make the surroundings what they were: modules imported, and set as they were."""
    for name in kept["modules"]:
        if name not in sys.modules:
            with contextlib.suppress(Exception):  # a module that a cell had made itself
                importlib.import_module(name)
    sys.setrecursionlimit(kept["recursion"])
    warnings.resetwarnings()
    warnings.filters[:] = kept["warnings"]  # type: ignore[index]
    for name, (_, put) in _STATES.items():
        if name in kept:
            put(importlib.import_module(name), kept[name])


def obstacle(namespace: Namespace, calls_pending: bool) -> str:
    """Why there can be no checkpoint now, whatever the variables are; "" where there can be one."""
    if calls_pending:
        return "a call is still under way"
    if job := unfetched():
        return job
    if namespace.loop is not None and (tasks := _pending_tasks(namespace.loop)):
        return f"{tasks} tasks of asyncio are still under way"
    if names := _threads_at_work(namespace.loop):
        return f"threads of a cell still run: {', '.join(names)}"[:300]
    if change := changed_module(list(_sources())):
        return f"a cell changed a module: {change}"[:300]
    return ""


def _sources() -> Iterator[str]:
    for filename, entry in list(linecache.cache.items()):
        if filename.startswith("<cell ") and len(entry) > 2:
            yield "".join(entry[2])


def _pending_tasks(loop: Any) -> int:
    return len(sys.modules["asyncio"].all_tasks(loop))


def _threads_at_work(loop: Any) -> list[str]:
    """Threads but the main one, ours that reads frames, and idle ones of asyncio's pool."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    ours = {threading.main_thread().ident, *_idle(getattr(loop, "_default_executor", None))}
    ours |= {ident for ident, name in names.items() if name in _OWN_THREADS}
    return [names.get(ident, "a thread") for ident in sys._current_frames() if ident not in ours]


_OWN_THREADS = frozenset(("frames",))


def _idle(executor: Any) -> set[int | None]:
    if executor is None or executor._idle_semaphore._value < len(executor._threads):
        return set()
    return {thread.ident for thread in executor._threads}


def changed_module(codes: list[str]) -> str:
    """What these cells set in an imported module, as it stands there; "" if nothing.

    Modules are not in a checkpoint. To find too much here costs no more than that none is taken.
    """
    trees = []
    for code in codes:
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            trees.append(ast.parse(code))  # where that fails the cell did nothing
    imported = {"__builtins__"} | {
        (alias.asname or alias.name).partition(".")[0]
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for tree in trees:
        for node in ast.walk(tree):
            for target in _set_by(node):
                if _root(target) in imported:
                    return ast.unparse(target)
    return ""


def _set_by(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        yield node
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = node.func.attr
        if name.startswith(_SETTERS) and name not in _KEPT_SETTERS:
            yield node.func


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
