"""A model server that does what a test tells it to, over real sockets on the loopback interface.

::

    with Stub(["first reply", Status(429), Drop()]) as stub:
        ...  # ask stub.url, "http://127.0.0.1:PORT/v1"
    assert stub.requests[0].prompt == "..."

The script is a list, one action for each request in order of arrival, or a callable from the
request to an action; a string is a ``Reply``. It runs in its own thread and event loop, on a raw
asyncio protocol, so that it is no bottleneck beside what it measures. A callable runs in that
loop: it must not block.

Not covered: TLS, HTTP/2, chunked request bodies, pipelined requests (answered one after another).
As a command: ``python tests/support/stub.py --reader``, or with ``--replies replies.json`` and
``--latency 100``; it prints the URL for ``--base-url``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: its neighbours go by their usual name all the same
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.stub_actions import (
    Action,
    Bill,
    Drop,
    Garbage,
    Hang,
    Html,
    Plan,
    Raw,
    Reply,
    Status,
    Stream,
    StubRequest,
    Truncate,
    chunk,
    count_tokens,
    plan,
    sse,
)

__all__ = [
    "Action",
    "Bill",
    "Drop",
    "Garbage",
    "Hang",
    "Html",
    "Raw",
    "Reply",
    "Status",
    "Stream",
    "Stub",
    "StubRequest",
    "Truncate",
    "chunk",
    "count_tokens",
    "echo",
    "sse",
]

Script = Callable[[StubRequest], "Action | str"]


class _Connection(asyncio.Protocol):
    """One client's connection: reads requests, plays the plans of their answers."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._received = bytearray()
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._stub._connections.add(self)
        self._stub.accepted += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._stub._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._busy:
            self._finished()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._busy:
            self._next()

    def abort(self) -> None:
        """Reset the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> None:
        """Answer the first whole request in the buffer, if there is one."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        size = end + 4 + int(headers.get("content-length", 0))
        if len(self._received) < size:
            if headers.get("expect") and len(self._received) == end + 4 and self._transport:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        raw = bytes(self._received[end + 4 : size])
        del self._received[:size]
        method, path, *_ = first.split(" ")
        self._busy = True
        answer = self._stub._answer(method, path, headers, raw)
        self._play(iter(answer.pieces), answer)

    def _play(self, pieces: Any, answer: Plan) -> None:
        """Send what is due now; come back for the rest when it is due."""
        for delay, data in pieces:
            if delay > 0:
                self._timer = asyncio.get_running_loop().call_later(
                    delay, self._resume, data, pieces, answer
                )
                return
            self._write(data)
        self._end(answer)

    def _resume(self, data: bytes, pieces: Any, answer: Plan) -> None:
        self._timer = None
        self._write(data)
        self._play(pieces, answer)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _end(self, answer: Plan) -> None:
        if self._transport is None or answer.ending == "hang":
            return
        if answer.bill is not None:
            self._stub._charge(answer.bill)
        self._busy = False
        self._finished()
        if answer.ending == "keep":
            self._next()
        elif answer.ending == "close":
            self._transport.close()
        else:
            # Behind what was written, so that the client has read it before the reset.
            asyncio.get_running_loop().call_later(0.01, self.abort)

    def _finished(self) -> None:
        self._stub.in_flight -= 1


class Stub:
    """The server; a context manager. Its counts may be read from any thread at any time."""

    def __init__(
        self, script: Script | Iterable[Action | str], *, port: int = 0, latency: float = 0.0
    ) -> None:
        self.requests: list[StubRequest] = []
        self.bill = Bill()
        self.in_flight = 0
        """Requests that have come whole and are not answered yet."""
        self.max_concurrent = 0
        """The most that were in flight at once."""
        self.accepted = 0
        """Connections ever made."""
        self._script = script if callable(script) else _in_order(script)
        self._latency = latency
        self._port = port
        self._connections: set[_Connection] = set()
        self._failure: Exception | None = None
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="stub", daemon=True)

    @property
    def url(self) -> str:
        """The base URL, "/v1" included."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    def __enter__(self) -> Stub:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Stop, leaving no socket and no thread; raises what the script raised, if it did."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    def drop_connections(self) -> None:
        """Close every connection now, as a server does with idle ones."""
        if self._loop is not None:
            done = threading.Event()
            self._loop.call_soon_threadsafe(self._drop, done)
            done.wait()

    def _drop(self, done: threading.Event) -> None:
        for connection in list(self._connections):
            connection.abort()
        done.set()

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        try:
            server = loop.run_until_complete(
                loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port, backlog=2048)
            )
        except OSError as error:
            self._failure = error
            self._ready.set()
            loop.close()
            return
        self._port = server.sockets[0].getsockname()[1]
        self._loop = loop
        self._ready.set()
        loop.run_forever()
        # Accept no more, and only then close: asyncio leaks a socket that it accepted just before.
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
        loop.run_until_complete(self._wind_down())
        server.close()
        loop.close()

    async def _wind_down(self) -> None:
        """Reset all connections, also those that are only just being accepted."""
        me = asyncio.current_task()
        while self._connections or asyncio.all_tasks() != {me}:
            for connection in list(self._connections):
                connection.abort()
            await asyncio.sleep(0)

    def _answer(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> Plan:
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        arrived = time.monotonic()
        body = body if isinstance(body, dict) else {}
        request = StubRequest(len(self.requests), method, path, headers, raw, body, arrived)
        self.requests.append(request)
        self.in_flight += 1
        self.max_concurrent = max(self.max_concurrent, self.in_flight)
        try:
            action = self._script(request)
            if isinstance(action, str):
                action = Reply(action, latency=self._latency)
            return plan(action, request)
        except Exception as error:
            self._failure = self._failure or error
            return plan(Status(500, f"the stub's script failed: {error!r}"), request)

    def _charge(self, bill: Bill) -> None:
        self.bill.replies += bill.replies
        self.bill.input_tokens += bill.input_tokens
        self.bill.output_tokens += bill.output_tokens
        self.bill.cached_tokens += bill.cached_tokens


def _in_order(actions: Iterable[Action | str]) -> Script:
    """A script that goes through ``actions`` once; what comes after them is a 500."""
    rest = iter(actions)

    def script(request: StubRequest) -> Action | str:
        return next(rest, Status(500, f"the stub's script has no action {request.index}"))

    return script


def echo(request: StubRequest) -> str:
    """A script: says the last message back."""
    return request.prompt


def reader(request: StubRequest) -> str:
    """A script: the built-in reader, which so answers real questions over HTTP."""
    from abyme.models.reader import drive, read
    from abyme.types import Message

    messages = [Message(each["role"], each["content"]) for each in request.messages]
    return drive(messages) if messages[0].role == "system" else read(messages)


def main() -> None:
    """Serve until interrupted; the first line printed is the base URL."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds before a reply")
    parser.add_argument("--replies", help="a JSON list of texts, served in turn; else an echo")
    parser.add_argument("--reader", action="store_true", help="the built-in reader answers")
    arguments = parser.parse_args()
    script: Script | Iterable[str] = reader if arguments.reader else echo
    if arguments.replies:
        texts = json.loads(Path(arguments.replies).read_text(encoding="utf-8"))
        script = itertools.cycle(texts)
    with Stub(script, port=arguments.port, latency=arguments.latency / 1000) as stub:
        print(stub.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
