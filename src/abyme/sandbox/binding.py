"""Values that the host binds to names of a worker's REPL, sent as JSON in pieces."""

from __future__ import annotations

import asyncio
import itertools
import keyword
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from abyme.errors import SandboxError
from abyme.inside.codec import Frame, FrameError, write_value
from abyme.threads import in_thread

MAX_CHARACTERS = 64_000_000
"""Of all values that are bound at once, as JSON."""
PIECE = 4_000_000
"""Characters that travel in one frame: with all of them escaped they still fit it."""
_SECONDS = 60.0
"""How long a worker may take for one piece. No cell runs meanwhile, but threads of one may."""


class _Taken(msgspec.Struct):
    id: int
    reason: Annotated[str, msgspec.Meta(max_length=1_000)]


class Binding:
    """``send`` reaches the worker; ``give_up`` ends one that does not answer."""

    def __init__(self, send: Callable[[Frame], None], give_up: Callable[[str], None]) -> None:
        self._send = send
        self._give_up = give_up
        self._numbers = itertools.count(1)
        self._owed: dict[int, asyncio.Future[str]] = {}
        self._gone = ""

    async def bind(self, names: dict[str, Any]) -> None:
        """See :meth:`abyme.sandbox.base.Repl.bind`."""
        for name, text in (await in_thread(as_texts, names)).items():
            for at in range(0, len(text), PIECE):
                frame = {
                    "t": "bind",
                    "name": name,
                    "text": text[at : at + PIECE],
                    "first": at == 0,
                    "last": at + PIECE >= len(text),
                }
                if reason := await self._ask(frame):
                    raise SandboxError(f"`{name}` cannot be bound in the REPL: {reason}")

    def on_frame(self, frame: Frame) -> None:
        """The answer to a piece. Raises where it is none, or was not asked for."""
        taken = msgspec.convert(frame, _Taken)
        if (answer := self._owed.pop(taken.id, None)) is None:
            raise FrameError("a bound that was not asked for")
        if not answer.done():
            answer.set_result(taken.reason)

    def fail(self, reason: str) -> None:
        """The worker is gone: whoever waits is told, and whoever asks from now on."""
        self._gone = reason
        for answer in self._owed.values():
            if not answer.done():
                answer.set_exception(SandboxError(f"the worker ended: {reason}"))
                answer.exception()  # nobody may be waiting for it

    async def _ask(self, frame: Frame) -> str:
        if self._gone:
            raise SandboxError(f"the worker ended: {self._gone}")
        number = next(self._numbers)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._owed[number] = answer
        self._send({**frame, "id": number})
        try:
            async with asyncio.timeout(_SECONDS):
                return await answer
        except TimeoutError:
            self._give_up(f"it took no value within {_SECONDS:.0f} s, and was killed")
            raise SandboxError(f"the worker ended: {self._gone}") from None


def as_texts(names: dict[str, Any]) -> dict[str, str]:
    """Each value as JSON. Raises ``ValueError`` as :meth:`abyme.sandbox.base.Repl.bind` does."""
    texts: dict[str, str] = {}
    left = MAX_CHARACTERS
    for name, value in names.items():
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise ValueError(f"{name[:100]!r} is no name for a variable")
        try:
            texts[name] = write_value(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"`{name}` is no plain JSON value: {str(error)[:200]}") from None
        left -= len(texts[name])
        if left < 0:
            raise ValueError(
                f"what is bound in the REPL takes over {MAX_CHARACTERS:,} characters as JSON"
            )
    return texts
