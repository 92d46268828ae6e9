"""Equal requests of one run asked once, where the user wants that. Off unless asked for.

::

    cache = ReplyCache()                          # one a run
    key = cache_key(run=run, seed=seed, model=model.name, request=request, sample=0)
    reply, cached = await cache.ask(key, lambda: caller.call(model, request, …))

A model asked twice says two things, and code may want just that: so a request that is repeated on
purpose gets a sample index (0, 1, 2 …) of its own, and only calls of the same index are equal. Run
and seed are in the key so that a cache that outlives a run could never mix two.

A call that is ``cached`` was not made: it costs nothing, and whoever tells of calls has to say of
it that its reply is another's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from abyme.models.base import Request
from abyme.types import Reply


def cache_key(*, run: str, seed: int, model: str, request: Request, sample: int) -> str:
    """The identity of a request: 64 hex digits, equal where a reply may stand for both.

    Of ``request`` the messages and ``max_tokens`` count, as asked for and before any budget cuts
    them; ``purpose`` does not, since no model is told of it.
    """
    messages = [(message.role, message.text) for message in request.messages]
    canonical = (run, seed, model, messages, request.max_tokens, sample)
    # Not JSON, which cannot carry a lone surrogate.
    return hashlib.sha256(ascii(canonical).encode("ascii")).hexdigest()


class ReplyCache:
    """The replies of one run by :func:`cache_key`, and the calls that are under way.

    Belongs to one event loop. Keeps every reply as long as it lives.
    """

    def __init__(self) -> None:
        self._replies: dict[str, Reply] = {}
        self._asking: dict[str, asyncio.Future[Reply | None]] = {}

    def __len__(self) -> int:
        return len(self._replies)

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply that is known already, of a run that is gone on with."""
        self._replies[key] = reply

    async def ask(self, key: str, call: Callable[[], Awaitable[Reply]]) -> tuple[Reply, bool]:
        """The reply for ``key``, and whether another call had it; else what ``call`` gives.

        An equal call that is under way is waited for. Where that fails, those that waited fail
        with the same error, which is not kept: who asks later asks anew. Where it is cancelled,
        the next that waits makes the call. Raises what ``call`` raises.
        """
        while True:
            if (known := self._replies.get(key)) is not None:
                return known, True
            other = self._asking.get(key)
            if other is None:
                return await self._make(key, call), False
            # Shielded: who waits may be cancelled, and the call is another's.
            reply = await asyncio.shield(other)
            if reply is not None:
                return reply, True

    async def _make(self, key: str, call: Callable[[], Awaitable[Reply]]) -> Reply:
        told: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._asking[key] = told
        try:
            reply = await call()
        except Exception as error:
            told.set_exception(error)
            told.exception()  # where nobody waits, nobody needs to be told
            raise
        else:
            self._replies[key] = reply
            told.set_result(reply)
            return reply
        finally:
            del self._asking[key]
            if not told.done():
                told.set_result(None)  # cancelled: somebody else makes the call
