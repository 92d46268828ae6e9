"""What would copy a lazy text whole, and what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from .toolarge import TextTooLarge

_ADVICE = {
    "rsplit": "use t.split(sep)[-n:]",
    "partition": "use i = t.find(sep), t[:i] and slices of what follows",
    "rpartition": "use i = t.rfind(sep), t[i:] and slices of what goes before",
    "replace": "slice first, t[a:b].replace(…), or go through it with `for line in t`",
    "lower": "slice first, t[a:b].lower(), or match with re.IGNORECASE",
    "upper": "slice first, t[a:b].upper(), or match with re.IGNORECASE",
    "casefold": "slice first, t[a:b].casefold(), or match with re.IGNORECASE",
    "__str__": "print slices t[a:b], or hand pieces t[a:b] to sub-calls",
    "__format__": "format slices t[a:b], or hand pieces t[a:b] to sub-calls",
    "__add__": "join slices t[a:b] instead",
    "__radd__": "join slices t[a:b] instead",
    "__mul__": "repeat slices t[a:b] instead",
    "__rmul__": "repeat slices t[a:b] instead",
    "__mod__": "fill in slices t[a:b] instead",
    "__reversed__": "use slices t[a:b][::-1]",
}
_NO_STR = {
    "LazyText": (
        "a LazyText is no str, because it is too large for one. re.findall(p, t), re.finditer, "
        "re.search, re.sub, re.split take it, and with a compiled pattern t.findall(p), "
        "t.finditer(p), t.search(p); all else takes slices t[a:b] or lines (`for line in t`)"
    ),
    "LazyList": (
        "a LazyList is read when it is needed and cannot be changed: pieces[i], pieces[a:b], "
        "len(pieces), `for piece in pieces`; list(pieces[a:b]) is a list of your own"
    ),
}


def refuse_the_rest(kind: type) -> None:
    """Give the class those methods of ``str`` that it does not have; each raises TextTooLarge."""
    for name in (*_ADVICE, *dir(str)):
        # object has __str__, __format__ and the rest, which would show or compare nonsense.
        if not any(name in vars(base) for base in kind.__mro__[:-1]) and (
            name in _ADVICE or not name.startswith("_")
        ):
            setattr(kind, name, _refusal(name))


def _refusal(name: str) -> Callable[..., NoReturn]:
    shown = f"{name.strip('_')}()"
    advice = _ADVICE.get(name, f"slice first: t[a:b].{shown}")

    def refuse(self: Any, *_: object, **__: object) -> NoReturn:
        raise TextTooLarge(
            f"{shown} would copy this LazyText, which is too large for that: {advice}"
        )

    return refuse


def advice_on(error: BaseException) -> str | None:
    """What to do instead, where a lazy text or a coroutine was taken for another value,
    or where memory ran out.
    """
    if type(error) is MemoryError and not error.args:
        return "no memory is left for this. Work in smaller pieces, and delete what is not needed"
    if isinstance(error, TypeError | AttributeError):
        said = str(error)
        if "'coroutine'" in said:
            return "a call that was not awaited gives no answer: await it, or use llm_query"
        return next((advice for name, advice in _NO_STR.items() if name in said), None)
    return None
