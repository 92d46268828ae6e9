"""READ FIRST: one node of the recursion, from question to answer, in named steps.

A node is a question, a REPL that holds its data, and a conversation with a model that drives the
REPL. :func:`take_turns` is the whole method; :func:`run_node` adds that there is always an answer.

A run that goes on from its journal takes the same steps from the start: what its ``tape`` has is
taken from there, and nothing is asked or told a second time (:mod:`abyme.journal.tape`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Literal

import msgspec

from abyme.dialects.base import MOST_REMINDERS, Dialect, Opening, TurnReport, TurnStatus
from abyme.dialects.finish import Accepted, FinishRule, Held, Rejected, Verdict
from abyme.dialects.prose import ProseFinish
from abyme.errors import (
    AbymeError,
    BudgetExceeded,
    DataError,
    JournalError,
    ModelError,
    WindowExceeded,
)
from abyme.events import (
    CallKind,
    DataMeasured,
    Emit,
    Event,
    FinishHeld,
    LimitReached,
    MessageAdded,
    TurnEnded,
)
from abyme.inside.shorten import shorten
from abyme.journal.conversation import Conversation
from abyme.ledger import Account
from abyme.models.base import Model, OnText, Request
from abyme.models.caller import Caller
from abyme.models.sizing import MOST_HELD
from abyme.repl import CellsRun, NodeRepl
from abyme.types import CellResult, Finish, Message, Reply, Role

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
_LEAST_SHOWN = 300
"""Characters of a message that is cut; fewer say nothing."""
_JOINT = 2
"""Characters between two messages of the same role that are sent as one."""


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

    def status(self) -> TurnStatus:
        """What the status line of the next message says."""
        status = turn_status(self.account.snapshot(), priced=self.priced)
        return msgspec.structs.replace(status, recursion=self.recursion)


async def run_node(node: Node) -> Ending:
    """Let the node's model work until it answers or something ends its work.

    ``node.repl`` has been entered. Raises nothing that befalls a run; :class:`JournalError` and
    ``DataChanged`` too become an outcome. Cancelling it leaves ``node.draft``.
    """
    try:
        async with asyncio.timeout(_finite(node.account.seconds_left())):
            return await node.repl.unless_refused(take_turns(node))
    except TimeoutError:
        ended_by: AbymeError = _time_is_up(node)
    except AbymeError as error:
        ended_by = error
    return await conclude(node, ended_by)


async def take_turns(node: Node) -> Ending:
    """The method: ask, run the code, show what came of it, until an answer stands."""
    for message in node.dialect.opening(await node.introduce(node.status())):
        node.add(message.role, message.text)
    silent = 0
    while True:
        turn = start_turn(node)
        reply = await ask(node, "root", turn_key(node, turn), node.history)
        codes = node.dialect.cells(reply.text, cut=reply.cut)
        if codes:
            silent = 0
            ran = await unless_overrun(node, node.repl.run_cells(turn, codes))
            verdict = judge(node, turn, codes, ran.results)
            told = report(node, reply, codes, ran, verdict)
        else:
            silent += 1
            verdict = await hear(node, reply)
            told = remind(node, reply, silent)
        node.tell(TurnEnded(node.node, turn))
        if isinstance(verdict, Accepted) and not node.went_on:
            return Ending("complete", verdict.finish)
        if silent >= MOST_REMINDERS and not node.went_on:
            reason = f"the model replied {MOST_REMINDERS} times in a row without code"
            return Ending("partial", node.draft, reason)
        node.add("user", told)


async def unless_overrun(node: Node, work: Coroutine[object, object, CellsRun]) -> CellsRun:
    """What the cells come to; they are given up once more was spent than a limit allows.

    The ledger refuses what would pass a limit. This is for calls that cost more than was reserved
    for them: then all that is in flight is cancelled, and the last call gets what is left.
    Raises :class:`BudgetExceeded` then.
    """
    task, overrun = asyncio.create_task(work), asyncio.create_task(node.account.overrun())
    try:
        await asyncio.wait((task, overrun), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise overrun.result()
        return await task
    finally:
        for each in (task, overrun):
            each.cancel()
        await asyncio.gather(task, overrun, return_exceptions=True)


def start_turn(node: Node) -> int:
    """Begin the next turn; its number. Raises :class:`BudgetExceeded`."""
    key = turn_key(node, node.account.turns + 1)
    return node.account.start_turn(recorded=node.tape.has_reply(key))


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


def judge(
    node: Node, turn: int, codes: tuple[str, ...], results: tuple[CellResult, ...]
) -> Verdict | None:
    """Whether these cells handed over an answer, and whether it stands."""
    drafts = [result.draft for result in results if result.draft]
    if drafts:
        node.said = Finish(drafts[-1], drafts[-1], "draft")
    handed = [result.finish for result in results if result.finish is not None]
    verdict = node.rule.judge(codes, results, handed[-1] if handed else None)
    if isinstance(verdict, Held):
        node.tell(FinishHeld(node.node, turn, verdict.finish.text))
    return verdict


async def hear(node: Node, reply: Reply) -> Verdict | None:
    """An answer given as prose, in a reply without code."""
    node.said = Finish(reply.text, reply.text, "draft")
    said = node.dialect.prose_finish(reply.text)
    finish = None if said is None or node.went_on else await value_of(node, said)
    return None if finish is None else node.rule.judge((), (), finish)


async def value_of(node: Node, said: ProseFinish) -> Finish | None:
    """What ``FINAL(...)`` or ``FINAL_VAR(...)`` hands over; a variable only where it exists."""
    if said.variable:
        return await node.repl.look(said.variable)
    return Finish(said.value, said.text, said.via)


def remind(node: Node, reply: Reply, silent: int) -> str:
    """The message after a reply without code that was no answer either."""
    notes = list(cut_notes(node, reply))
    said = node.dialect.prose_finish(reply.text)
    if said is not None and said.variable:
        said_so = f"{said.via}({said.text}) is no answer"
        notes.append(f"{said_so}: the REPL has no variable {said.variable!r}.")
    if not notes:
        return node.dialect.reminder(silent, node.question, node.status())
    return node.dialect.turn_message(
        TurnReport(
            question=node.question,
            status=node.status(),
            cells=0,
            results=(),
            jobs=tuple(node.repl.jobs()),
            notes=tuple(notes),
        )
    )


def cut_notes(node: Node, reply: Reply) -> Iterator[str]:
    """What to say of a reply that ended at its token limit."""
    if reply.cut:
        yield (
            f"Your reply was cut at its limit of about {node.model.max_output:,} tokens; a block "
            "that it left open was not run. Keep replies shorter."
        )


def report(
    node: Node, reply: Reply, codes: tuple[str, ...], ran: CellsRun, verdict: Verdict | None
) -> str:
    """The message that ends the turn: what came of the cells, the question, the status."""
    measured, node.measured = node.measured, None
    notes = list(cut_notes(node, reply))
    if node.dialect.prose_finish(reply.text) is not None:
        notes.append("FINAL outside a block is no answer beside code: call it in a block.")
    return node.dialect.turn_message(
        TurnReport(
            question=node.question,
            status=node.status(),
            cells=len(codes),
            results=ran.results,
            first=ran.first,
            note=verdict.message if isinstance(verdict, Held | Rejected) else "",
            measured=measured,
            restored=ran.restored,
            jobs=tuple(node.repl.jobs()),
            notes=tuple(notes),
        )
    )


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
        async with asyncio.timeout(_finite(node.account.seconds_left(final=True))):
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


def _time_is_up(node: Node) -> BudgetExceeded:
    try:
        node.account.check_time()
    except BudgetExceeded as error:
        return error
    return BudgetExceeded("max_seconds", "max_seconds: the time of this run is used")


def _finite(seconds: float) -> float | None:
    return None if seconds == float("inf") else max(0.0, seconds)
