"""The library's face: what a caller writes, checked, and handed to the engine."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import queue
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from abyme.config import Limits, runs_folder
from abyme.context.load import Context
from abyme.engine import Handle, engine
from abyme.errors import ConfigError
from abyme.events import PASSING, Event
from abyme.hardening import harden
from abyme.models.base import Model
from abyme.models.prices import Price, flat_price, known_or
from abyme.progress import Following, Progress
from abyme.sandbox.base import Sandbox
from abyme.sandbox.process import ProcessSandbox
from abyme.spec import RunSpec
from abyme.subcalls.tools import tool_table
from abyme.types import Answer

if TYPE_CHECKING:
    from abyme.preview import Preview

_UNREAD = 10_000
"""Events that wait to be read, from which on pieces of output and text are left out."""


class RLM:
    """A Recursive Language Model: a model that answers questions by programming over the data.

    - ``model``: drives the REPL. ``openai:NAME``, any NAME with a ``base_url``,
      ``scripted:FILE``, ``reader``, or an object with the interface of
      :class:`abyme.models.base.Model`.
    - ``sub_model``: answers ``llm_query``; the same model where it is None.
    - ``base_url``, ``api_key``: an OpenAI-compatible endpoint; else ``OPENAI_BASE_URL`` and
      ``OPENAI_API_KEY``.
    - ``limits``: what one run may spend.
    - ``price``: (in, out), US dollars per million tokens, where the model's is not known;
      ``sub_price``: the same of a sub-model that is another.
    - ``tools``: typed functions of yours that code in the REPL may call.
    - ``runs``: the folder for journals; else ``ABYME_RUNS``, else the user's data directory.
    - ``sandbox``: where code runs; the default is a process of its own that locks itself in.
    - ``harden_host``: close this whole process to others of the same user, as the command does:
      they cannot read its memory or environment. Debuggers cannot attach any more either.

    Raises :class:`~abyme.errors.ConfigError` for what can be seen to be wrong at once. An object
    may serve any number of runs at the same time, from any threads and loops.
    """

    def __init__(
        self,
        model: str | Model,
        sub_model: str | Model | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        limits: Limits | None = None,
        price: tuple[float, float] | None = None,
        sub_price: tuple[float, float] | None = None,
        tools: Sequence[Callable[..., Any]] = (),
        runs: str | os.PathLike[str] | None = None,
        sandbox: Sandbox | None = None,
        harden_host: bool = False,
    ) -> None:
        if harden_host:
            harden()
        self._model = engine().resolve(model, base_url, api_key)
        self._sub_model = (
            self._model if sub_model is None else engine().resolve(sub_model, base_url, api_key)
        )
        self._base_url = base_url or ""
        self._limits = limits or Limits()
        given = {self._sub_model.name: _flat("sub_price", sub_price)}
        if price is not None:
            given[self._model.name] = _flat("price", price)
        self._price_of = known_or(given)
        self._tools = tool_table(tools)
        self._runs = runs_folder(runs)
        self._sandbox = sandbox or ProcessSandbox()

    def completion(
        self,
        question: str,
        context: Context,
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> Answer:
        """Answer ``question`` over ``context`` and wait for it.

        ``context``: a ``str`` (always text), ``bytes``, a ``Path`` to a file or directory, a binary
        stream (``sys.stdin.buffer``), a list of these, or a dict of name to one of these.
        ``progress`` is called in this thread, a few
        times a second while the run goes on and once when it is over; what it raises ends the run
        and is raised here.

        Raises :class:`~abyme.errors.DataError` where the data cannot be loaded and
        :class:`~abyme.errors.JournalError` where the run's folder cannot be made. Whatever befalls
        the run after that is in ``Answer.status`` and ``Answer.reason``. Ctrl-C ends the run, then
        raises ``KeyboardInterrupt``.
        """
        if engine().is_current():
            raise ConfigError("completion() would wait for itself here: use acompletion()")
        following = Following()
        handle = self.start(question, context, following.take if progress else None)
        try:
            if progress is not None:
                following.call(progress, handle.future)
            return handle.future.result()
        except BaseException:
            self._abandon(handle)
            raise

    async def acompletion(
        self,
        question: str,
        context: Context,
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> Answer:
        """:meth:`completion` for a running event loop; cancelling it ends the run first.

        ``progress`` is called in that loop.
        """
        following = Following()
        handle = self.start(question, context, following.take if progress else None)
        waiting = asyncio.wrap_future(handle.future)
        try:
            if progress is not None:
                await following.call_while(progress, waiting)
            return await asyncio.shield(waiting)
        except BaseException:
            handle.interrupt()
            await asyncio.wait([waiting])
            raise

    def stream(self, question: str, context: Context) -> Stream:
        """The run's events as they happen, for ``for`` or ``async for``; see :class:`Stream`."""
        return Stream(lambda listener: self.start(question, context, listener, stream_text=True))

    def start(
        self,
        question: str,
        context: Context,
        listener: Callable[[Event], None] | None = None,
        *,
        stream_text: bool = False,
        exclude: Sequence[str] = (),
        ignore_files: bool = True,
        hidden: bool = False,
    ) -> Handle:
        """Start a run and return at once; ``handle.future`` gets the answer.

        ``listener`` is called in the engine's thread with every event and must return quickly.
        ``exclude``: patterns of paths to leave out of directories. ``ignore_files``: leave out what
        ``.gitignore`` files do. ``hidden``: read what is hidden too, but never ``.git``.
        """
        spec = self._spec(
            question,
            context,
            exclude=tuple(exclude),
            ignore_files=ignore_files,
            hidden=hidden,
            stream_text=stream_text,
        )
        return engine().start(spec, listener)

    def preview(
        self,
        question: str,
        context: Context,
        *,
        exclude: Sequence[str] = (),
        ignore_files: bool = True,
        hidden: bool = False,
    ) -> Preview:
        """What a run would send first, and what it could cost; no model is asked, nothing kept."""
        from abyme.preview import preview  # seldom asked for, and tempfile takes its time

        spec = self._spec(
            question,
            context,
            exclude=tuple(exclude),
            ignore_files=ignore_files,
            hidden=hidden,
        )
        return preview(spec, engine().shared.estimator)

    def _spec(self, question: str, context: Context, **options: Any) -> RunSpec:
        if not isinstance(question, str) or not question.strip():
            raise ConfigError("the question is empty")
        return RunSpec(
            question=question,
            context=context,
            model=self._model,
            sub_model=self._sub_model,
            base_url=self._base_url,
            limits=self._limits,
            price_of=self._price_of,
            tools=self._tools,
            runs=self._runs,
            sandbox=self._sandbox,
            **options,
        )

    def _abandon(self, handle: Handle) -> None:
        """The caller is leaving (Ctrl-C): end the run, and be gone only when it is."""
        handle.interrupt()
        with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
            handle.future.exception(timeout=10)


