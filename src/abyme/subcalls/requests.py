"""What code may ask the host for, as it arrives: checked by type, since its author is hostile."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from abyme.context.handing import Handed
from abyme.errors import CallFailed
from abyme.inside.hits import cut_end

Shape = str | dict[str, Any] | None
"""What an answer must fit: an expression, a JSON schema, or nothing."""
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all requests."""


class LlmQuery(Asked, frozen=True):
    prompt: str
    model: str | None = None
    schema: Shape = None


class LlmQueryBatched(Asked, frozen=True):
    prompts: list[str]
    model: str | None = None
    schema: Shape = None


class LlmStart(Asked, frozen=True):
    prompts: list[str]
    model: str | None = None
    schema: Shape = None


class JobWait(Asked, frozen=True):
    """What is over of a job, but for the first ``after`` items that were.

    ``wait``: not at all, until ``any`` item more is over, until ``all`` are; at most ``seconds``.
    """

    job: Count
    after: Count
    wait: Literal["no", "any", "all"] = "no"
    seconds: Seconds | None = None


class JobCancel(Asked, frozen=True):
    job: Count
    after: Count


class RlmQuery(Asked, frozen=True, omit_defaults=True):
    """``insist``: also where the child would only do its parent's work once more."""

    question: str
    context: Handed | None = None
    model: str | None = None
    schema: Shape = None
    insist: bool = False

    @property
    def request(self) -> dict[str, Any]:
        """What its call is known by."""
        known: dict[str, Any] = msgspec.to_builtins(self)
        return known

    @property
    def size(self) -> int:
        """Characters that it holds."""
        pieces = () if self.context is None else self.context.pieces
        return len(self.question) + sum(len(piece.text) + len(piece.name) for piece in pieces)


class RlmQueryBatched(Asked, frozen=True):
    wanted: list[RlmQuery]


class RlmStart(Asked, frozen=True):
    wanted: list[RlmQuery]


class Budget(Asked, frozen=True):
    pass


REQUESTS: dict[str, type[Asked]] = {
    "llm_query": LlmQuery,
    "llm_query_batched": LlmQueryBatched,
    "llm_start": LlmStart,
    "job_wait": JobWait,
    "job_cancel": JobCancel,
    "rlm_query": RlmQuery,
    "rlm_query_batched": RlmQueryBatched,
    "rlm_start": RlmStart,
    "budget": Budget,
}
"""By the name of the call."""


def read(name: str, arguments: dict[str, object]) -> Asked:
    """The request. Raises :class:`CallFailed`: there is no such call, or its arguments are none."""
    if name not in REQUESTS:
        raise CallFailed(f"the host has no function {cut_end(name, 60)!r}")
    try:
        return msgspec.convert(arguments, REQUESTS[name])
    except ValueError as error:  # msgspec's, and a lone surrogate in a name
        raise CallFailed(f"{name}: {error}", "TypeError") from None
