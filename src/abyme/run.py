"""One run: opened, asked once or more, closed. It tells how each question ended, whatever befell.

A session asks several questions of one run: they share its data, its REPL and its budget.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from abyme.beginning import begin, first_events, terms_of
from abyme.context.documents import Data, Document
from abyme.context.handing import Documents
from abyme.context.recall import loaded_event
from abyme.context.unnamed import Unnamed
from abyme.dialects.base import Opening, TurnStatus
from abyme.errors import AbymeError, DataError, JournalError
from abyme.events import (
    ROOT,
    DocumentHashed,
    Event,
    NodeStarted,
    QuestionAsked,
    RunEnded,
    TextAdded,
)
from abyme.examination import Examination
from abyme.gathering import Stopped, gather, gather_again, gather_made
from abyme.history import in_short
from abyme.journal.blobs import Blobs
from abyme.journal.conversation import Conversation, Exchange
from abyme.journal.format import CHECKPOINTS
from abyme.journal.outcomes import Outcomes
from abyme.journal.reader import Record, read
from abyme.journal.tape import Tape
from abyme.journal.writer import Journal
from abyme.ledger import Account
from abyme.loop import run_node
from abyme.models.base import OnText
from abyme.node import Ending, Node
from abyme.nodes import Nodes
from abyme.opening import opening
from abyme.repl import NodeRepl
from abyme.spec import RunSpec
from abyme.subcalls.caching import CallCache
from abyme.telling import Listener, Teller
from abyme.threads import in_thread
from abyme.types import Answer, Finish, JobStatus, Quote, Status
from abyme.wiring import Live, Shared, Wiring

_log = logging.getLogger("abyme")


_JOBS_TOLD = 3


class _Opened(msgspec.Struct):
    """What there is once a run's journal is open."""

    journal: Journal
    tape: Tape
    teller: Teller
    account: Account
    unnamed: Unnamed | None
    """Holds what a run without texts was given: what is not in the journal is not beside it."""
    data: Data | None = None
    made: dict[int, Document] = {}
    """Documents that code made before it went on, by their index."""


class _Ready(msgspec.Struct):
    """What there is once its data is."""

    data: Data
    examination: Examination
    wiring: Wiring
    root: Live

    @property
    def repl(self) -> NodeRepl:
        """The root's."""
        return self.root.repl


