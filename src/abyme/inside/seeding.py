"""``random``, and numpy's one generator that all code shares, begin with the seed of their REPL.

Importing ``random`` takes a millisecond, which a worker that draws nothing does not pay: where it
is not there yet it is seeded as soon as anything imports it. What asks the system for chance
(``os.urandom``, ``secrets``, ``uuid4``, ``random.Random()``, ``default_rng()``) gets it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

_SEEDED = ("random", "numpy.random")
_NUMPY_SEEDS = 1 << 32


def seed_random(seed: int) -> None:
    """Seed the generators that are there, and the others when they are imported.

    Called once in each worker: one that was forked has the state of all others forked from there.
    """
    for name in _SEEDED:
        if (module := sys.modules.get(name)) is not None:
            _seed(module, seed)
    sys.meta_path.insert(0, _Finder(seed))


def _seed(module: ModuleType, seed: int) -> None:
    module.seed(seed if module.__name__ == "random" else seed % _NUMPY_SEEDS)


class _Finder:
    """Finds the modules that are to be seeded, and lets their loaders do so."""

    def __init__(self, seed: int) -> None:
        self._number = seed

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """For ``sys.meta_path``."""
        if name not in _SEEDED:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
        if (spec := next(filter(None, found), None)) is None:
            return None
        loader: Any = spec.loader

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            loader.exec_module(module)
            _seed(module, self._number)

        loader.exec_module = exec_module
        return spec
