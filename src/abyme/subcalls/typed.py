"""Answers that must fit a schema: how they are asked for, and how a reply is read."""

from __future__ import annotations

from typing import Any

from abyme.errors import CallFailed
from abyme.inside.replies import read_reply
from abyme.inside.schema import Misfit, Schema, SchemaRefused
from abyme.inside.shapes import schema_of
from abyme.inside.shorten import shorten
from abyme.types import Finish

_SHOWN = 2_000
"""Characters of a reply that does not fit which the code and the model are shown again."""


def read_schema(shape: str | dict[str, Any] | None) -> Schema | None:
    """The schema that code asked for. Raises :class:`CallFailed` where it is none of ours."""
    if shape is None:
        return None
    try:
        return schema_of(shape)
    except SchemaRefused as error:
        raise CallFailed(str(error), "ValueError") from None


def asking_for(prompt: str, schema: Schema) -> str:
    """``prompt`` with a word on what the answer is to look like."""
    return (
        f"{prompt}\n\nAnswer with JSON alone, no prose around it, that fits this JSON schema:\n"
        f"{schema.text}"
    )


def asking_again(prompt: str, reply: str, error: Misfit) -> str:
    """The same after a reply that did not fit; ``prompt`` is that of :func:`asking_for`."""
    return (
        f"{prompt}\n\nAn earlier answer to this did not fit: {shorten(str(error), 500)}. It was:\n"
        f"«{shorten(reply, _SHOWN)}»\nAnswer again, with JSON alone that fits the schema."
    )


def does_not_fit(reply: str, error: Misfit) -> CallFailed:
    """What the code is told when the second reply does not fit either."""
    why = shorten(str(error), 500)
    return CallFailed(
        f"the reply does not fit the schema: {why}; it was: «{shorten(reply, _SHOWN)}»",
        "SchemaError",
    )


def misfit(schema: Schema, finish: Finish) -> str:
    """Why an answer is not of the type that was asked for, for the model; "" where it is."""
    try:
        typed(finish, schema)
    except Misfit as error:
        return f"it does not fit the schema that was asked for: {error}. Hand over one that fits."
    return ""


def typed(finish: Finish, schema: Schema) -> Any:
    """The value of an answer, or what its text says as JSON. Raises :class:`Misfit`."""
    try:
        schema.check(finish.value)
    except Misfit:
        if not isinstance(finish.value, str):
            raise
        return read_reply(finish.value, schema)
    return finish.value
