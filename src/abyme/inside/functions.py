"""The calls as code sees them: plain functions with signatures that say what they take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .budget import Budget
from .calls import Calls
from .jobs import Job
from .results import (
    BudgetExceeded,
    CallError,
    ChildFailed,
    ChildRefused,
    Failed,
    PromptTooLong,
    Results,
    SchemaError,
    ToolError,
    joined,
)
from .signatures import telling

EXCEPTIONS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        BudgetExceeded,
        CallError,
        ChildFailed,
        ChildRefused,
        Failed,
        PromptTooLong,
        SchemaError,
        ToolError,
    )
}
"""Names for ``except`` clauses and ``isinstance`` in the REPL."""


def model_calls(calls: Calls) -> dict[str, Callable[..., Any]]:
    """``llm_query`` and its relatives, asking through ``calls``."""

    def llm_query(prompt: str, model: str | None = None, schema: Any = None) -> Any:
        """Ask the sub-model; raises CallError where it fails.

        Gives its text; with a ``schema`` the value that it answers with, which fits it.
        """
        return calls.ask("llm_query", _query(prompt, model, schema))

    def llm_query_batched(
        prompts: Iterable[str], model: str | None = None, schema: Any = None
    ) -> Results:
        """Ask all prompts at once; answers in their order, a Failed where there is none."""
        given = _options(model, schema)
        pieces = list(in_pieces(_texts(prompts)))
        several = ({"prompts": piece, **given} for piece in pieces)
        replies = calls.ask_several("llm_query_batched", several)
        return Results.from_frames(joined(replies, list(map(len, pieces))))

    async def allm_query(prompt: str, model: str | None = None, schema: Any = None) -> Any:
        """``llm_query`` for ``await`` and ``asyncio.gather``; cancelling it ends the call."""
        return await calls.ask_async("llm_query", _query(prompt, model, schema))

    def llm_map(
        items: Iterable[Any],
        template: str,
        schema: Any = None,
        batch: int | None = None,
        model: str | None = None,
    ) -> Results:
        """Put the same question about each item, many items in a prompt.

        ``template`` has ``{items}`` where the numbered items go, or ``{item}`` where it speaks of
        one. Answers in the order of the items, a Failed where none came back that fits the schema.
        Lines that were lost, doubled or renumbered are noticed; an answer beside the wrong item
        where no line is missing is not: ask for something of the item with it, and compare.
        """
        from .mapping import llm_map
        from .shapes import schema_of, written

        shape = written(schema)
        fits = None if shape is None else schema_of(shape)
        return llm_map(
            lambda prompts: llm_query_batched(prompts, model), items, template, fits, batch
        )

    def llm_start(prompts: Iterable[str], model: str | None = None, schema: Any = None) -> Job:
        """Ask all prompts and go on at once; the answers are fetched from the job."""
        asked = _texts(prompts)
        if (size := sum(map(len, asked))) > _PIECE_CHARACTERS:
            raise ValueError(
                f"{size:,} characters are too many for one job: start several, of at most "
                f"{_PIECE_CHARACTERS:,} each"
            )
        number = calls.ask("llm_start", {"prompts": asked, **_options(model, schema)})
        return Job(calls.ask, number, len(asked))

    def budget() -> Budget:
        """What this run has used, may use and has left: budget()["calls"]["left"]."""
        return Budget(calls.ask("budget", {}))

    functions = (
        llm_query,
        llm_query_batched,
        allm_query,
        llm_map,
        llm_start,
        budget,
    )
    return telling(functions)


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


def _query(prompt: Any, model: str | None, schema: Any) -> dict[str, Any]:
    return {"prompt": _text(prompt, "the prompt"), **_options(model, schema)}


def _options(model: str | None, schema: Any) -> dict[str, Any]:
    """The model to ask; what the answer is to look like only where that was said."""
    if schema is None:
        return {"model": model}
    from .shapes import written

    return {"model": model, "schema": written(schema)}


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return value


def _texts(values: Any) -> list[str]:
    if isinstance(values, str):
        raise TypeError("a batch takes a list of str; for one prompt use llm_query")
    return [_text(value, f"item {index} of the batch") for index, value in enumerate(values)]
