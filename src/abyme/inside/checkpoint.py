"""A namespace as bytes: all that cells made in it, or the reason why it cannot be had whole.

cloudpickle does the work. What stock cloudpickle would change is put right here: functions keep
the namespace itself as their globals (not a private copy of it), other functions the globals of
their module or of their ``exec``, and functions that share a variable of an outer function go on
sharing it. What every worker has is named, not copied (:mod:`.references`).

What ``load`` is given comes from a worker and is hostile: it runs whatever its author wants, and
may only be called where model-written code may run.
"""

from __future__ import annotations

import io
import linecache
import pickle
import sys
from collections import ChainMap
from types import FunctionType
from typing import Any, ClassVar

from .reducers import REDUCERS, reduce_array, reduce_task
from .references import Reference, References
from .surroundings import put_back, surroundings
from .text import LazyText
from .vendor import cloudpickle

LIMIT = 64_000_000
"""Bytes of the largest checkpoint."""
_HEAD = f"abyme checkpoint 1, {sys.implementation.cache_tag} {sys.hexversion:x}\n".encode()
_OF_MODULE = frozenset(
    ("__name__", "__doc__", "__package__", "__loader__", "__spec__", "__builtins__")
)
_FLAT = frozenset((str, bytes, bytearray))


class NotWhole(Exception):
    """There is no checkpoint, or it is none for this worker; the message says why."""


def dump(references: References, limit: int = LIMIT) -> bytearray:
    """All that the cells made. Raises :class:`NotWhole`; never changes what it reads.

    ``KeyboardInterrupt`` abandons it at any moment.
    """
    namespace = references.namespace
    written = _Written(limit)
    written.write(_HEAD)
    pickler = _Pickler(written, references, limit)
    protected = namespace.protected
    _dump(pickler, "what belongs to the interpreter", (surroundings(), "context" in protected))
    _dump(pickler, "the cells' sources", _sources())
    for name, value in list(namespace.names.items()):
        if name not in _OF_MODULE and not (name in protected and protected[name] is value):
            _dump(pickler, name, (name, value))
    _dump(pickler, "", None)
    return written.data


def _dump(pickler: _Pickler, name: str, value: Any) -> None:
    try:
        pickler.dump(value)
    except NotWhole:
        raise
    except MemoryError:
        raise NotWhole(f"{name}: no memory is left to write it") from None
    except Exception as error:  # of any kind: what is pickled may be of any class
        raise NotWhole(f"{name}: {_said(error)}") from None


def load(data: bytes | bytearray, references: References) -> None:
    """Make the namespace what it was when ``data`` was dumped.

    Raises :class:`NotWhole`; the namespace is then good for nothing.
    """
    file = io.BytesIO(data)
    if file.readline() != _HEAD:
        raise NotWhole("it was made by another Python")
    namespace = references.namespace
    try:
        unpickler = _Unpickler(file, references)
        around, with_context = unpickler.load()
        if with_context:
            references.load_context()
        put_back(around)
        linecache.cache.update(unpickler.load())
        found: dict[str, Any] = {}
        while (item := unpickler.load()) is not None:
            found[item[0]] = namespace.names[item[0]] = item[1]
    except Exception as error:
        raise NotWhole(_said(error)) from None
    for name in namespace.names.keys() - found.keys() - _OF_MODULE - namespace.protected.keys():
        del namespace.names[name]  # the cells had deleted it


def _said(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__)[:300]


def _sources() -> dict[str, Any]:
    """So that tracebacks show the lines of cells that are not run again."""
    return {name: entry for name, entry in linecache.cache.items() if name.startswith("<cell ")}


class _Written:
    """Takes what the pickler writes and stops it as soon as it is too much."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit

    def write(self, data: bytes | pickle.PickleBuffer) -> None:
        if len(self.data) + memoryview(data).nbytes > self._limit:
            raise NotWhole(f"the variables take more than {self._limit:,} bytes")
        self.data += data


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table: ClassVar[Any] = ChainMap(REDUCERS, cloudpickle.Pickler.dispatch_table)

    def __init__(self, file: _Written, references: References, limit: int) -> None:
        super().__init__(file)
        self._references = references
        self._known = references.by_identity()
        self._limit = limit

    def persistent_id(self, value: Any) -> Reference | None:
        """Called for every object there is. Being Python, it lets an interrupt through."""
        known = self._known.get(id(value))
        if known is None and type(value) in _FLAT and len(value) > self._limit:
            raise NotWhole(f"a {type(value).__name__} of {len(value):,} is too large")
        return known

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        if kind is LazyText and value.document is not None:
            return self._references.lazy, (value.document,)
        if kind.__name__ == "ndarray" and kind.__module__ == "numpy":
            if value.nbytes > self._limit:
                raise NotWhole(f"an array of {value.nbytes:,} bytes is too large")
            return reduce_array(value)
        if kind.__module__ == "_asyncio":
            return reduce_task(value)
        return super().reducer_override(value)

    def _dynamic_function_reduce(self, function: FunctionType) -> Any:
        """As cloudpickle's, but for the globals and the closure: the very ones, not copies."""
        state, slots = cloudpickle._function_getstate(function)
        slots |= {"__globals__": {}, "__closure__": None}
        made_of = (function.__code__, function.__globals__, None, None, function.__closure__)
        setter = cloudpickle._function_setstate
        return cloudpickle._make_function, made_of, (state, slots), None, None, setter


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, references: References) -> None:
        super().__init__(file)
        self._find = references.find

    def persistent_load(self, reference: Reference) -> Any:
        return self._find(reference)
