"""What code may ask the host for, as it arrives: checked by type, since its author is hostile."""

from __future__ import annotations

import msgspec

from abyme.context.handing import Asked as Context
from abyme.errors import CallFailed
from abyme.inside.hits import cut_end


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all requests."""


class LlmQuery(Asked, frozen=True):
    prompt: str
    model: str | None = None


class LlmQueryBatched(Asked, frozen=True):
    prompts: list[str]
    model: str | None = None


class RlmQuery(Asked, frozen=True, omit_defaults=True):
    """``insist``: also where the child would only do its parent's work once more."""

    question: str
    context: Context | None = None
    model: str | None = None
    insist: bool = False


class RlmQueryBatched(Asked, frozen=True):
    wanted: list[RlmQuery]


class Budget(Asked, frozen=True):
    pass


REQUESTS: dict[str, type[Asked]] = {
    "llm_query": LlmQuery,
    "llm_query_batched": LlmQueryBatched,
    "rlm_query": RlmQuery,
    "rlm_query_batched": RlmQueryBatched,
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
