"""Values of the host's that are variables of the REPL, bound anew in every worker.

They come as JSON, in pieces where they are long, and are protected like ``context``. A checkpoint
names them and holds no copy, so there is none where a cell has changed one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .codec import Frame, read_value, write_value
from .namespace import Namespace

_LONG = 64
"""Characters of a text that is named in a checkpoint; a shorter one is as well copied."""
_REASON = 200

Path = tuple[str | int, ...]


class Bound:
    """Takes the frames ``bind``; ``namespace`` has its own protected names already."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._own = frozenset(namespace.protected) | {"context", "answer", "exit", "quit"}
        self._pieces: list[str] = []
        self._hashes: dict[str, int] = {}

    def serve(self, frame: Frame) -> Frame:
        """Take a piece of a value in; with the last one it is there."""
        reason = ""
        try:
            self._take(frame)
        except MemoryError:
            reason = "there is not enough memory for it"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:_REASON]
        if reason or frame["last"]:
            self._pieces = []
        return {"t": "bound", "id": frame["id"], "reason": reason}

    def _take(self, frame: Frame) -> None:
        name = frame["name"]
        if frame["first"]:
            self._pieces = []
        self._pieces.append(frame["text"])
        if not frame["last"]:
            return
        if name in self._own:
            raise NameError("every REPL has this name already")
        text = "".join(self._pieces)
        value = read_value(text)
        self._hashes[name] = hash(text)  # the same in every worker: their hash seed is 0
        self._namespace.protected[name] = self._namespace.names[name] = value

    def changed(self) -> str:
        """The name of a value that a cell has changed; "" where there is none."""
        for name, known in self._hashes.items():
            try:
                if hash(write_value(self._namespace.protected[name])) != known:
                    return name
            except (TypeError, ValueError, RecursionError):  # it is no JSON any more
                return name
        return ""

    def references(self) -> dict[int, tuple[Any, ...]]:
        """By ``id``: the values, and all in them that is worth a name."""
        return {
            id(part): ("bound", name, known, path)
            for name, known in self._hashes.items()
            for path, part in _parts(self._namespace.protected[name], ())
        }

    def find(self, name: str, known: int, path: Path) -> Any:
        """What :meth:`references` named. Raises ``LookupError`` where another value is bound."""
        if self._hashes.get(name) != known:
            raise LookupError(f"{name} is not what it was")
        value = self._namespace.protected[name]
        for step in path:
            value = value[step]
        return value

    def __contains__(self, name: str) -> bool:
        return name in self._hashes


def _parts(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict | list):
        yield path, value
        for step, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _parts(part, (*path, step))
    elif isinstance(value, str) and len(value) >= _LONG:
        yield path, value
