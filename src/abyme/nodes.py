"""The nodes of one run: the root, and children, from the call that wants one to what it came to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import defaultdict
from typing import Any

from abyme.context.handing import SMALL, NodeData
from abyme.dialects.base import Opening, TurnStatus
from abyme.errors import AbymeError, BudgetExceeded, CallFailed, JournalError
from abyme.events import CallRefused, NodeEnded, NodeStarted
from abyme.inside.hits import cut_end
from abyme.inside.schema import Schema
from abyme.journal.node_tape import NodeTape
from abyme.journal.tape import Tape
from abyme.ledger import Account, Amount
from abyme.loop import run_node
from abyme.models.base import Model
from abyme.node import Ending, Node
from abyme.opening import opening
from abyme.subcalls.children import Birth, challenge
from abyme.subcalls.typed import typed
from abyme.threads import aside
from abyme.wiring import Live, Wiring

_log = logging.getLogger("abyme")

_OPENING = 6_000
"""Characters of a child's opening, about, beside its question."""
_DRAFT_SHOWN = 300
_LEAST_CALLS = 2
"""Of a child: one to begin with, and its last one, which is kept back."""
ASKED_FOR = "Hand over, by FINAL(value), a Python value that fits this JSON schema:\n{}"
"""What a child is told of the type that its answer must have."""


