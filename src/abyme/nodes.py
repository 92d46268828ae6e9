"""The nodes of one run: how each comes to its worker, its calls and its account."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from abyme.context.handing import SMALL, Documents, Handing, NodeData
from abyme.dialects.base import Opening, TurnStatus
from abyme.dialects.messages import Fenced
from abyme.errors import AbymeError, BudgetExceeded, CallFailed, JournalError
from abyme.events import CallRefused, Emit, NodeEnded, NodeStarted
from abyme.inside.hits import cut_end
from abyme.inside.schema import Misfit, Schema
from abyme.journal.blobs import Blobs
from abyme.journal.conversation import Conversation
from abyme.journal.node_tape import NodeTape
from abyme.journal.outcomes import Outcomes
from abyme.journal.tape import Tape
from abyme.ledger import Account, Amount
from abyme.ledger.amounts import KINDS
from abyme.loop import Node, Outcome, run_node
from abyme.models.base import Model, OnText
from abyme.models.caller import Caller
from abyme.models.estimator import TokenEstimator
from abyme.models.scheduler import Scheduler
from abyme.node_worker import Place
from abyme.opening import opening
from abyme.repl import NodeRepl
from abyme.sandbox.base import Workers
from abyme.spec import RunSpec
from abyme.subcalls.caching import CallCache
from abyme.subcalls.children import Birth, challenge
from abyme.subcalls.router import Router
from abyme.subcalls.typed import value_of
from abyme.threads import aside
from abyme.types import Finish

_log = logging.getLogger("abyme")

_OPENING = 6_000
"""Characters of a child's opening, about, beside its question."""
_DRAFT_SHOWN = 300
_LEAST_CALLS = 2
"""Of a child: one to begin with, and its last one, which is kept back."""
ASKED_FOR = "Hand over, by FINAL(value), a Python value that fits this JSON schema:\n{}"
"""What a child is told of the type that its answer must have."""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What all runs of a process have in common."""

    scheduler: Scheduler
    estimator: TokenEstimator


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """A node with all that it works with."""

    started: NodeStarted
    model: Model
    handing: Handing
    account: Account
    caller: Caller
    repl: NodeRepl
    tape: NodeTape


class Nodes:
    """Those of one run.

    ``recorded`` reads the outcomes of all calls so far from the journal. ``tape``: what was there
    before, where the run goes on. ``listens``: somebody wants what cells print while
    they run. With a ``cache`` equal sub-calls are made once.
    """

    def __init__(
        self,
        spec: RunSpec,
        shared: Shared,
        emit: Emit,
        *,
        tape: Tape,
        documents: Documents,
        workers: Workers,
        recorded: Callable[[], Outcomes],
        blobs: Blobs,
        listens: bool,
        cache: CallCache | None,
    ) -> None:
        self._spec = spec
        self._cache = cache
        self._shared = shared
        self._emit = emit
        self._tape = tape
        self._documents = documents
        self._workers = workers
        self._recorded = recorded
        self._blobs = blobs
        self._listens = listens
        self._born: defaultdict[str, int] = defaultdict(int)
        """The last number that a child of a node was given; one given up has left a gap."""
        for node in (each.started for each in tape.nodes.values()):
            if node is not None and node.depth:
                number = int(node.node.rpartition(".")[2])
                self._born[node.parent] = max(number, self._born[node.parent])

    def root(self, started: NodeStarted, account: Account) -> Live:
        """The root, whose REPL is to be entered."""
        caller = Caller(
            account,
            self._shared.scheduler,
            self._emit,
            account.limits,
            estimator=self._shared.estimator,
            price_of=self._spec.price_of,
        )
        data = self._documents.root
        return self._live(started, self._spec.model, data, account, caller, self._tape.root)

    def node(
        self,
        live: Live,
        conversation: Conversation,
        introduce: Callable[[TurnStatus], Awaitable[Opening]],
        *,
        on_text: Callable[[str], OnText] | None = None,
        schema: Schema | None = None,
    ) -> Node:
        """The node as its loop takes it, for one question."""
        return Node(
            live.started.node,
            conversation.question,
            introduce,
            model=live.model,
            dialect=Fenced(),
            repl=live.repl,
            caller=live.caller,
            account=live.account,
            emit=self._emit,
            tape=conversation,
            priced=self._spec.priced,
            recursion=self._may_recurse(live.started.depth),
            on_text=on_text,
            misfit=None if schema is None else partial(misfit, schema),
        )

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
        return self._live(started, model, data, account, parent.caller.child(account), tape)

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
            return parent.caller.entry(model, _OPENING + len(birth.question), least=least)

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
        for kind in KINDS:
            room = account.room_for(kind)
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
            estimator, data = self._shared.estimator, live.handing.data.data
            question = started.question
            if schema is not None:
                question = f"{question}\n\n{ASKED_FOR.format(schema.text)}"
            small = live.handing.data.text_bytes <= SMALL and len(data.documents) == 1
            opened, _ = await aside(
                not small, opening, self._spec, data, status, estimator, question
            )
            return opened

        node = self.node(live, conversation, introduce, schema=schema)
        try:
            async with live.repl:
                try:
                    outcome = await run_node(node)
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
        if outcome.status == "complete":
            value = outcome.finish.text if schema is None else _typed(outcome.finish, schema)
            return self._end(live, node, "complete", "", outcome, value)
        if outcome.fatal is not None:
            with contextlib.suppress(JournalError):
                self._end(live, node, outcome.status, outcome.reason, outcome)
            raise outcome.fatal
        return self._end(live, node, outcome.status, outcome.reason, outcome)

    def _end(
        self,
        live: Live,
        node: Node,
        status: Any,
        reason: str,
        outcome: Outcome | None = None,
        value: Any = None,
    ) -> NodeEnded:
        """Close its account and tell what it came to."""
        finish = node.draft if outcome is None else outcome.finish
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

    # -- what they are made of -----------------------------------------------------------------

    def _live(
        self,
        started: NodeStarted,
        model: Model,
        data: NodeData,
        account: Account,
        caller: Caller,
        tape: NodeTape,
    ) -> Live:
        spec, handing = self._spec, Handing(self._documents, data)
        goes_on = spec.goes_on
        offered: dict[str | None, Model] = {each.name: each for each in spec.models}
        offered[None] = spec.sub_model

        async def spawn(birth: Birth) -> Any:
            return await self.spawn(live, birth)

        router = Router(
            started.node,
            caller,
            account,
            offered,
            spec.tools,
            self._emit,
            self._listens,
            handing,
            spawn if self._may_recurse(started.depth) else None,
            self._cache,
        )
        place = Place(
            spec.sandbox.name,
            self._workers,
            data.data,
            tuple(tool.description for tool in spec.tools.values()),
            started.seed,
            spec.limits.cell_seconds,
        )
        repl = NodeRepl(
            started.node,
            place,
            router,
            self._emit,
            self._recorded,
            self._blobs,
            tape,
            checkpoints=not spec.redact,
            accept_different=goes_on is not None and goes_on.accept_different,
        )
        live = Live(
            started=started,
            model=model,
            handing=handing,
            account=account,
            caller=caller,
            repl=repl,
            tape=tape,
        )
        return live

    def _may_recurse(self, depth: int) -> bool:
        """Whether a node of this depth may have children; else its questions are plain calls."""
        return depth + 1 < self._spec.limits.max_depth

    def _model(self, depth: int, name: str | None) -> Model:
        if name is None:
            return self._spec.model_at(depth)
        for model in self._spec.models:
            if model.name == name:
                return model
        known = ", ".join(sorted({model.name for model in self._spec.models}))
        raise CallFailed(f"model {cut_end(name, 60)!r} is not offered here; there is {known}")


def misfit(schema: Schema, finish: Finish) -> str:
    """Why an answer is not of the type that was asked for, for the model; "" where it is."""
    try:
        _typed(finish, schema)
    except Misfit as error:
        return f"it does not fit the schema that was asked for: {error}. Hand over one that fits."
    return ""


def _typed(finish: Finish, schema: Schema) -> Any:
    """The value of an answer, or what its text says as JSON. Raises :class:`Misfit`."""
    try:
        schema.check(finish.value)
    except Misfit:
        if not isinstance(finish.value, str):
            raise
        return value_of(finish.value, schema)
    return finish.value


def _reason(node: str, error: Exception) -> str:
    if isinstance(error, AbymeError):
        return str(error)
    _log.error("node %s", node, exc_info=error)
    return f"a fault in Abyme itself: {type(error).__name__}: {error}"
