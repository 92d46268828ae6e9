"""The user's tools: typed Python functions of the host that code in the REPL may call."""

from __future__ import annotations

import asyncio
import inspect
import keyword
import typing
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from abyme.errors import CallFailed, ConfigError
from abyme.inside.functions import EXCEPTIONS
from abyme.inside.hits import cut_end
from abyme.sandbox.base import Function
from abyme.threads import in_thread

RESERVED = frozenset(
    {
        *("context", "answer", "search", "grep", "exit", "quit"),
        *("llm_query", "llm_query_batched", "allm_query", "budget", "SHOW_VARS"),
        *("llm_map", "llm_start", "rlm_start", "as_completed", "job_wait", "job_cancel"),
        *("rlm_query", "rlm_query_batched", "arlm_query", "FINAL", "FINAL_VAR", "SUBMIT"),
        *("history", *EXCEPTIONS),
    }
)
"""Names that the REPL has already."""


class Tool:
    """One function of the host, described from its signature and docstring.

    Arguments arrive as JSON and are converted to the annotated types (``int``, ``datetime``,
    dataclasses …; unannotated ones are passed as they are); the result must be something that
    ``msgspec.to_builtins`` can turn into JSON. Raises :class:`ConfigError` where the function
    cannot be a tool.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name: str = getattr(function, "__name__", "")
        if not self.name.isidentifier() or keyword.iskeyword(self.name) or self.name in RESERVED:
            raise ConfigError(
                f"a tool needs a name of its own, as `def` gives one: {self.name or function!r} "
                "is reserved or no name"
            )
        self._function = function
        self._types = _types_of(function, self.name)
        self._signature = inspect.signature(function, eval_str=True)
        refused = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        for parameter in self._signature.parameters.values():
            if parameter.kind in refused:
                raise ConfigError(f"tool {self.name}: *{parameter.name} cannot be described")

    @property
    def description(self) -> Function:
        """What the REPL and the prompt are told: ``def name(signature)`` and the docstring."""
        doc = inspect.getdoc(self._function) or ""
        return Function(self.name, tuple(self._signature.parameters), doc, str(self._signature))

    async def call(self, arguments: dict[str, Any]) -> Any:
        """Run the function in a thread of its own, so that it cannot stop the engine.

        A coroutine function gets an event loop there. What is cancelled is the wait for it: a
        thread cannot be stopped.

        Raises :class:`CallFailed`: ``TypeError`` for wrong arguments, ``ToolError`` where the
        function raises or returns what cannot be handed over.
        """
        bound = self._bind(arguments)
        try:
            return await in_thread(self._run, bound)
        except Exception as error:
            message = f"{self.name} raised {type(error).__name__}: {cut_end(str(error), 2_000)}"
            raise CallFailed(message, "ToolError") from error

    def _run(self, bound: inspect.BoundArguments) -> Any:
        value = self._function(*bound.args, **bound.kwargs)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        return msgspec.to_builtins(value, str_keys=True)

    def _bind(self, arguments: dict[str, Any]) -> inspect.BoundArguments:
        try:
            bound = self._signature.bind_partial()
            for name, value in arguments.items():
                if name not in self._signature.parameters:
                    raise TypeError(f"it has no parameter {name!r}")
                kind = self._types.get(name, Any)
                bound.arguments[name] = msgspec.convert(value, kind, strict=False)
            return self._signature.bind(*bound.args, **bound.kwargs)
        except (TypeError, msgspec.ValidationError) as error:
            raise CallFailed(f"{self.name}{self._signature}: {error}", "TypeError") from None


def _types_of(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception as error:  # an annotation that names what cannot be found
        raise ConfigError(f"tool {name}: its annotations: {error}") from error


def tool_table(functions: Iterable[Callable[..., Any]]) -> dict[str, Tool]:
    """The tools by name. Raises :class:`ConfigError` where two have one name."""
    table: dict[str, Tool] = {}
    for function in functions:
        tool = Tool(function)
        if tool.name in table:
            raise ConfigError(f"two tools are called {tool.name}")
        table[tool.name] = tool
    return table


def absent_tool(name: str) -> Tool:
    """A tool whose function is not at hand: for cells whose calls are all on record."""

    def absent() -> None:
        raise LookupError(f"the function {name} is not here")

    absent.__name__ = name
    return Tool(absent)
