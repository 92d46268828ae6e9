"""Who is served next: round robin over runs, within a run over its levels, then first come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)


class Line(NamedTuple):
    """Where one stands in line: ``run`` and, within it, ``level``, equal where one shares."""

    run: Hashable
    level: Hashable


class FairQueue(Generic[T]):
    """Items that wait in lines of their own; each pop serves the line that waited longest.

    Of R runs each is served at every R-th pop at the latest, however many items the others have;
    within a run the same holds for its levels. All operations take constant time. No item may be
    in it twice.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[Hashable, OrderedDict[Hashable, OrderedDict[T, None]]] = (
            OrderedDict()
        )
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, line: Line, item: T, *, first: bool = False) -> None:
        """Add ``item`` at the end of its line, or before all others of that line."""
        levels = self._runs.setdefault(line.run, OrderedDict())
        items = levels.setdefault(line.level, OrderedDict())
        items[item] = None
        if first:
            items.move_to_end(item, last=False)
        self._count += 1

    def pop(self) -> T:
        """Take out whose turn it is. Raises :class:`IndexError` where nobody waits."""
        if not self._count:
            raise IndexError("nobody waits")
        run, levels = next(iter(self._runs.items()))
        level, items = next(iter(levels.items()))
        item, _ = items.popitem(last=False)
        levels.move_to_end(level)
        self._runs.move_to_end(run)
        self._left(Line(run, level))
        return item

    def discard(self, line: Line, item: T) -> None:
        """Take out ``item``, if it is there: it waits no longer."""
        levels = self._runs.get(line.run)
        items = levels.get(line.level) if levels else None
        if items is not None and item in items:
            del items[item]
            self._left(line)

    def _left(self, line: Line) -> None:
        """One item less in ``line``: nothing is kept of lines in which nobody stands."""
        self._count -= 1
        levels = self._runs[line.run]
        if not levels[line.level]:
            del levels[line.level]
        if not levels:
            del self._runs[line.run]