class Run:
    """One run. ``listener`` gets every event that it writes, after the journal has it.

    Where ``spec`` goes on from another run, its journal and its REPL are gone on with.
    ``several``: it will be asked several questions, and who listens may come with a later one.
    """

    def __init__(
        self,
        spec: RunSpec,
        shared: Shared,
        listener: Listener | None,
        *,
        several: bool = False,
    ) -> None:
        self._spec = spec
        self._shared = shared
        self._listener = listener
        self._several = several
        self._held = contextlib.AsyncExitStack()
        self._working = contextlib.AsyncExitStack()
        self._opened: _Opened | None = None
        self._ready: _Ready | None = None
        self._interrupted = False
        self._work: asyncio.Task[Ending] | None = None
        self._conversation = Conversation("", 1, 0, 0)
        self._node: Node | None = None
        self._earlier: list[Exchange] = []
        self._last: Answer | None = None
        self._before: Answer | None = None
        """What the run had come to when it was resumed."""
        self._start_clock: Callable[[], None] = _nothing

    @property
    def run(self) -> str:
        """Its id; "" before it was opened."""
        return "" if self._opened is None else self._opened.journal.run

    def interrupt(self) -> None:
        """End the work now; :meth:`ask` then returns the best draft."""
        self._interrupted = True
        if self._work is not None:
            self._work.cancel()

    def start_over(self) -> None:
        """A further question comes: what ended the one before does not end it."""
        self._interrupted, self._work = False, None

    async def conduct(self) -> Answer:
        """Open it, ask its question, close it. Raises what :meth:`open` and :meth:`ask` raise."""
        try:
            await self.open()
            answer = await self.ask()
            if answer.status == "complete" and self._ready is not None:
                await self._ready.repl.forget_checkpoint()  # of use only to a run that goes on
            return answer
        finally:
            await self.close()

    async def open(self) -> None:
        """Open its journal, and tell of whom it asks. Raises as :func:`.beginning.begin`.

        Where it goes on from another run it raises too what
        :func:`~abyme.context.recall.recall` raises; nothing has been written then.
        """
        spec, goes_on = self._spec, self._spec.goes_on
        begun = begin(spec) if goes_on is None else await in_thread(begin, spec)
        journal, tape = begun.journal, begun.tape
        data: Data | None = None
        changed: tuple[int, ...] = ()
        made: dict[int, Document] = {}
        if goes_on is not None:
            try:
                data, changed = await in_thread(gather_again, goes_on, tape, journal)
                made = await in_thread(gather_made, tape, journal)
            except BaseException:
                await self._give_up(journal)
                raise
        teller = Teller(journal, tape.figures, self._listener, remember=spec.redact)
        events = first_events(spec, begun, changed)
        if data is not None:
            events += (loaded_event(at, data.documents[at], journal.folder) for at in changed)
        account = Account(spec.limits)
        self._before = tape.ended
        unnamed = Unnamed(journal.folder) if spec.redact else None
        self._opened = _Opened(journal, tape, teller, account, unnamed, data, made)
        for event in events:
            self._emit(event)
            tape.take(Record(0, time.time(), event))
        if changed:
            journal.seal()
        if goes_on is not None:
            self._opened.account = Account(spec.limits, spent=tape.spent)
        self._conversation, self._earlier = tape.root.conversation, tape.root.earlier

    async def ask(self) -> Answer:
        """Deal with the question at hand; its answer is the last event when this returns.

        Raises :class:`DataError` where the data cannot be loaded.
        """
        try:
            await self._get_ready()
        except Stopped as stopped:  # what was written so far is of no use, and may be large
            here = self._here
            if here.unnamed is not None:
                here.unnamed.close()
            await in_thread(shutil.rmtree, here.journal.data_folder, ignore_errors=True)
            return self._end(Ending("failed", self._draft(), str(stopped)), ())
        except DataError:
            if self._spec.goes_on is None:  # nothing was asked and nothing paid for: a mistyped
                await self._give_up(self._here.journal)  # path leaves no run behind
            raise
        except JournalError:
            raise
        except Exception as error:
            return self._end(self._broken(error), ())
        return await self._answer()

    async def ask_further(self, question: str, listener: Listener | None) -> Answer:
        """Deal with a further question: the same data and REPL, the same budget.

        ``listener`` takes the place of the one before. One question at a time, each after
        :meth:`start_over`.
        """
        here, node = self._here, self._node
        self._start_clock()
        here.teller.listener = self._listener = listener
        before = self._conversation
        messages = () if node is None else tuple(node.history)
        self._earlier.append(Exchange(before.question, self._last, messages))
        turns = here.account.turns
        asked = QuestionAsked(
            question=question,
            number=before.number + 1,
            turns=turns,
            terms=terms_of(self._spec),
        )
        self._emit(asked)
        self._before = None
        here.account.start_question()
        cells = 0 if self._ready is None else self._ready.repl.cells
        self._conversation = Conversation(question, asked.number, turns, cells)
        self._node = None
        if self._ready is not None:
            self._ready.repl.converse(self._conversation, self._earlier)
        return await self.ask()

    async def close(self) -> None:
        """Let go of everything. The journal follows to the disk by itself."""
        try:
            await self._let_go(self._working)  # its last checkpoint is told while there is a lock
            if self._opened is not None:
                self._opened.journal.leave()
        finally:
            await self._let_go(self._held)
            if self._opened is not None and self._opened.unnamed is not None:
                self._opened.unnamed.close()

    async def _let_go(self, held: contextlib.AsyncExitStack) -> None:
        """Leave what a sandbox gave; nothing that goes wrong there takes the answer away."""
        try:
            await held.aclose()
        except Exception:
            _log.exception("run %s: its sandbox", self.run)

    # -- getting ready -------------------------------------------------------------------------

    async def _get_ready(self) -> None:
        """Have the data, and a worker that starts over it."""
        if self._ready is not None:
            return
        here, spec = self._here, self._spec
        # First of all: a process for workers gets warm while the data is loaded.
        workers = await self._held.enter_async_context(spec.sandbox.workers())
        data = here.data
        if data is None:
            data = await gather(spec, here.journal, here.unnamed, self._emit, self._why_stop)
        started = here.tape.root.started
        if started is None:
            question, seed = self._conversation.question, secrets.randbits(32)
            started = NodeStarted(ROOT, "", 0, question, seed, model=spec.model.name)
            self._emit(started)
        cache = await in_thread(self._cached, started.seed) if spec.cache else None
        documents = Documents(data, here.made, here.journal.data_folder, self._keep, here.unnamed)
        wiring = Wiring(
            spec=spec,
            shared=self._shared,
            emit=self._emit,
            documents=documents,
            workers=workers,
            recorded=self._recorded,
            blobs=Blobs(here.journal.folder, CHECKPOINTS),
            listens=self._several or self._listener is not None,
            cache=cache,
        )
        nodes = Nodes(wiring, here.tape)
        root = nodes.root(started, here.account)
        await self._working.enter_async_context(root.repl)
        examination = Examination(data, self._emit, here.tape.hashes, here.tape.measured)
        self._ready = _Ready(data, examination, wiring, root)

    def _cached(self, seed: int) -> CallCache:
        """The replies of the run so far."""
        journal = self._here.journal
        cache = CallCache(journal.run, seed)
        for record in read(journal.folder):
            cache.take(record.event)
        return cache

    def _keep(self, index: int, document: Document, digest: str) -> None:
        """Code has made a document for a child."""
        self._emit(loaded_event(index, document, self._here.journal.folder))
        self._emit(DocumentHashed(index, digest, copied=True))

    def _why_stop(self, documents: int) -> str:
        """Asked while the data is loaded, in the loader's thread."""
        if self._interrupted:
            return "interrupted"
        if self._here.account.seconds_left() <= 0:
            return f"max_seconds: {documents:,} documents were loaded when they were used"
        return ""

    # -- answering -----------------------------------------------------------------------------

    async def _answer(self) -> Answer:
        """Let the root node work, and tell how that ended."""
        self._work = asyncio.create_task(self._let_work())
        if self._interrupted:
            self._work.cancel()
        try:
            ending = await self._work
        except asyncio.CancelledError:
            ending = Ending(self._status(), self._draft(), "interrupted")
            if not self._interrupted:  # the engine is ending, not this run alone
                self._end(ending, ())
                raise
        except Exception as error:
            ending = self._broken(error)
        ready = self._ready
        assert ready is not None
        ending = _with_jobs(self._with_former(ending), ready.repl.closed_jobs)
        quotes = await ready.examination.prove(ending.finish.quotes, self._out_of_time)
        return self._end(ending, quotes)

    async def _let_work(self) -> Ending:
        """The root's work; its data is looked at more closely meanwhile."""
        ready = self._ready
        assert ready is not None
        self._node = node = self._root(ready)
        looking = asyncio.create_task(self._look_closer(node, ready.examination))
        try:
            return await run_node(node)
        finally:
            ready.examination.stop()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await ready.repl.rest()

    def _root(self, ready: _Ready) -> Node:
        spec, conversation = self._spec, self._conversation
        estimator = self._shared.estimator
        earlier = tuple(map(in_short, self._earlier))

        async def introduce(status: TurnStatus) -> Opening:
            question = conversation.question
            opened, estimated = await in_thread(
                opening, spec, ready.data, status, estimator, question, earlier
            )
            ready.examination.begin(estimated=estimated)
            if not earlier:
                return opened
            await ready.repl.caught_up()  # what did not come back is not named
            return msgspec.structs.replace(
                opened, variables=ready.repl.variables, cells=conversation.cells_before
            )

        on_text = self._on_text if self._listener and spec.stream_text else None
        return ready.wiring.node(ready.root, conversation, introduce, on_text=on_text)

    async def _look_closer(self, node: Node, examination: Examination) -> None:
        """Behind the first request; the node tells its model what came out."""
        node.measured = await examination.measure()
        await examination.hash_all()

    def _out_of_time(self) -> bool:
        return self._interrupted or self._here.account.seconds_left(final=True) <= 0

    # -- the end -------------------------------------------------------------------------------

    def _broken(self, error: Exception) -> Ending:
        """What was paid for is handed over, whatever went wrong."""
        reason = str(error)
        if not isinstance(error, AbymeError):  # a fault of ours, or of a sandbox's
            _log.error("run %s", self.run, exc_info=error)
            reason = f"a fault in Abyme itself: {type(error).__name__}: {error}"
        return Ending(self._status(), self._draft(), reason)

    async def _give_up(self, journal: Journal) -> None:
        """Nothing came of it: a folder that was made for it goes again."""
        await journal.close()
        if self._spec.goes_on is None or self._spec.goes_on.how == "fork":
            await in_thread(shutil.rmtree, journal.folder, ignore_errors=True)

    def _status(self) -> Status:
        return "partial" if self._node is not None and self._node.replied else "failed"

    def _draft(self) -> Finish:
        draft = Finish("", "", "draft") if self._node is None else self._node.draft
        return self._with_former(Ending("failed", draft)).finish

    def _with_former(self, ending: Ending) -> Ending:
        """The answer that the run had before it was resumed, where nothing better came since."""
        before = self._before
        if before is None or ending.status == "complete" or ending.finish.text:
            return ending
        finish = Finish(before.value, before.text, "draft", before.quotes)
        return Ending(before.status, finish, ending.reason)

    def _end(self, ending: Ending, quotes: tuple[Quote, ...]) -> Answer:
        here = self._here
        figures, account = here.teller.figures, here.account
        answer = Answer(
            text=ending.finish.text,
            value=ending.finish.value,
            status=ending.status,
            reason=ending.reason,
            quotes=quotes,
            usage=account.usage,
            cost=account.cost,
            seconds=round(account.seconds, 6),
            turns=figures.turns,
            peak_bytes=figures.peak_bytes,
            cpu_seconds=round(figures.cpu_seconds, 6),
            run=self.run,
            layers=figures.layers or (),
        )
        # A journal that cannot be written has been said already, in the answer's reason.
        with contextlib.suppress(JournalError):
            self._emit(RunEnded(answer))
        self._start_clock = account.pause()
        self._last = RunEnded(answer).with_head(here.journal.head).answer
        return self._last

    # -- events --------------------------------------------------------------------------------

    @property
    def _here(self) -> _Opened:
        assert self._opened is not None
        return self._opened

    def _emit(self, event: Event) -> None:
        self._here.teller.emit(event)

    def _on_text(self, key: str) -> OnText:
        return lambda text: self._emit(TextAdded(key, text))

    def _recorded(self) -> Outcomes:
        if (remembered := self._here.teller.outcomes) is not None:
            return remembered
        outcomes = Outcomes()
        for record in read(self._here.journal.folder):
            outcomes.take(record.event)
        return outcomes


def _nothing() -> None:
    """What starts a clock that was not stopped."""


def _with_jobs(ending: Ending, closed: Sequence[JobStatus]) -> Ending:
    """What was still under way is part of why there is no whole answer."""
    if ending.status == "complete" or not closed:
        return ending
    told = "; ".join(job.told for job in closed[:_JOBS_TOLD])
    more = f" and {len(closed) - _JOBS_TOLD} more jobs" if len(closed) > _JOBS_TOLD else ""
    return replace(ending, reason=f"{ending.reason}; closed while under way: {told}{more}")
