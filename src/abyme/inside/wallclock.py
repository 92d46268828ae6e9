"""The wall clock of a cell that is run again: it begins where it stood when the cell first ran.

What tells the time of day tells it from there, at its normal speed: the functions of ``time`` and
the class methods of ``datetime``. Monotonic clocks and ``clock_gettime`` are as they are. Nothing
of this is loaded in a worker in which no cell is run again.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import gc
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

_NANOSECONDS = 1_000_000_000
_UTCNOW = (
    "datetime.datetime.utcnow() is deprecated and scheduled for removal in a future version. Use "
    "timezone-aware objects to represent datetimes in UTC: datetime.datetime.now(datetime.UTC)."
)
# Taken now: a cell may put its own in the place of any of these.
_real_time_ns = time.time_ns
_real_localtime = time.localtime
_datetime, _date, _utc = datetime.datetime, datetime.date, datetime.UTC
_from_timestamp = vars(_datetime)["fromtimestamp"]
_type_modified, _as_object = ctypes.pythonapi.PyType_Modified, ctypes.py_object

_offset = 0
"""Nanoseconds that the clock is ahead of the true one."""


@contextlib.contextmanager
def beginning_at(seconds: float) -> Iterator[None]:
    """Within this the wall clock begins at ``seconds`` since 1970, and afterwards is right again.

    The functions of ``time`` stay replaced, because code may keep them in variables. The classes
    of ``datetime`` are the very ones all the time, and are as they were afterwards.
    """
    global _offset
    _replace_functions()
    whole = int(seconds)
    _offset = whole * _NANOSECONDS + int((seconds - whole) * _NANOSECONDS) - _real_time_ns()
    try:
        with _shifted_classes():
            yield
    finally:
        _offset = 0


def _now_ns() -> int:
    return _real_time_ns() + _offset


def _now() -> float:
    return _now_ns() / _NANOSECONDS


# -- time ----------------------------------------------------------------------------------------


class _Function:
    """In the place of a function of ``time``. No method of the class that it is put into."""

    def __init__(self, name: str, shifted: Callable[..., Any]) -> None:
        self._true = getattr(time, name)
        self._shifted = shifted
        self.__name__ = self.__qualname__ = name
        self.__module__ = "time"
        self.__doc__ = self._true.__doc__

    def __call__(self, *args: Any) -> Any:
        return self._shifted(self._true, *args) if _offset else self._true(*args)

    def __repr__(self) -> str:
        return repr(self._true)

    def __reduce__(self) -> str:
        return self.__name__  # for pickles and copies it is what ``time`` has under this name


def _of_seconds(true: Callable[..., Any], *args: Any) -> Any:
    return true(_now()) if args in ((), (None,)) else true(*args)


_Function.__name__ = type(_real_time_ns).__name__  # lists of variables show it

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "time": lambda true, *args: true(*args) if args else _now(),
    "time_ns": lambda true, *args: true(*args) if args else _now_ns(),
    "localtime": _of_seconds,
    "gmtime": _of_seconds,
    "ctime": _of_seconds,
    "asctime": lambda true, *args: true(*args or (_real_localtime(_now()),)),
    "strftime": lambda true, *args: (
        true(*args, _real_localtime(_now())) if len(args) == 1 else true(*args)
    ),
}
_replaced: list[str] = []


def _replace_functions() -> None:
    """Once: a cell may put its own in their place afterwards."""
    if not _replaced:
        _replaced.extend(_FUNCTIONS)
        for name, shifted in _FUNCTIONS.items():
            setattr(time, name, _Function(name, shifted))


# -- datetime ------------------------------------------------------------------------------------


def _shifted_now(cls: Any, tz: Any = None) -> Any:
    return _from_timestamp.__get__(None, cls)(_now(), tz)


def _shifted_utcnow(cls: Any) -> Any:
    if sys.version_info >= (3, 12):
        warnings.warn(_UTCNOW, DeprecationWarning, stacklevel=2)
    return _shifted_now(cls, _utc).replace(tzinfo=None)


def _shifted_today(cls: Any) -> Any:
    return cls.fromtimestamp(_now())


@contextlib.contextmanager
def _shifted_classes() -> Iterator[None]:
    """``datetime`` and ``date`` themselves: a class in their place would be another than theirs.

    They are written in C and refuse to be assigned to, so it is done in the dict behind them.
    """
    places: list[tuple[type, dict[str, Any], str, Callable[..., Any]]] = [
        (_datetime, _names_of(_datetime), "now", _shifted_now),
        (_datetime, _names_of(_datetime), "utcnow", _shifted_utcnow),
        (_date, _names_of(_date), "today", _shifted_today),
    ]
    true = [names[name] for _, names, name, _ in places]
    try:
        for kind, names, name, shifted in places:
            names[name] = classmethod(shifted)
            _changed(kind)
        yield
    finally:
        for (kind, names, name, _), method in zip(places, true, strict=True):
            names[name] = method
            _changed(kind)


def _names_of(kind: type) -> dict[str, Any]:
    (names,) = gc.get_referents(vars(kind))  # what the mapping that cannot be written to shows
    return names  # type: ignore[no-any-return]


def _changed(kind: type) -> None:
    """Have the interpreter forget what it remembers of looking the class's names up."""
    _type_modified(_as_object(kind))
