"""Checkpoints of one worker, seen from the host: asked for, carried in pieces, given up in time.

A checkpoint is made of whatever the worker's code wants. The host checks sizes, keeps the bytes,
and gives them to no one but another worker.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from abyme.errors import SandboxError
from abyme.inside.codec import Frame, FrameError
from abyme.inside.saving import PIECE
from abyme.sandbox.base import NoCheckpoint

MAX_BYTES = 64_000_000
"""Of the largest checkpoint that is taken from a worker."""

Reason = Annotated[str, msgspec.Meta(max_length=1_000)]


class _Made(msgspec.Struct):
    bytes: Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
    reason: Reason


class _Piece(msgspec.Struct):
    data: Annotated[str, msgspec.Meta(max_length=PIECE * 4 // 3 + 4)]


class _Restored(msgspec.Struct):
    reason: Reason


_ANSWERS: dict[str, type[_Made | _Piece | _Restored]] = {
    "checkpoint": _Made,
    "piece": _Piece,
    "restored": _Restored,
}


class Checkpoints:
    """``send`` reaches the worker; ``give_up`` ends one that does not answer.

    One thing is asked for at a time, never while a cell runs.
    """

    def __init__(
        self,
        send: Callable[[Frame], None],
        give_up: Callable[[str], None],
        grace_seconds: float,
    ) -> None:
        self._send = send
        self._give_up = give_up
        self._grace = grace_seconds
        self._number = 0
        self._asked = ""
        self._gone = ""
        self._answer: asyncio.Future[Any] | None = None

    async def take(self) -> bytearray:
        """The namespace as bytes; see :meth:`abyme.sandbox.base.Repl.checkpoint`."""
        made: _Made = await self._ask("checkpoint", {"t": "checkpoint"})
        if made.reason:
            raise NoCheckpoint(made.reason)
        taken = bytearray()
        while len(taken) < made.bytes:
            piece: _Piece = await self._ask("piece", {"t": "piece", "at": len(taken)})
            taken += self._checked(piece.data, min(PIECE, made.bytes - len(taken)))
        return taken

    async def put(self, data: bytes | bytearray) -> None:
        """Make the namespace of ``data``; see :meth:`abyme.sandbox.base.Repl.restore`."""
        for at in range(0, max(1, len(data)), PIECE):
            part = b64encode(data[at : at + PIECE]).decode("ascii")
            frame = {"t": "restore", "data": part, "last": at + PIECE >= len(data)}
            restored: _Restored = await self._ask("restored", frame)
            if restored.reason:
                raise NoCheckpoint(restored.reason)

    def on_frame(self, frame: Frame) -> None:
        """A frame of one of these kinds. Raises where it is none, or was not asked for."""
        kind = frame["t"]
        if kind != self._asked or frame.get("id") != self._number:
            raise FrameError(f"a {kind} that was not asked for")
        assert self._answer is not None
        self._asked = ""
        if not self._answer.done():
            self._answer.set_result(msgspec.convert(frame, _ANSWERS[kind]))

    def fail(self, reason: str) -> None:
        """The worker is gone: whoever waits is told, and whoever asks from now on."""
        self._gone = reason
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(SandboxError(f"the worker ended: {reason}"))
            self._answer.exception()  # nobody may be waiting for it

    async def _ask(self, answer: str, frame: Frame) -> Any:
        if self._gone:
            raise SandboxError(f"the worker ended: {self._gone}")
        self._number += 1
        self._asked = answer
        self._answer = asyncio.get_running_loop().create_future()
        self._send({**frame, "id": self._number})
        try:
            return await asyncio.shield(self._answer)
        except asyncio.CancelledError:
            await self._abandon(self._answer)
            raise

    async def _abandon(self, answer: asyncio.Future[Any]) -> None:
        """Say so, and wait for the answer all the same: no cell can be run before it."""
        self._send({"t": "abandon", "id": self._number})
        await asyncio.wait([answer], timeout=self._grace)
        if not answer.done():
            self._give_up("it did not stop when its checkpoint was given up, and was killed")

    def _checked(self, text: str, size: int) -> bytes:
        try:
            data = b64decode(text, validate=True)
        except ValueError:
            data = b""
        if len(data) != size:
            self._give_up("it broke the protocol (a piece that is not of its size)")
            raise SandboxError("the worker ended: a piece of a checkpoint was not of its size")
        return data
