"""A session: several questions to the same data, in one REPL and under one budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from abyme.asking import aanswer_of, answer_of
from abyme.engine import Handle, Sitting
from abyme.errors import ConfigError
from abyme.progress import Progress
from abyme.streaming import Stream
from abyme.telling import Listener
from abyme.types import Answer


class Session:
    """Made by :meth:`abyme.RLM.session`; a context manager, in both senses.

    Each question is a conversation of its own, which is told of the earlier ones in short. The
    REPL goes on: variables are kept, and ``history`` has the earlier exchanges whole. Limits bind
    the session, those of turns each question. Questions wait for each other.
    """

    def __init__(self, sitting: Sitting) -> None:
        self._sitting = sitting
        self._closed = False

    @property
    def run(self) -> str:
        """The id of its run, for :meth:`abyme.RLM.session` and ``abyme ask --continue``."""
        return self._sitting.run

    def ask(self, question: str, *, progress: Callable[[Progress], None] | None = None) -> Answer:
        """Ask the next question and wait for its answer; raises as ``RLM.completion`` does."""
        return answer_of(self._start(question), progress)

    async def aask(
        self, question: str, *, progress: Callable[[Progress], None] | None = None
    ) -> Answer:
        """:meth:`ask` for a running event loop."""
        return await aanswer_of(self._start(question), progress)

    def stream(self, question: str) -> Stream:
        """The events of the next question as they happen."""
        start = self._start(question)
        return Stream(lambda listener: start(listener))

    def close(self) -> None:
        """End it; its run can be gone on with later. May be called twice."""
        self._closed = True
        self._sitting.close().result()

    def _start(self, question: str) -> Callable[[Listener | None], Handle]:
        if self._closed:
            raise ConfigError("the session is closed: RLM.session(run=...) goes on with it")
        if not isinstance(question, str) or not question.strip():
            raise ConfigError("the question is empty")
        return lambda listener: self._sitting.ask(question, listener)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)
