"""What the nodes of a run are made of: each with its worker, its calls, its account, its data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from abyme.context.handing import Documents, Handing, NodeData
from abyme.dialects.base import Opening, TurnStatus
from abyme.dialects.messages import Fenced
from abyme.events import Emit, NodeStarted
from abyme.inside.schema import Schema
from abyme.journal.blobs import Blobs
from abyme.journal.conversation import Conversation
from abyme.journal.node_tape import NodeTape
from abyme.journal.outcomes import Outcomes
from abyme.ledger import Account
from abyme.models.base import Model, OnText
from abyme.models.caller import Caller
from abyme.models.estimator import TokenEstimator
from abyme.models.scheduler import Scheduler
from abyme.node import Node
from abyme.node_worker import Place
from abyme.repl import NodeRepl
from abyme.sandbox.base import Workers
from abyme.spec import RunSpec
from abyme.subcalls.caching import CallCache
from abyme.subcalls.children import Birth
from abyme.subcalls.router import Router
from abyme.subcalls.typed import misfit

SpawnOf = Callable[["Live", Birth], Awaitable[Any]]
"""Lets a child of a node work: its value."""


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


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """What all nodes of one run are made with.

    ``recorded`` reads the outcomes of all calls so far from the journal. ``listens``: somebody
    wants what cells print while they run. With a ``cache`` equal sub-calls are made once.
    """

    spec: RunSpec
    shared: Shared
    emit: Emit
    documents: Documents
    workers: Workers
    recorded: Callable[[], Outcomes]
    blobs: Blobs
    listens: bool
    cache: CallCache | None

    def caller(self, account: Account) -> Caller:
        """The way to models of a node without a parent."""
        return Caller(
            account,
            self.shared.scheduler,
            self.emit,
            account.limits,
            estimator=self.shared.estimator,
            price_of=self.spec.price_of,
        )

    def live(
        self,
        started: NodeStarted,
        model: Model,
        data: NodeData,
        account: Account,
        caller: Caller,
        tape: NodeTape,
        spawn: SpawnOf,
    ) -> Live:
        """A node, whose REPL is to be entered; ``spawn`` lets its children work."""
        spec, handing = self.spec, Handing(self.documents, data)
        goes_on = spec.goes_on
        offered: dict[str | None, Model] = {each.name: each for each in spec.models}
        offered[None] = spec.sub_model

        async def spawn_here(birth: Birth) -> Any:
            return await spawn(live, birth)

        router = Router(
            started.node,
            caller=caller,
            account=account,
            models=offered,
            tools=spec.tools,
            emit=self.emit,
            listens=self.listens,
            handing=handing,
            spawn=spawn_here if self.may_recurse(started.depth) else None,
            cache=self.cache,
        )
        place = Place(
            spec.sandbox.name,
            self.workers,
            data.data,
            tuple(tool.description for tool in spec.tools.values()),
            started.seed,
            spec.limits.cell_seconds,
        )
        repl = NodeRepl(
            started.node,
            place,
            router,
            self.emit,
            self.recorded,
            self.blobs,
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
            emit=self.emit,
            tape=conversation,
            priced=self.spec.priced,
            recursion=self.may_recurse(live.started.depth),
            on_text=on_text,
            misfit=None if schema is None else partial(misfit, schema),
        )

    def may_recurse(self, depth: int) -> bool:
        """Whether a node of this depth may have children; else its questions are plain calls."""
        return depth + 1 < self.spec.limits.max_depth