class Nodes:
    """Those of one run. ``tape``: what there was before, where the run goes on."""

    def __init__(self, wiring: Wiring, tape: Tape) -> None:
        self._wiring = wiring
        self._tape = tape
        self._spec = wiring.spec
        self._emit = wiring.emit
        self._born: defaultdict[str, int] = defaultdict(int)
        """The last number that a child of a node was given; one given up has left a gap."""
        for node in (each.started for each in tape.nodes.values()):
            if node is not None and node.depth:
                number = int(node.node.rpartition(".")[2])
                self._born[node.parent] = max(number, self._born[node.parent])

    def root(self, started: NodeStarted, account: Account) -> Live:
        """The root, whose REPL is to be entered."""
        wiring = self._wiring
        caller, data = wiring.caller(account), wiring.documents.root
        tape, model = self._tape.root, self._spec.model
        return wiring.live(started, model, data, account, caller, tape, self.spawn)

    # -- children ------------------------------------------------------------------------------

    async def spawn(self, parent: Live, birth: Birth) -> Any:
        """Let a child of ``parent`` work: its value, which is a text unless another was asked for.

        One that was at work when its run was left goes on. Raises :class:`CallFailed` where it
        ends without a whole answer, :class:`BudgetExceeded` where it cannot begin, and what ends
        the run.
        """
        try:
            live = await self._born_of(parent, birth)
        except (CallFailed, BudgetExceeded) as error:
            self._refuse(parent, birth, error)
            raise
        try:
            ended = await self._let_work(live, birth.schema)
        finally:
            live.account.close()
        if ended.status == "complete":
            return ended.value
        raise CallFailed(ended.error, ended.error_type, ended.details)

    async def _born_of(self, parent: Live, birth: Birth) -> Live:
        """The child with all that it needs; told of, unless it was before."""
        model = self._model(parent.started.depth + 1, birth.model)
        before = self._tape.by_key.get(birth.key)
        if before is None or before.started is None or before.started.given is None:
            self._check_room(parent, birth)
            data = await parent.handing.over(birth.context)
            await self._check(parent, birth, data)
            account = await self._admitted(parent, birth, model)
            try:
                tape, started = NodeTape(""), self._start(parent, birth, data, model, account.node)
            except BaseException:
                account.close()
                raise
        else:
            tape, started = before, before.started
            data = parent.handing.again(before.started.given)
            account = await self._admitted(parent, birth, model, before)
        caller, wiring = parent.caller.child(account), self._wiring
        return wiring.live(started, model, data, account, caller, tape, self.spawn)

    async def _admitted(
        self, parent: Live, birth: Birth, model: Model, before: NodeTape | None = None
    ) -> Account:
        """The account of a child, once there is room for it; ``before``: what it did then."""
        above = parent.started.node

        def name() -> str:
            if before is not None and before.started is not None:
                return before.started.node
            self._born[above] += 1
            return f"{above}.{self._born[above]}"

        def entry(least: bool) -> tuple[Amount, Amount]:
            return parent.caller.sizing.entry(model, _OPENING + len(birth.question), least=least)

        spent = None if before is None else self._tape.spent_below(before)
        return await parent.account.admit(name, entry, spent=spent)

    def _start(
        self, parent: Live, birth: Birth, data: NodeData, model: Model, node: str
    ) -> NodeStarted:
        above = parent.started
        started = NodeStarted(
            node=node,
            parent=above.node,
            depth=above.depth + 1,
            question=birth.question,
            seed=secrets.randbits(32),
            key=birth.key,
            model=model.name,
            given=data.given,
        )
        self._emit(started)
        return started

    def _check_room(self, parent: Live, birth: Birth) -> None:
        """Raise :class:`CallFailed` for a child that could make no call at all."""
        account = parent.account
        for kind, room in account.rooms().items():
            if room <= 0 or (kind == "calls" and room < _LEAST_CALLS):
                error = account.too_little(kind, "a child could make no call")
                raise CallFailed(error.for_code, error.kind)

    async def _check(self, parent: Live, birth: Birth, data: NodeData) -> None:
        """Raise :class:`CallFailed` for a child that would only do its parent's work again."""
        if birth.insist:
            return
        question, asked = parent.started.question, birth.question
        have = parent.handing.data
        if why := await aside(len(asked) > SMALL, challenge, have, question, data, asked):
            raise CallFailed(why, "ChildRefused")

    def _refuse(self, parent: Live, birth: Birth, error: CallFailed | BudgetExceeded) -> None:
        """A child that ``parent`` asked for does not begin: told, so that nobody waits for it."""
        why = error.for_code if isinstance(error, BudgetExceeded) else str(error)
        node = parent.started.node
        self._emit(CallRefused(birth.key, node, birth.cell, "rlm_query", why, error.kind))

    async def _let_work(self, live: Live, schema: Schema | None) -> NodeEnded:
        """Its work from beginning to end, and what came of it, told."""
        started = live.started
        conversation = live.tape.conversation
        conversation.question = started.question

        async def introduce(status: TurnStatus) -> Opening:
            estimator, data = self._wiring.shared.estimator, live.handing.data.data
            question = started.question
            if schema is not None:
                question = f"{question}\n\n{ASKED_FOR.format(schema.text)}"
            small = live.handing.data.text_bytes <= SMALL and len(data.documents) == 1
            opened, _ = await aside(
                not small, opening, self._spec, data, status, estimator, question
            )
            return opened

        node = self._wiring.node(live, conversation, introduce, schema=schema)
        try:
            async with live.repl:
                try:
                    ending = await run_node(node)
                except asyncio.CancelledError:
                    await live.repl.abandon()
                    raise
                finally:
                    await live.repl.rest()
        except asyncio.CancelledError:
            with contextlib.suppress(JournalError):
                self._end(live, node, "cancelled", "nobody waits for it any more")
            raise
        except JournalError:
            raise
        except Exception as error:
            return self._end(live, node, "failed", _reason(started.node, error))
        if ending.status == "complete":
            value = ending.finish.text if schema is None else typed(ending.finish, schema)
            return self._end(live, node, "complete", "", ending, value)
        if ending.fatal is not None:
            with contextlib.suppress(JournalError):
                self._end(live, node, ending.status, ending.reason, ending)
            raise ending.fatal
        return self._end(live, node, ending.status, ending.reason, ending)

    def _end(
        self,
        live: Live,
        node: Node,
        status: Any,
        reason: str,
        ending: Ending | None = None,
        value: Any = None,
    ) -> NodeEnded:
        """Close its account and tell what it came to."""
        finish = node.draft if ending is None else ending.finish
        live.account.close()
        complete = status == "complete"
        error = "" if complete else f"child {live.started.node} ended {status}: {reason}"
        if not complete and finish.text:
            error += f". Its draft: {cut_end(finish.text, _DRAFT_SHOWN)}"
        ended = NodeEnded(
            node=live.started.node,
            key=live.started.key,
            status=status,
            text=finish.text,
            value=value,
            error=error,
            error_type="" if complete else "ChildFailed",
            usage=live.account.usage,
            cost=live.account.cost,
            seconds=round(live.account.seconds, 6),
            turns=live.account.turns,
        )
        self._emit(ended)
        return ended

    def _model(self, depth: int, name: str | None) -> Model:
        if name is None:
            return self._spec.model_at(depth)
        for model in self._spec.models:
            if model.name == name:
                return model
        known = ", ".join(sorted({model.name for model in self._spec.models}))
        raise CallFailed(f"model {cut_end(name, 60)!r} is not offered here; there is {known}")


def _reason(node: str, error: Exception) -> str:
    if isinstance(error, AbymeError):
        return str(error)
    _log.error("node %s", node, exc_info=error)
    return f"a fault in Abyme itself: {type(error).__name__}: {error}"
