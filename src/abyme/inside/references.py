"""What every worker of a run has by itself: a checkpoint names it and holds no copy."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .bound import Bound
from .documents import Documents, Store
from .namespace import Namespace
from .text import LazyText

Reference = tuple[Any, ...]


class References:
    """The namespace, the data and the calls of one worker, by names that another worker knows."""

    def __init__(self, namespace: Namespace, store: Store, bound: Bound) -> None:
        self.namespace = namespace
        self.bound = bound
        self._store = store

    def by_identity(self) -> dict[int, Reference]:
        """For each thing that is there now, its ``id`` and its name. All of it stays alive."""
        main = sys.modules["__main__"]
        found: dict[int, Reference] = {}
        for name, module in list(sys.modules.items()):
            if isinstance(names := getattr(module, "__dict__", None), dict):
                found[id(names)] = ("module", name)
        found[id(sys.stdout)] = ("stream", "stdout")
        found[id(sys.stderr)] = ("stream", "stderr")
        if self.namespace.loop is not None:
            found[id(self.namespace.loop)] = ("loop",)
        context = self.namespace.protected.get("context")
        if isinstance(context, Documents):
            found |= {id(text): ("text", index) for index, text in context.loaded()}
        for name, value in self.namespace.protected.items():
            if name not in self.bound:
                found[id(value)] = ("name", name)
        found |= self.bound.references()
        found[id(self.namespace.names)] = ("names",)
        found[id(main)] = ("main",)
        found[id(self)] = ("references",)
        return found

    def find(self, reference: Reference) -> Any:
        """What ``reference`` names here. Raises ``LookupError`` where it names nothing."""
        match reference:
            case ("references",):
                return self
            case ("names",):
                return self.namespace.names
            case ("main",):
                return sys.modules["__main__"]
            case ("name", name):
                return self.namespace.protected[name]
            case ("module", name):
                return vars(importlib.import_module(name))
            case ("stream", name):
                return getattr(sys, name)
            case ("loop",):
                self.namespace.prepare_asyncio()
                return self.namespace.loop
            case ("bound", name, known, path):
                return self.bound.find(name, known, path)
            case ("text", index):
                return self.namespace.protected["context"][index]
        raise LookupError(f"no reference: {reference!r:.100}")

    def load_context(self) -> None:
        """Build ``context``, as a cell does that names it."""
        namespace = self.namespace
        namespace.protected["context"] = namespace.names["context"] = self._store.context()

    def lazy(self, index: int) -> LazyText:
        """The text of a document as code had it that got it otherwise than from ``context``."""
        return self._store.lazy(index)
