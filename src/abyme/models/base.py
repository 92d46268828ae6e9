"""Who answers: the contract of a model, and the request it is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Literal, Protocol

import msgspec

from abyme.types import Message, Reply

OnText = Callable[[str], None]


class Request(msgspec.Struct, frozen=True, dict=True):
    """One request to a model.

    ``purpose``: ``root`` for the conversation that drives a REPL, ``sub`` for a call from code.
    ``max_tokens``: the most output tokens the reply may have; None leaves it to the endpoint.
    ``depth``: of the node whose conversation it is, 0 for the root's; no endpoint is told of it.
    """

    messages: tuple[Message, ...]
    purpose: Literal["root", "sub"] = "root"
    max_tokens: int | None = None
    depth: int = 0

    @cached_property
    def characters(self) -> int:
        """Characters of all messages together."""
        return sum(len(message.text) for message in self.messages)


class Model(Protocol):
    """A model that can be asked. An implementation makes *one attempt* a call and never retries.

    Retries, deadlines, reservations, concurrency and events are the caller's
    (:mod:`abyme.models.caller`), the same for every model.
    """

    @property
    def name(self) -> str:
        """As a user would write it: ``openai:gpt-5-mini``, ``scripted:replies.txt``, ``reader``."""

    @property
    def endpoint(self) -> str:
        """Models with equal endpoints share one account of concurrency; "" needs none."""

    @property
    def window(self) -> int:
        """Input tokens that fit, a cautious guess where the model is unknown."""

    @property
    def max_output(self) -> int:
        """The output tokens to ask for at most, where the caller does not say."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer ``request``. ``on_text`` is called with each piece of a streamed reply.

        Raises a :class:`~abyme.errors.ModelError`; cancelling it closes its connection.
        """

    async def close(self) -> None:
        """Release what the model holds. It may be asked again afterwards."""
