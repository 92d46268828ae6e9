"""What was asked before in a session: in short for the next conversation, whole for its REPL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from abyme.dialects.base import Earlier
from abyme.journal.conversation import Exchange


def in_short(exchange: Exchange) -> Earlier:
    """What the next conversation is told of it."""
    answer = exchange.answer
    if answer is None:
        return Earlier(exchange.question, "")
    short_of = "" if answer.status == "complete" else answer.reason or answer.status
    return Earlier(exchange.question, answer.text, short_of)


def history(exchanges: Sequence[Exchange], *, messages: bool = True) -> dict[str, Any]:
    """What the REPL has of what was asked before; ``messages``: those of the conversations too."""
    return {"history": [_whole(exchange, messages) for exchange in exchanges]}


def _whole(exchange: Exchange, messages: bool) -> dict[str, Any]:
    answer = exchange.answer
    return {
        "question": exchange.question,
        "answer": None if answer is None else answer.value,
        "text": "" if answer is None else answer.text,
        "messages": [{"role": m.role, "text": m.text} for m in exchange.messages if messages],
    }
