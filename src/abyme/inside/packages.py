"""Importing a few installed packages (numpy, pandas) and nothing else that lies beside them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class Finder:
    """A finder for ``sys.meta_path``: ``packages`` maps a top-level name to folders to look in."""

    def __init__(self, packages: dict[str, list[str]]) -> None:
        self._packages = packages

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of an allowed top-level package; submodules go the ordinary way."""
        folders = self._packages.get(name)
        return None if path is not None or folders is None else PathFinder.find_spec(name, folders)
