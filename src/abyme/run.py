"""One run from its folder to its answer: load, describe, let the root work, tell how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import shutil
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from abyme.context.documents import Data
from abyme.context.load import load
from abyme.dialects.base import Opening, TurnStatus
from abyme.dialects.messages import Fenced
from abyme.errors import AbymeError, DataError, JournalError
from abyme.events import (
    CellEnded,
    DataLoaded,
    DataLoading,
    DocumentLoaded,
    Event,
    NodeStarted,
    RunEnded,
    RunStarted,
    TextAdded,
    TurnEnded,
    WorkerStarted,
)
from abyme.examination import Examination
from abyme.journal.blobs import Blobs
from abyme.journal.format import CHECKPOINTS, VERSION
from abyme.journal.reader import read
from abyme.journal.replay import Outcome as CallOutcome
from abyme.journal.replay import outcomes
from abyme.journal.writer import Journal, new_run_id
from abyme.ledger import Account
from abyme.loop import Node, Outcome, run_node
from abyme.models.base import OnText
from abyme.models.caller import Caller
from abyme.models.estimator import TokenEstimator
from abyme.models.quoting import public_url
from abyme.models.scheduler import Scheduler
from abyme.opening import opening
from abyme.repl import NodeRepl
from abyme.sandbox.base import Workers
from abyme.spec import RunSpec
from abyme.subcalls.router import Router
from abyme.threads import in_thread
from abyme.types import Answer, Finish, Quote, Status
from abyme.version import __version__

_log = logging.getLogger("abyme")

ROOT = "0"
_LOADED_AT_ONCE = 200


class _Stopped(Exception):
    """The run was ended while its data was still being loaded."""


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What all runs of a process have in common."""

    scheduler: Scheduler
    estimator: TokenEstimator