class Stream:
    """A run under way: an iterable, in both senses, of its events.

    The last one is ``RunEnded``; ``answer`` is there from then on. Leaving the loop early and
    closing (``with``, ``async with``, :meth:`close`) ends the run.
    """

    def __init__(self, start: Callable[[Callable[[Event], None]], Handle]) -> None:
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._wake: Callable[[], None] = _nobody_waits
        self._handle = start(self._put)
        self._handle.future.add_done_callback(lambda _: self._put(None))

    def _put(self, event: Event | None) -> None:
        if isinstance(event, PASSING) and self._events.qsize() > _UNREAD:
            return  # what nobody reads is not kept for ever; the journal's events all are
        self._events.put(event)
        self._wake()

    @property
    def answer(self) -> Answer:
        """The answer; waits for it where the run goes on. Raises as ``completion`` does."""
        return self._handle.future.result()

    def close(self) -> None:
        """End the run if it is still going, and wait until it is over."""
        self._handle.interrupt()
        self._handle.future.exception()

    def __iter__(self) -> Iterator[Event]:
        while (event := self._events.get()) is not None:
            yield event
        self._handle.future.result()

    async def __aiter__(self) -> AsyncIterator[Event]:
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        # Not a thread that waits in `get`: it would outlive a consumer who was cancelled.
        self._wake = partial(_call_in, loop, arrived.set)
        try:
            while True:
                arrived.clear()
                while not self._events.empty():
                    if (event := self._events.get()) is None:
                        self._handle.future.result()
                        return
                    yield event
                await arrived.wait()
        finally:
            self._wake = _nobody_waits

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)


def _flat(what: str, pair: tuple[float, float] | None) -> Price | None:
    return None if pair is None else flat_price(what, pair)


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)


def _nobody_waits() -> None:
    """What new events wake where no coroutine waits for them."""
