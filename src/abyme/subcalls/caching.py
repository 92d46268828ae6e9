"""Sub-calls of one run that are equal, answered once: a cache of replies that knows the calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from abyme.events import CallEnded, CallStarted, Event
from abyme.models.base import Request
from abyme.models.reply_cache import ReplyCache, cache_key
from abyme.subcalls.keys import occurrence_of
from abyme.types import Message, Reply

_OF_CODE = ("llm_query", "rlm_query")


class CallCache:
    """Of the run ``run``, whose root has the seed ``seed``: a fold over its events, and live.

    Calls are equal where model and prompt are, and as many equal ones came before them in their
    cell: code that asks the same five times over gets five replies, in every cell the same five.
    """

    def __init__(self, run: str, seed: int) -> None:
        self._run = run
        self._seed = seed
        self._replies = ReplyCache()
        self._sources: dict[str, str] = {}
        self._started: dict[str, CallStarted] = {}

    def take(self, event: Event) -> None:
        """Take the next event of a run that is gone on with."""
        if isinstance(event, CallStarted) and event.kind in _OF_CODE:
            self._started[event.key] = event
        elif isinstance(event, CallEnded):
            call = self._started.pop(event.key, None)
            if call is not None and not event.error:
                request = Request((Message("user", call.prompt),), purpose="sub")
                known = self._known(call.key, call.model, request)
                self._sources.setdefault(known, call.key)
                self._replies.put(known, Reply(event.text, event.usage, event.cut))

    async def ask(
        self, key: str, model: str, request: Request, make: Callable[[], Awaitable[Reply]]
    ) -> tuple[Reply, str]:
        """The reply to the call ``key``, and the key of the call that got it, if it is another.

        Raises what ``make`` raises.
        """
        known = self._known(key, model, request)

        async def first() -> Reply:
            reply = await make()
            self._sources[known] = key
            return reply

        reply, cached = await self._replies.ask(known, first)
        return reply, self._sources[known] if cached else ""

    def _known(self, key: str, model: str, request: Request) -> str:
        return cache_key(
            run=self._run,
            seed=self._seed,
            model=model,
            request=request,
            sample=occurrence_of(key),
        )
