"""READ FIRST: one node of the recursion, from question to answer, in named steps.

A node is a question, a REPL that holds its data, and a conversation with a model that drives the
REPL. :func:`take_turns` is the whole method; :func:`run_node` adds that there is always an answer.

A run that goes on from its journal takes the same steps from the start: what its ``tape`` has is
taken from there, and nothing is asked or told a second time (:mod:`abyme.journal.tape`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator

from abyme.dialects.base import MOST_REMINDERS, TurnReport
from abyme.dialects.finish import Accepted, Held, Rejected, Verdict
from abyme.errors import AbymeError, BudgetExceeded
from abyme.events import FinishHeld, TurnEnded
from abyme.last_call import conclude
from abyme.node import Ending, Node, ask, turn_key, value_of
from abyme.repl import CellsRun
from abyme.types import CellResult, Finish, Reply


async def run_node(node: Node) -> Ending:
    """Let the node's model work until it answers or something ends its work.

    ``node.repl`` has been entered. Raises nothing that befalls a run; :class:`JournalError` and
    ``DataChanged`` too become an outcome. Cancelling it leaves ``node.draft``.
    """
    try:
        async with asyncio.timeout(node.time_left()):
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


def _time_is_up(node: Node) -> BudgetExceeded:
    try:
        node.account.check_time()
    except BudgetExceeded as error:
        return error
    return BudgetExceeded("max_seconds", "max_seconds: the time of this run is used")
