"""The composition root: the one place where the parts are wired, and the thread they live in.

All runs of a process share one event loop in one daemon thread, and with it one scheduler, one
connection pool and one token estimator. ``completion``, ``acompletion`` and ``stream`` submit to
it from wherever they are called: scripts, running loops, notebooks, fifty threads.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from abyme.errors import ConfigError
from abyme.journal.writer import on_their_way
from abyme.models.base import Model
from abyme.models.estimator import TokenEstimator
from abyme.models.registry import resolve
from abyme.models.scheduler import Scheduler
from abyme.models.transport import Transport
from abyme.run import Run
from abyme.sandbox import zygotes
from abyme.spec import RunSpec
from abyme.telling import Listener
from abyme.types import Answer
from abyme.wiring import Shared

T = TypeVar("T")

_SETTLE_SECONDS = 3.0
"""How long the end of the interpreter waits for journals that are on their way to the disk."""


class Handle:
    """A run under way: its future answer, and the way to end it early."""

    def __init__(
        self, engine: Engine, work: Callable[[Handle], Coroutine[Any, Any, Answer]]
    ) -> None:
        self._engine = engine
        self._run: Run | None = None
        self._interrupted = False
        self.future: concurrent.futures.Future[Answer] = engine.submit(work(self))

    def follow(self, run: Run) -> None:
        """In the engine's thread: this is the run whose end it can bring about."""
        self._run = run
        if self._interrupted:
            run.interrupt()

    def leave(self) -> None:
        """In the engine's thread: its answer is there. What the run does next is none of its."""
        self._run = None

    def interrupt(self) -> None:
        """End the run now with the best draft there is. From any thread, any number of times."""
        self._interrupted = True
        self._engine.call_soon(self._interrupt)

    def _interrupt(self) -> None:
        if self._run is not None:
            self._run.interrupt()


class Sitting:
    """A run that is asked one question after another, until it is closed."""

    def __init__(self, engine: Engine, spec: RunSpec) -> None:
        self._engine = engine
        self._spec = spec
        self._run: Run | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    @property
    def run(self) -> str:
        """The run's id; "" before the first question."""
        return "" if self._run is None else self._run.run

    def ask(self, question: str, listener: Listener | None = None) -> Handle:
        """Ask the next question; it waits its turn."""
        return Handle(self._engine, lambda handle: self._ask(handle, question, listener))

    def close(self) -> concurrent.futures.Future[None]:
        """End the run once the questions before this have been dealt with."""
        return self._engine.submit(self._close())

    async def _ask(self, handle: Handle, question: str, listener: Listener | None) -> Answer:
        async with self._turn:
            if self._closed:  # while it waited
                raise ConfigError("the session is closed: RLM.session(run=...) goes on with it")
            zygotes.keep_warm()
            try:
                return await self._answer(handle, question, listener)
            finally:
                handle.leave()

    async def _answer(self, handle: Handle, question: str, listener: Listener | None) -> Answer:
        if self._run is not None:
            self._run.start_over()
            handle.follow(self._run)
            return await self._run.ask_further(question, listener)
        spec = msgspec.structs.replace(self._spec, question=question)
        run = Run(spec, self._engine.shared, listener, several=True)
        handle.follow(run)
        try:
            await run.open()
            answer = await run.ask()
        except BaseException:
            await run.close()
            raise
        self._run = run
        return answer

    async def _close(self) -> None:
        async with self._turn:
            self._closed = True
            if self._run is not None:
                await self._run.close()


class Engine:
    """The event loop, its thread, and what all runs share."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="abyme", daemon=True)
        self._transport = Transport()
        self.shared = Shared(scheduler=Scheduler(), estimator=TokenEstimator())
        self._stopping = False
        self._pid = os.getpid()
        self._thread.start()
        atexit.register(self._stop)

    def is_current(self) -> bool:
        """Whether this is the engine's own thread, which must never wait for itself."""
        return threading.current_thread() is self._thread

    def start(self, spec: RunSpec, listener: Listener | None = None) -> Handle:
        """Start a run. ``listener`` is called in the engine's thread with every event."""
        return Handle(self, lambda handle: self._conduct(handle, spec, listener))

    def sit(self, spec: RunSpec) -> Sitting:
        """A run for several questions; that of ``spec`` is not among them."""
        return Sitting(self, spec)

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine in the engine's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call ``function`` in the engine's thread."""
        self._loop.call_soon_threadsafe(function)

    def settle(self) -> None:
        """Wait until the journals of all runs that are over are on the disk, their texts packed.

        For whoever moves, counts or removes their files: an answer does not wait for that. Not for
        the engine's own thread.
        """
        self.submit(_settled()).result()

    def resolve(self, model: str | Model, base_url: str | None, api_key: str | None) -> Model:
        """The model that a user named; its connections are the engine's.

        Raises :class:`~abyme.errors.ConfigError`; nothing is sent.
        """
        return resolve(
            model,
            base_url=base_url,
            api_key=api_key,
            transport=self._transport,
            environ=os.environ,
        )

    async def _conduct(self, handle: Handle, spec: RunSpec, listener: Listener | None) -> Answer:
        zygotes.keep_warm()
        run = Run(spec, self.shared, listener)
        handle.follow(run)
        return await run.conduct()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        while (
            not self._stopping
        ):  # a SystemExit that slipped through ends one round, not the engine
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self._loop.run_forever()

    def _stop(self) -> None:
        """At the end of the interpreter: cancel what runs, so that no worker outlives it."""
        if os.getpid() != self._pid:
            return  # a forked child: the thread is not there
        try:
            self.submit(self._wind_down()).result(timeout=5)
        except (TimeoutError, RuntimeError, concurrent.futures.CancelledError):
            return
        self._stopping = True
        self.call_soon(self._loop.stop)
        self._thread.join(timeout=1)

    async def _wind_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()} - on_their_way()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if behind := on_their_way():
            await asyncio.wait(behind, timeout=_SETTLE_SECONDS)
        await self._transport.close()
        await zygotes.close()


async def _settled() -> None:
    if behind := on_their_way():
        await asyncio.wait(behind)


_engine: Engine | None = None
_lock = threading.Lock()


def engine() -> Engine:
    """The engine of this process, started when first asked for."""
    global _engine
    with _lock:
        if _engine is None:
            _engine = Engine()
        return _engine


def _forget() -> None:
    """In a forked child the thread is gone: the next call starts an engine of its own."""
    global _engine, _lock
    _engine, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
