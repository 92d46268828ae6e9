"""The library's face: what a caller writes, checked, and handed to the engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from abyme.asking import Recall, Start, aanswer_of, answer_of, recall_of
from abyme.config import Limits, runs_folder
from abyme.context.load import Context
from abyme.engine import Handle, engine
from abyme.errors import ConfigError
from abyme.events import Event
from abyme.hardening import harden
from abyme.journal.reader import find_run
from abyme.models.base import Model
from abyme.models.prices import as_given, cannot_bind, unpriced
from abyme.progress import Progress
from abyme.recorded import HTTP, arguments_of, terms_in
from abyme.sandbox.base import Sandbox
from abyme.sandbox.process import ProcessSandbox
from abyme.session import Session
from abyme.spec import GoesOn, RunSpec
from abyme.streaming import Stream
from abyme.subcalls.tools import tool_table
from abyme.types import Answer

if TYPE_CHECKING:
    from abyme.preview import Preview


class RLM:
    """A Recursive Language Model: a model that answers questions by programming over the data.

    - ``model``: drives the REPL. ``openai:NAME``, any NAME with a ``base_url``,
      ``scripted:FILE``, ``reader``, or an object with the interface of
      :class:`abyme.models.base.Model`.
    - ``sub_model``: answers ``llm_query``; the same model where it is None.
    - ``child_models``: drive the REPLs of children, where ``limits`` allow a depth above 1: one for
      each depth, the last for all below; ``sub_model`` where there are none.
    - ``base_url``, ``api_key``: an OpenAI-compatible endpoint; else ``OPENAI_BASE_URL`` and
      ``OPENAI_API_KEY``.
    - ``limits``: what one run may spend.
    - ``price``: (in, out), US dollars per million tokens, where the model's is not known;
      ``sub_price``: the same of a sub-model that is another; ``child_price``: of all child models
      that are neither. Needed where ``limits`` have a
      ``max_cost`` of your own.
    - ``tools``: typed functions of yours that code in the REPL may call.
    - ``runs``: the folder for journals; else ``ABYME_RUNS``, else the user's data directory.
    - ``sandbox``: where code runs; the default is a process of its own that locks itself in.
    - ``cache``: make equal sub-calls of a run once (as many equal ones came before in their cells).
    - ``redact``: keep hashes in the place of texts in journals; such a run cannot be gone on with.
    - ``durable``: wait with every event until it is on the disk, not only with the system.
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
        child_models: Sequence[str | Model] = (),
        base_url: str | None = None,
        api_key: str | None = None,
        limits: Limits | None = None,
        price: tuple[float, float] | None = None,
        sub_price: tuple[float, float] | None = None,
        child_price: tuple[float, float] | None = None,
        tools: Sequence[Callable[..., Any]] = (),
        runs: str | os.PathLike[str] | None = None,
        sandbox: Sandbox | None = None,
        cache: bool = False,
        redact: bool = False,
        durable: bool = False,
        harden_host: bool = False,
    ) -> None:
        if harden_host:
            harden()
        self._model = engine().resolve(model, base_url, api_key)
        self._sub_model = (
            self._model if sub_model is None else engine().resolve(sub_model, base_url, api_key)
        )
        if isinstance(child_models, str):
            raise ConfigError("child_models are a list of models, one for each depth")
        self._child_models = tuple(engine().resolve(m, base_url, api_key) for m in child_models)
        every = (self._model, self._sub_model, *self._child_models)
        self._base_url = base_url or next(filter(None, map(_asked_at, every)), "")
        self._limits = limits or Limits()
        self._prices, self._price_of = as_given(
            *(("child_price", each, child_price) for each in self._child_models),
            ("sub_price", self._sub_model, sub_price),
            ("price", self._model, price),
        )
        named = self._limits.max_cost != Limits().max_cost
        if named or any(child.max_cost is not None for child in self._limits.children):
            self.need_prices()
        self._cache, self._redact, self._durable = cache, redact, durable
        self._tools = tool_table(tools)
        self._runs = runs_folder(runs)
        self._sandbox = sandbox or ProcessSandbox()

    def need_prices(self) -> None:
        """Raise :class:`~abyme.errors.ConfigError` where a limit on dollars could not bind.

        That is where a model's price is not known. Limits other than the default are checked so
        when they are given: whoever names one relies on it.
        """
        limits = self._limits
        of_child = next((c.max_cost for c in limits.children if c.max_cost is not None), None)
        limit = limits.max_cost if of_child is None else of_child
        models = unpriced(self._price_of, self._model, self._sub_model, *self._child_models)
        if limit is not None and models:
            names = self._model.name, self._sub_model.name
            raise cannot_bind(limit, models, *names, of_child=of_child is not None)

    @classmethod
    def of_run(
        cls,
        run: str,
        *,
        runs: str | os.PathLike[str] | None = None,
        model: str | Model | None = None,
        sub_model: str | Model | None = None,
        child_models: Sequence[str | Model] | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        limits: Limits | None = None,
        price: tuple[float, float] | None = None,
        sub_price: tuple[float, float] | None = None,
        child_price: tuple[float, float] | None = None,
        sandbox: Sandbox | None = None,
        **options: Any,
    ) -> RLM:
        """An RLM as the one that made ``run``, to resume, fork or ask on: by its journal.

        What is given here goes before what the journal says; ``options`` are the other arguments of
        :class:`RLM`. A journal may be a stranger's. So an address that it names is asked only where
        ``OPENAI_BASE_URL`` names it too, where it is OpenAI's, or on this machine, or where the
        journal is known for this user's own by its seal, and there no key is sent that is not given
        here; any other must be given as ``base_url``.

        Raises :class:`~abyme.errors.ConfigError` for that, for a model or a sandbox that only a
        program can make, and for code that nothing held: give ``sandbox`` again.
        :class:`~abyme.errors.JournalError` where there is no such run.
        """
        terms, sealed = terms_in(find_run(runs_folder(runs), run))
        options.setdefault("cache", terms.cache)
        made = arguments_of(
            terms,
            sealed=sealed,
            model=model,
            sub_model=sub_model,
            child_models=child_models,
            base_url=base_url,
            api_key=api_key,
            limits=limits,
            price=price,
            sub_price=sub_price,
            child_price=child_price,
            sandbox=sandbox,
        )
        return cls(**made, runs=runs, **options)

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
        return answer_of(lambda listener: self.start(question, context, listener), progress)

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
        return await aanswer_of(lambda listener: self.start(question, context, listener), progress)

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
            question, context, exclude=exclude, ignore_files=ignore_files, hidden=hidden,
            stream_text=stream_text,
        )  # fmt: skip
        return engine().start(spec, listener)

    def resume(
        self,
        run: str,
        *,
        accept_changed: bool = False,
        accept_different: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> Answer:
        """Go on with a run that was killed, interrupted, or ended by a limit or a dead endpoint.

        ``run``: its id, the beginning of it, or its folder. Nothing that its journal has is asked
        or done again. The models, limits and sandbox are this object's: :meth:`of_run` makes one
        with the run's own. ``accept_changed``: go on although documents are not what they were;
        ``accept_different``: although cells that are run again, to restore what they made, do not
        do the same.

        Raises as :meth:`completion`, :class:`~abyme.errors.DataChanged` for the documents, and
        :class:`~abyme.errors.ConfigError` where there is nothing to go on with.
        """
        start, recall = self._going_on(
            run, "resume", accept_changed=accept_changed, accept_different=accept_different
        )
        return answer_of(start, progress, recall)

    async def aresume(
        self,
        run: str,
        *,
        accept_changed: bool = False,
        accept_different: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> Answer:
        """:meth:`resume` for a running event loop."""
        start, recall = self._going_on(
            run, "resume", accept_changed=accept_changed, accept_different=accept_different
        )
        return await aanswer_of(start, progress, recall)

    def fork(
        self,
        run: str,
        turn: int,
        question: str = "",
        *,
        accept_changed: bool = False,
        accept_different: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> Answer:
        """Another run that shares all that ``run`` did up to the end of turn ``turn``.

        It goes on from there with this object's models, and with ``question`` where one is given.
        What it shares costs nothing and is not in its budget. Raises as :meth:`resume`.
        """
        start, recall = self._going_on(
            run, "fork", question, turn=turn,
            accept_changed=accept_changed, accept_different=accept_different,
        )  # fmt: skip
        return answer_of(start, progress, recall)

    async def afork(
        self,
        run: str,
        turn: int,
        question: str = "",
        *,
        accept_changed: bool = False,
        accept_different: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> Answer:
        """:meth:`fork` for a running event loop."""
        start, recall = self._going_on(
            run, "fork", question, turn=turn,
            accept_changed=accept_changed, accept_different=accept_different,
        )  # fmt: skip
        return await aanswer_of(start, progress, recall)

    def session(
        self, context: Context | None = None, *, run: str = "", accept_different: bool = False
    ) -> Session:
        """Several questions to the same data, in one REPL and under one budget.

        ``run``: one that is there already, whose variables and exchanges are gone on with; else
        ``context`` is loaded for the first question. See :class:`Session`. Raises
        :class:`~abyme.errors.ConfigError` for both or neither.
        """
        if (context is None) == (not run):
            raise ConfigError("a session is over data, or over the run of an earlier one: give one")
        goes_on = None
        if run:
            folder = find_run(self._runs, run)
            goes_on = GoesOn(folder=folder, how="ask", accept_different=accept_different)
        return Session(engine().sit(self._spec_of("", context, goes_on=goes_on, stream_text=True)))

    def start_from(
        self,
        goes_on: GoesOn,
        question: str = "",
        listener: Callable[[Event], None] | None = None,
        *,
        stream_text: bool = False,
    ) -> Handle:
        """Go on from a run and return at once, as :meth:`start`.

        ``question``: a further one; empty where it goes on with its own.
        """
        spec = self._spec_of(question, None, goes_on=goes_on, stream_text=stream_text)
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
            question, context, exclude=exclude, ignore_files=ignore_files, hidden=hidden
        )
        return preview(spec, engine().shared.estimator)

    def _going_on(
        self, run: str, how: Literal["resume", "fork"], question: str = "", **wishes: Any
    ) -> tuple[Start, Recall]:
        """How it starts, and how far it had come; ``wishes``: of :class:`~abyme.spec.GoesOn`."""
        turn = wishes.get("turn", 0)
        if isinstance(turn, bool) or not isinstance(turn, int):
            raise ConfigError(f"a turn is a number, and 0 is before the first; not {turn!r}")
        goes_on = GoesOn(folder=find_run(self._runs, run), how=how, **wishes)
        return partial(self.start_from, goes_on, question), recall_of(goes_on, question)

    def _spec(self, question: str, context: Context, **options: Any) -> RunSpec:
        if not isinstance(question, str) or not question.strip():
            raise ConfigError("the question is empty")
        return self._spec_of(question, context, **options)

    def _spec_of(
        self,
        question: str,
        context: Context | None,
        *,
        exclude: Sequence[str] = (),
        **options: Any,
    ) -> RunSpec:
        return RunSpec(
            question=question,
            context=context,
            exclude=tuple(exclude),
            model=self._model,
            sub_model=self._sub_model,
            child_models=self._child_models,
            base_url=self._base_url,
            limits=self._limits,
            price_of=self._price_of,
            tools=self._tools,
            runs=self._runs,
            sandbox=self._sandbox,
            prices=self._prices,
            cache=self._cache,
            redact=self._redact,
            durable=self._durable,
            **options,
        )


def _asked_at(model: Model) -> str:
    """The address of a model that is asked over HTTP, for the journal."""
    return model.endpoint if model.name.startswith(HTTP) else ""
