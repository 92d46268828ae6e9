"""What is wrong with a call's arguments is said with what the function takes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any


def telling(functions: Iterable[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The functions by name; called with arguments that do not fit, they tell their signatures."""
    return {function.__name__: _telling(function) for function in functions}


def _telling(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError:
            if (why := _misfit(function, args, kwargs)) is None:
                raise
        raise TypeError(why)

    call.__qualname__ = function.__name__
    return call


def _misfit(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    """Why the arguments do not fit; None where they do, and the error came from within."""
    import inspect

    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        parameters = signature.parameters.values()
        taken = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
        shown = signature.replace(parameters=taken, return_annotation=inspect.Signature.empty)
        return f"{function.__name__}(): {error}; it is {function.__name__}{shown}"
    return None
