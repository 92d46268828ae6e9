"""The functions of ``re``, so that they take a lazy text like a ``str``."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from .text import LazyText


def wrap_re() -> None:
    """Let ``re.search(pattern, text)`` and its like take a LazyText, in all of this process.

    A compiled pattern's methods cannot be wrapped: they are C. For any other text this costs a
    function call.
    """
    for name in ("search", "match", "fullmatch", "finditer", "findall"):
        _wrap(name, name, 1)
    _wrap("split", "re_split", 1)
    _wrap("sub", "sub", 2)
    _wrap("subn", "subn", 2)


def _wrap(name: str, method: str, place: int) -> None:
    """``place``: where among the arguments the text is."""
    original: Callable[..., Any] = getattr(re, name)
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        text = args[place] if len(args) > place else kwargs.get("string")
        if not isinstance(text, LazyText):
            return original(*args, **kwargs)
        kwargs.pop("string", None)
        return getattr(text, method)(*args[:place], *args[place + 1 :], **kwargs)

    setattr(re, name, wrapped)