class Run:
    """One run. ``listener`` gets every event after the journal has it."""

    def __init__(
        self, spec: RunSpec, shared: Shared, listener: Callable[[Event], None] | None
    ) -> None:
        self._spec = spec
        self._shared = shared
        self._listener = listener
        self._journal = Journal(spec.runs, new_run_id())
        self._account = Account(spec.limits)
        self._interrupted = False
        self._work: asyncio.Task[Outcome] | None = None
        self._node: Node | None = None
        self._turns = 0
        self._peak_bytes = 0
        self._layers: tuple[str, ...] | None = None
        self._cpu_seconds = 0.0

    def interrupt(self) -> None:
        """End the work now; ``conduct`` then returns the best draft."""
        self._interrupted = True
        if self._work is not None:
            self._work.cancel()

    async def conduct(self) -> Answer:
        """Do the run. Raises :class:`DataError` where the data cannot be loaded."""
        held = contextlib.AsyncExitStack()
        try:
            try:
                return await self._conduct(held)
            finally:
                await self._journal.close()  # while the last worker goes
        finally:
            await self._leave(held)

    async def _conduct(self, held: contextlib.AsyncExitStack) -> Answer:
        self._emit(self._started())
        try:
            workers = await held.enter_async_context(self._spec.sandbox.workers())
            data = await self._load()
        except _Stopped as stopped:  # what was written so far is of no use, and may be large
            await in_thread(shutil.rmtree, self._journal.data_folder, ignore_errors=True)
            return self._end(Outcome("failed", self._draft(), str(stopped)), ())
        except (DataError, JournalError):
            raise
        except Exception as error:
            return self._end(self._broken(error), ())
        self._examination = Examination(data, self._emit)
        self._work = asyncio.create_task(self._answer(data, workers))
        if self._interrupted:
            self._work.cancel()
        try:
            outcome = await self._work
        except asyncio.CancelledError:
            outcome = Outcome(self._status(), self._draft(), "interrupted")
            if not self._interrupted:  # the engine is ending, not this run alone
                self._end(outcome, ())
                raise
        except Exception as error:
            outcome = self._broken(error)
        if outcome.status == "complete" and self._node is not None:
            await self._node.repl.forget_checkpoint()  # of use only to a run that goes on
        quotes = await self._examination.prove(outcome.finish.quotes, self._out_of_time)
        return self._end(outcome, quotes)

    async def _load(self) -> Data:
        spec = self._spec
        try:
            data = await in_thread(
                load,
                spec.context,
                folder=self._journal.data_folder,
                **spec.reading,
                on_progress=partial(self._loading, asyncio.get_running_loop()),
            )
            if self._interrupted:
                raise _Stopped("interrupted")
        except DataError as error:
            if self._interrupted:  # Ctrl-C ended whoever sends the data, too
                raise _Stopped("interrupted") from error
            # Nothing was asked and nothing paid for: a mistyped path leaves no run behind.
            await self._journal.close()
            shutil.rmtree(self._journal.folder, ignore_errors=True)
            raise
        for index, document in enumerate(data.documents):
            if index % _LOADED_AT_ONCE == _LOADED_AT_ONCE - 1:
                await asyncio.sleep(0)  # 20,000 documents take half a second: let others work
            self._emit(
                DocumentLoaded(
                    index,
                    document.name,
                    document.path,
                    document.bytes,
                    document.mtime_ns,
                    document.inode,
                    document.encoding,
                    document.errors,
                )
            )
        self._emit(DataLoaded(data.kind, len(data.documents), data.bytes, dict(data.skipped)))
        return data

    def _loading(self, loop: asyncio.AbstractEventLoop, documents: int, size: int) -> None:
        """Called in the loader's thread, some ten times a second: the way to end it early."""
        if self._interrupted:
            raise _Stopped("interrupted")
        if self._account.seconds_left() <= 0:
            raise _Stopped(f"max_seconds: {documents:,} documents were loaded when they were used")
        loop.call_soon_threadsafe(self._emit, DataLoading(documents, size))

    async def _answer(self, data: Data, workers: Workers) -> Outcome:
        """Let the root node work; its data is looked at more closely meanwhile."""
        self._emit(NodeStarted(ROOT, "", 0, self._spec.question))
        self._node = node = self._root(data, workers)
        looking = asyncio.create_task(self._look_closer(node))
        try:
            return await run_node(node)
        finally:
            self._examination.stop()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    def _root(self, data: Data, workers: Workers) -> Node:
        spec = self._spec
        caller = Caller(
            self._account,
            self._shared.scheduler,
            self._emit,
            spec.limits,
            estimator=self._shared.estimator,
            price_of=spec.price_of,
        )
        offered = {
            None: spec.sub_model,
            spec.sub_model.name: spec.sub_model,
            spec.model.name: spec.model,
        }
        router = Router(
            ROOT, caller, self._account, offered, spec.tools, self._emit, self._listener is not None
        )
        functions = tuple(tool.description for tool in spec.tools.values())
        repl = NodeRepl(
            ROOT,
            spec.sandbox.name,
            workers,
            data,
            router,
            functions,
            self._emit,
            self._recorded,
            spec.limits.cell_seconds,
            Blobs(self._journal.folder, CHECKPOINTS),
        )

        async def introduce(status: TurnStatus) -> Opening:
            opened, estimated = await in_thread(opening, spec, data, status, self._shared.estimator)
            self._examination.begin(estimated=estimated)
            return opened

        return Node(
            ROOT,
            spec.question,
            introduce,
            model=spec.model,
            dialect=Fenced(),
            repl=repl,
            caller=caller,
            account=self._account,
            emit=self._emit,
            priced=spec.priced,
            on_text=self._on_text if self._listener and spec.stream_text else None,
        )

    async def _look_closer(self, node: Node) -> None:
        """Behind the first request; the node tells its model what came out."""
        node.measured = await self._examination.measure()
        await self._examination.hash_all()

    def _out_of_time(self) -> bool:
        return self._interrupted or self._account.seconds_left(final=True) <= 0

    # -- the end -------------------------------------------------------------------------------

    def _broken(self, error: Exception) -> Outcome:
        """What was paid for is handed over, whatever went wrong."""
        reason = str(error)
        if not isinstance(error, AbymeError):  # a fault of ours, or of a sandbox's
            _log.error("run %s", self._journal.run, exc_info=error)
            reason = f"a fault in Abyme itself: {type(error).__name__}: {error}"
        return Outcome(self._status(), self._draft(), reason)

    async def _leave(self, held: contextlib.AsyncExitStack) -> None:
        """Let go of the sandbox; nothing that goes wrong there takes the answer away."""
        try:
            await held.aclose()
        except Exception:
            _log.exception("run %s: its sandbox", self._journal.run)

    def _status(self) -> Status:
        return "partial" if self._node is not None and self._node.replied else "failed"

    def _draft(self) -> Finish:
        return Finish("", "", "draft") if self._node is None else self._node.draft

    def _end(self, outcome: Outcome, quotes: tuple[Quote, ...]) -> Answer:
        answer = Answer(
            text=outcome.finish.text,
            value=outcome.finish.value,
            status=outcome.status,
            reason=outcome.reason,
            quotes=quotes,
            usage=self._account.usage,
            cost=self._account.cost,
            seconds=round(self._account.seconds, 6),
            turns=self._turns,
            peak_bytes=self._peak_bytes,
            cpu_seconds=round(self._cpu_seconds, 6),
            run=self._journal.run,
            layers=self._layers or (),
        )
        # A journal that cannot be written has been said already, in the answer's reason.
        with contextlib.suppress(JournalError):
            self._emit(RunEnded(answer))
        return answer

    # -- events --------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        """Journal first; then whoever listens. A listener that raises is not heard again."""
        self._journal.append(event)
        self._turns += isinstance(event, TurnEnded)
        if isinstance(event, CellEnded):
            self._peak_bytes = max(self._peak_bytes, event.result.peak_bytes)
            self._cpu_seconds += event.result.cpu_seconds
        if isinstance(event, WorkerStarted):
            held = event.layers if self._layers is None else self._layers
            self._layers = tuple(layer for layer in held if layer in event.layers)
        if self._listener is not None:
            try:
                self._listener(event)
            except BaseException as error:  # SystemExit too: it would end the engine's thread
                self._listener = None
                _log.warning(
                    "run %s: a listener raised and is dropped: %r", self._journal.run, error
                )

    def _on_text(self, key: str) -> OnText:
        return lambda text: self._emit(TextAdded(key, text))

    def _recorded(self) -> Mapping[str, CallOutcome]:
        return outcomes(record.event for record in read(self._journal.folder))

    def _started(self) -> RunStarted:
        spec = self._spec
        return RunStarted(
            run=self._journal.run,
            version=__version__,
            question=spec.question,
            model=spec.model.name,
            sub_model=spec.sub_model.name,
            base_url=public_url(spec.base_url) if spec.base_url else "",
            limits=msgspec.to_builtins(spec.limits),
            format=VERSION,
            tools=tuple(spec.tools),
            python=platform.python_version(),
            priced=spec.priced,
            sandbox=spec.sandbox.name,
        )
