"""Run at the far end of a command: makes the worker's code, which comes by the stream, importable.

Nothing is installed there and nothing written: the modules are compiled from what was sent. This
file is the first thing that is sent, and is not imported but executed.
"""

import json
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_PACKAGE = "abyme_inside"


class Sources:
    """An importer of modules by their sources: names within the package to texts."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = {f"{_PACKAGE}.{name}": text for name, text in sources.items()}
        self._sources[_PACKAGE] = self._sources.pop(f"{_PACKAGE}.", "")
        self._packages = {name.rpartition(".")[0] for name in self._sources}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """As the import system asks."""
        if name not in self._sources:
            return None
        place = f"/{name.replace('.', '/')}.py"
        spec = ModuleSpec(name, self, origin=place, is_package=name in self._packages)  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the import system asks: a module like any other."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """As the import system asks."""
        code = compile(self._sources[module.__name__], str(module.__file__), "exec")
        exec(code, module.__dict__)


def run(take: Callable[[int], bytes]) -> None:
    """Take the sources (a u32 length, then JSON) from the stream, and serve the host."""
    sources = json.loads(take(int.from_bytes(take(4), "big")))
    sys.meta_path.insert(0, Sources(sources))
    from abyme_inside.stdio import main  # type: ignore[import-not-found]

    main()
