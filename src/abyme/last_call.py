"""A node that may take no more turns: one last call answers from what is known."""

from __future__ import annotations

import asyncio

from abyme.errors import (
    AbymeError,
    BudgetExceeded,
    DataError,
    JournalError,
    ModelError,
    WindowExceeded,
)
from abyme.events import LimitReached
from abyme.inside.shorten import shorten
from abyme.node import Ending, Node, ask, value_of
from abyme.types import Finish, Message

_LEAST_SHOWN = 300
"""Characters of a message that is cut; fewer say nothing."""
_JOINT = 2
"""Characters between two messages of the same role that are sent as one."""


async def conclude(node: Node, ended_by: AbymeError) -> Ending:
    """No more turns: one last call answers from what is known, where that can help.

    It cannot where the endpoint, the data, the worker or the journal failed: then the draft is
    all there is. Jobs that are under way are closed first: nobody could fetch what comes of them.
    """
    await node.repl.rest()
    if isinstance(ended_by, BudgetExceeded | WindowExceeded):
        limit = ended_by.limit if isinstance(ended_by, BudgetExceeded) else "window"
        node.tell(LimitReached(node.node, limit, str(ended_by)))
        finish = await last_answer(node, ended_by) if node.replied else None
        if finish is not None:
            return Ending("partial", finish, str(ended_by))
    advice = ended_by.advice if isinstance(ended_by, ModelError) else ""
    reason = f"{ended_by}; {advice}" if advice else str(ended_by)
    fatal = ended_by if isinstance(ended_by, JournalError | DataError) else None
    return Ending("partial" if node.replied else "failed", node.draft, reason, fatal)


async def last_answer(node: Node, ended_by: AbymeError) -> Finish | None:
    """The answer of the reserved last call; None where even that cannot be had."""
    best = node.draft.text
    node.add("user", node.dialect.final_request(ended_by.for_code, node.question, best))
    room = node.caller.sizing.last_characters(node.model)
    if isinstance(ended_by, WindowExceeded):  # the estimate was wrong; a token is no less
        room = min(room, node.model.window // 2)
    messages = without_middle(node.history, room)
    try:
        async with asyncio.timeout(node.time_left(final=True)):
            reply = await ask(node, "final", f"{node.node}/final{node.account.turns}", messages)
    except (ModelError, BudgetExceeded, TimeoutError):
        return None
    said = node.dialect.final_answer(reply.text)
    if said is None:
        if node.draft.text and node.dialect.cells(reply.text):
            return node.draft  # it went on to write code: what it had before is the better answer
        return Finish(reply.text, reply.text, "final")
    return await value_of(node, said) or (node.draft if node.draft.text else None)


def without_middle(history: list[Message], room: int) -> list[Message]:
    """The opening, the last message, and of those between as many of the last as fit.

    ``room``: characters for all of it. Of the first message that does not fit, its two ends.
    """
    opening, between, last = history[:2], history[2:-1], history[-1]
    room -= sum(len(message.text) + _JOINT for message in history)
    if room >= 0:
        return history
    room += sum(len(message.text) for message in between)
    kept: list[Message] = []
    for message in reversed(between):
        if room < _LEAST_SHOWN:
            break
        kept.append(Message(message.role, shorten(message.text, room)))
        room -= len(message.text)
    return [*opening, *reversed(kept), last]
