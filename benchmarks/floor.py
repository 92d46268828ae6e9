"""The floor: the same requests with no framework at all.

Raw asyncio streams, HTTP/1.1 written by hand, ``json`` of the standard library. Nothing is
journalled, limited, retried or kept apart; what is above it is the price of the engine.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any


class Client:
    """One connection that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> Client:
        """Open a connection to the server on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, body: dict[str, Any]) -> str:
        """Send one chat request; the text of its reply."""
        data = json.dumps(body).encode()
        self._writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        reply = json.loads(await self._reader.readexactly(length))
        text: str = reply["choices"][0]["message"]["content"]
        return text

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()


async def in_turn(port: int, bodies: Sequence[dict[str, Any]]) -> list[float]:
    """Seconds of each request, one after the other on one connection."""
    client = await Client.connect(port)
    seconds = []
    for body in bodies:
        began = time.perf_counter()
        await client.ask(body)
        seconds.append(time.perf_counter() - began)
    await client.close()
    return seconds


async def at_once(port: int, bodies: Sequence[dict[str, Any]], width: int) -> float:
    """Seconds until all are answered over ``width`` connections, opening these included."""
    rest = iter(bodies)

    async def work() -> None:
        client = await Client.connect(port)
        for body in rest:
            await client.ask(body)
        await client.close()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(width)))
    return time.perf_counter() - began
