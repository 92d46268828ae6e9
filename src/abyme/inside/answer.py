"""Finishing, inside: ``FINAL`` and its aliases record an answer; nothing ends until the host says.

Every way that models are trained to finish works: ``FINAL(value)`` and ``FINAL_VAR(name)`` (the
paper), ``SUBMIT(...)`` (DSPy), ``answer["ready"] = True`` (the authors' newest code).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable
from typing import Any

from .hits import Hit, Passage

MAX_ANSWER = 16_000_000
"""Characters of the longest answer."""
MAX_QUOTES = 10_000

_SINGLE = {
    *(f"builtins.{name}" for name in ("str", "bytes", "bytearray", "range", "NoneType")),
    *(f"builtins.{name}" for name in ("bool", "int", "float", "complex")),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta")),
    *("decimal.Decimal", "fractions.Fraction", "pathlib.PosixPath", "uuid.UUID"),
    f"{__package__}.text.LazyText",
}
_CONTAINERS = {
    *(f"builtins.{name}" for name in ("list", "tuple", "dict", "set", "frozenset")),
    *(f"collections.{name}" for name in ("Counter", "OrderedDict", "defaultdict", "deque")),
    *(f"{__package__}.hits.{name}" for name in ("Hit", "Hits", "Passage", "Passages")),
    f"{__package__}.results.Results",
}

Locate = Callable[[str, "str | None", int], "dict[str, Any] | None"]


def as_finish(value: Any, via: str, quotes: Iterable[Any] = ()) -> dict[str, Any]:
    """An answer as the host takes it: its JSON value, its text, how it was given, its quotes."""
    if value is None or (isinstance(value, str) and not value.strip()):
        given = "None" if value is None else "an empty text"
        raise ValueError(f"{via} got {given}, which is no answer: did a function not return it?")
    text = as_text(value)
    if len(text) > MAX_ANSWER:
        raise ValueError(f"an answer has at most {MAX_ANSWER:,} characters, not {len(text):,}")
    try:
        json_value = json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        json_value = text
    return {"value": json_value, "text": text, "via": via, "quotes": list(quotes)}


def as_text(value: Any) -> str:
    """What a user reads: a ``str`` as it is, JSON for containers, else ``str(value)``."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dict | list | tuple):
        try:
            return json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            pass
    return str(value)


def is_plain(value: Any) -> bool:
    """Whether :func:`as_finish` runs no code of a cell for ``value``: no ``__str__`` of its own.

    True for single values of the standard library and of numpy, and for containers of such. Raises
    RecursionError where they are nested without end. A class that gives itself another's name is
    not told apart; it keeps nobody busy but its own worker.
    """
    kind = type(value)
    module, name = (type.__getattribute__(kind, name) for name in ("__module__", "__name__"))
    if f"{module}.{name}" in _CONTAINERS:
        items = [*value, *value.values()] if isinstance(value, dict) else value
        return all(map(is_plain, items))
    return f"{module}.{name}" in _SINGLE or module == "numpy"


class Finishing:
    """The finish functions of one namespace and what they recorded since :meth:`start`."""

    def __init__(self, namespace: dict[str, Any], locate: Locate) -> None:
        self._namespace = namespace
        self._locate = locate
        self.recorded: dict[str, Any] | None = None
        namespace["answer"] = {"content": "", "ready": False}

    def start(self) -> None:
        """A new cell begins."""
        self.recorded = None

    def functions(self) -> dict[str, Callable[..., None]]:
        """The functions by the names that code knows them by."""
        return {"FINAL": self._final, "FINAL_VAR": self._final_var, "SUBMIT": self._submit}

    def collect(self) -> dict[str, Any] | None:
        """The answer that this cell handed over, or None.

        A ready ``answer`` dict is taken once: ``ready`` goes back to False, so that an answer
        that was held is given again only by saying so again.
        """
        answer = self._namespace.get("answer")
        if self.recorded is None and isinstance(answer, dict) and answer.get("ready"):
            answer["ready"] = False
            self.recorded = as_finish(answer.get("content"), "answer")
        return self.recorded

    def draft(self) -> str:
        """The text in ``answer["content"]``, ready or not; empty where there is none."""
        answer = self._namespace.get("answer")
        if not isinstance(answer, dict) or not answer.get("content"):
            return ""
        text = as_text(answer["content"])
        return text if len(text) <= MAX_ANSWER else ""

    def _final(self, value: Any, quotes: Iterable[Any] = ()) -> None:
        """Hand over the answer: any value; ``quotes``: passages copied exactly from the data."""
        self.recorded = as_finish(value, "FINAL", self._quotes(quotes))

    def _final_var(self, name: Any, quotes: Iterable[Any] = ()) -> None:
        """Hand over the value of the variable ``name`` as the answer."""
        self.recorded = as_finish(self._lookup(name), "FINAL_VAR", self._quotes(quotes))

    def _submit(self, *values: Any, **fields: Any) -> None:
        """Hand over the answer: one value, or named fields (one field: its value)."""
        if values and fields:
            raise TypeError("SUBMIT takes one value or named fields, not both")
        if len(values) > 1:
            raise TypeError("SUBMIT takes one value or named fields")
        if not values and not fields:
            raise TypeError("SUBMIT needs the answer: SUBMIT(value)")
        given = list(values) + list(fields.values())
        self.recorded = as_finish(given[0] if len(given) == 1 else fields, "SUBMIT")

    def _lookup(self, name: Any) -> Any:
        if not isinstance(name, str):
            return name  # FINAL_VAR(x) without quotes: the value itself came
        if name in self._namespace:
            return self._namespace[name]
        if not name.isidentifier() or any(name is value for value in self._namespace.values()):
            return name  # the same, where the value is a text
        near = difflib.get_close_matches(name, [key for key in self._namespace if key[0] != "_"])
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise NameError(f"FINAL_VAR: there is no variable {name!r}{hint}")

    def _quotes(self, quotes: Iterable[Any]) -> list[dict[str, Any]]:
        """The quotes with their places in the data; raises ``ValueError`` for all that have none.

        A quote is exact or it is none.
        """
        asked = [quotes] if isinstance(quotes, str) else list(quotes)
        if len(asked) > MAX_QUOTES:
            raise ValueError(f"{len(asked):,} quotes, and {MAX_QUOTES:,} are the most")
        found = [self._quote(quote) for quote in asked]
        missing = [str(quote["text"]) for quote in found if "document" not in quote]
        if missing:
            listed = "; ".join(
                repr(text if len(text) <= 120 else text[:120] + "…") for text in missing
            )
            raise ValueError(
                f"{len(missing)} of {len(found)} quotes are not in the data as they stand (line "
                f"breaks and indentation count; slice them from the data): {listed}"
            )
        return found

    def _quote(self, quote: Any) -> dict[str, Any]:
        """A text, ``(document, text)``, or a search result, with its place where it has one."""
        document, text, start = None, quote, 0
        if isinstance(quote, Passage):
            document, text, start = quote.document, quote.text, quote.start
        elif isinstance(quote, Hit):
            document, text, start = quote.document, quote.text, quote.start - len(quote.text)
        elif isinstance(quote, tuple) and len(quote) == 2:
            document, text = quote
        if not isinstance(text, str) or not text:
            raise ValueError("a quote is a non-empty str copied from the data, or a search result")
        return {"text": text, **(self._locate(text, document, max(0, start)) or {})}
