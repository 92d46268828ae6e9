"""The calls as code sees them: plain functions with signatures that say what they take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .calls import Calls
from .results import (
    BudgetExceeded,
    CallError,
    ChildFailed,
    Failed,
    PromptTooLong,
    Results,
    ToolError,
)

EXCEPTIONS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (BudgetExceeded, CallError, ChildFailed, Failed, PromptTooLong, ToolError)
}
"""Names for ``except`` clauses and ``isinstance`` in the REPL."""


def model_calls(calls: Calls) -> dict[str, Callable[..., Any]]:
    """``llm_query`` and its relatives, asking through ``calls``."""

    def llm_query(prompt: str, model: str | None = None) -> str:
        """Ask the sub-model; raises CallError where it fails."""
        return str(calls.ask("llm_query", _query(prompt, model)))

    def llm_query_batched(prompts: Iterable[str], model: str | None = None) -> Results:
        """Ask all prompts at once; answers in their order, a Failed where there is none."""
        items: list[Any] = []
        for some in in_pieces(_texts(prompts)):
            items += calls.ask("llm_query_batched", {"prompts": some, "model": model})
        return Results.from_frames(items)

    async def allm_query(prompt: str, model: str | None = None) -> str:
        """``llm_query`` for ``await`` and ``asyncio.gather``."""
        return str(await calls.ask_async("llm_query", _query(prompt, model)))

    def budget() -> dict[str, Any]:
        """What this run has used, may use and has left."""
        return dict(calls.ask("budget", {}))

    functions = (
        llm_query,
        llm_query_batched,
        allm_query,
        budget,
    )
    for function in functions:
        function.__qualname__ = function.__name__  # what a TypeError calls it
    return {function.__name__: function for function in functions}


_PIECE_CHARACTERS = 12_000_000


def in_pieces(prompts: list[str]) -> Iterator[list[str]]:
    """The prompts in order, in lists of which each surely fits a frame."""
    piece: list[str] = []
    size = 0
    for prompt in prompts:
        if piece and size + len(prompt) > _PIECE_CHARACTERS:
            yield piece
            piece, size = [], 0
        piece.append(prompt)
        size += len(prompt)
    if piece:
        yield piece


def tool(calls: Calls, name: str, parameters: list[str], doc: str) -> Callable[..., Any]:
    """A user's tool: positional arguments get their names here, the host checks the rest."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) > len(parameters):
            raise TypeError(f"{name}() takes {len(parameters)} arguments, not {len(args)}")
        arguments = dict(zip(parameters, args, strict=False))
        for key, value in kwargs.items():
            if key in arguments:
                raise TypeError(f"{name}() got {key!r} twice")
            arguments[key] = value
        return calls.ask(name, arguments)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return call


def _query(prompt: Any, model: str | None) -> dict[str, Any]:
    return {"prompt": _text(prompt, "the prompt"), "model": model}


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return value


def _texts(values: Any) -> list[str]:
    if isinstance(values, str):
        raise TypeError("a batch takes a list of str; for one prompt use llm_query")
    return [_text(value, f"item {index} of the batch") for index, value in enumerate(values)]
