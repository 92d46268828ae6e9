"""One node of the recursion: what it works with, how far it has come, how it asks its model.

What is done with it is :mod:`abyme.loop`; where it may take no more turns, :mod:`abyme.last_call`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from abyme.dialects.base import Dialect, Opening, TurnStatus
from abyme.dialects.finish import FinishRule
from abyme.dialects.prose import ProseFinish
from abyme.errors import AbymeError
from abyme.events import CallKind, DataMeasured, Emit, Event, MessageAdded
from abyme.journal.conversation import Conversation
from abyme.ledger import Account
from abyme.models.base import Model, OnText, Request
from abyme.models.caller import Caller
from abyme.models.sizing import MOST_HELD
from abyme.repl import NodeRepl
from abyme.types import Finish, Message, Reply, Role

_COUNTED = {
    "turns": "turns",
    "seconds": "time",
    "calls": "calls",
    "tokens": "tokens",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "cost": "dollars",
}
"""What a model is told that each kind of limit counts."""

_GROWS = 16_000
"""Characters of a reply and of the message about its cells, nearly always: what a root has learned
last is kept for when its last call is paid for. A child's is not: 20 of them would keep from each
other what they need to work. Its last call leaves out what there is no room for."""


class Ending(msgspec.Struct, frozen=True):
    """How a node ended, before costs and quotes are added to make it an answer."""

    status: Literal["complete", "partial", "failed"]
    finish: Finish
    reason: str = ""
    fatal: AbymeError | None = None
    """What ends the whole run: its journal cannot be written, or its data is not what it was."""


class Node:
    """One node: what it is asked, what it works with, and how far it has come.

    ``introduce`` looks at the data and makes the opening of it; it runs while the worker starts.
    """

    def __init__(
        self,
        node: str,
        question: str,
        introduce: Callable[[TurnStatus], Awaitable[Opening]],
        *,
        model: Model,
        dialect: Dialect,
        repl: NodeRepl,
        caller: Caller,
        account: Account,
        emit: Emit,
        tape: Conversation,
        priced: bool = True,
        recursion: bool = False,
        misfit: Callable[[Finish], str] | None = None,
        on_text: Callable[[str], OnText] | None = None,
    ) -> None:
        self.node = node
        self.question = question
        self.introduce = introduce
        self.model = model
        self.dialect = dialect
        self.repl = repl
        self.caller = caller
        self.account = account
        self.emit = emit
        self.tape = tape
        self.priced = priced
        self.recursion = recursion
        self.on_text = on_text
        self.history: list[Message] = []
        self.rule = FinishRule(misfit)
        self.replied = False
        self.said = Finish("", "", "draft")
        """The last text that could pass for an answer although nothing was handed over."""
        self.measured: DataMeasured | None = None
        """Exact sizes of the data, to be told once where estimates were shown before."""

    def add(self, role: Role, text: str) -> None:
        """Lengthen the history, which only ever grows: a provider's prefix cache then holds."""
        message = self.tape.message(len(self.history), role)
        if message is None:
            message = Message(role, text)
            self.emit(MessageAdded(self.node, len(self.history), role, text))
        self.history.append(message)

    def tell(self, fact: Event) -> None:
        """Tell what has come of a turn, unless that was told before."""
        if not self.tape.has(fact):
            self.emit(fact)

    @property
    def went_on(self) -> bool:
        """Whether the turn that is over now was not the last one, when it was first made."""
        return self.tape.went_on(len(self.history))

    @property
    def draft(self) -> Finish:
        """The best answer so far: one that was handed over, else what was said last."""
        return self.rule.draft or self.said

    def time_left(self, *, final: bool = False) -> float | None:
        """Seconds until its time is up, None without a limit; ``final``: the last call's."""
        seconds = self.account.seconds_left(final=final)
        return None if seconds == float("inf") else max(0.0, seconds)

    def status(self) -> TurnStatus:
        """What the status line of the next message says."""
        status = turn_status(self.account.snapshot(), priced=self.priced)
        return msgspec.structs.replace(status, recursion=self.recursion)


def turn_key(node: Node, turn: int) -> str:
    """The key of the call that makes the reply of a turn."""
    return f"{node.node}/turn{turn}"


async def ask(node: Node, kind: CallKind, key: str, messages: list[Message]) -> Reply:
    """One reply of the node's model to ``messages``, added to the history."""
    reply = node.tape.reply(key) or await call(node, kind, key, messages)
    node.replied = True
    node.add("assistant", reply.text)
    return reply


async def call(node: Node, kind: CallKind, key: str, messages: list[Message]) -> Reply:
    """Ask the node's model.

    What the last call would cost is kept back first, so that no other call can spend it.
    """
    await node.repl.caught_up()
    final = kind == "final"
    most = MOST_HELD if final else None
    request = Request(merged(messages), max_tokens=most, depth=node.node.count("."))
    if not final:
        grows = 0 if request.depth else _GROWS
        node.account.hold(node.caller.sizing.last_call(node.model, request, grows=grows))
    return await node.caller.call(
        node.model,
        request,
        key=key,
        node=node.node,
        cell=0,
        kind=kind,
        final=final,
        on_text=node.on_text(key) if node.on_text else None,
    )


def merged(messages: list[Message]) -> tuple[Message, ...]:
    """The messages with neighbours of one role as one: strict chat templates want them to change.

    Only the last request has such neighbours, so the prefix that providers cache stays the same.
    """
    kept: list[Message] = []
    for message in messages:
        if kept and kept[-1].role == message.role:
            kept[-1] = Message(message.role, f"{kept[-1].text}\n\n{message.text}")
        else:
            kept.append(message)
    return tuple(kept)


async def value_of(node: Node, said: ProseFinish) -> Finish | None:
    """What ``FINAL(...)`` or ``FINAL_VAR(...)`` hands over; a variable only where it exists."""
    if said.variable:
        return await node.repl.look(said.variable)
    return Finish(said.value, said.text, said.via)


def turn_status(budget: dict[str, Any], *, priced: bool) -> TurnStatus:
    """The status line's figures, of :meth:`abyme.ledger.Account.snapshot`.

    Where a price is not known, nothing is said of dollars: their limit cannot bind.
    """
    turns, seconds, calls, cost = (budget[kind] for kind in ("turns", "seconds", "calls", "cost"))
    return TurnStatus(
        turn=turns["used"] + 1,
        max_turns=turns["limit"],
        seconds_used=seconds["used"],
        seconds_left=seconds["left"],
        calls_used=calls["used"],
        calls_left=calls["left"],
        calls_under_way=calls["reserved"],
        cost_used=cost["used"] if priced else None,
        cost_left=cost["left"],
        cost_set_aside=cost["reserved"] if priced else 0.0,
        shares=tuple(
            (what, budget[kind]["share"])
            for kind, what in _COUNTED.items()
            if budget[kind]["share"] is not None and (priced or kind != "cost")
        ),
    )
