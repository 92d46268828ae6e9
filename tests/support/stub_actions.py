"""What a stub server can be told to do, and the bytes that it then sends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Ending = Literal["keep", "close", "abort", "hang"]
"""What becomes of the connection after a response: kept, closed, reset, or left without a word."""


@dataclass(frozen=True)
class StubRequest:
    """One request as it arrived. ``body`` is {} where it was no JSON object."""

    index: int
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    raw: bytes
    body: dict[str, Any]
    arrived: float
    """``time.monotonic()`` when its last byte had come."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of a chat request."""
        messages = self.body.get("messages")
        return messages if isinstance(messages, list) else []

    @property
    def prompt(self) -> str:
        """The last message's text, "" where there is none."""
        return str(self.messages[-1].get("content", "")) if self.messages else ""


@dataclass(frozen=True)
class Reply:
    """A chat completion, streamed in ``stream_chunks`` pieces where the request asks for it.

    ``usage`` replaces the stub's own count; ``counted=False`` leaves it out. ``latency`` is in
    seconds, before the first byte.
    """

    text: str
    usage: Mapping[str, Any] | None = None
    latency: float = 0.0
    cached: int = 0
    finish_reason: str = "stop"
    stream_chunks: int = 3
    counted: bool = True


@dataclass(frozen=True)
class Status:
    """A reply with this status; a ``body`` that is no string is sent as JSON."""

    code: int
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    latency: float = 0.0


@dataclass(frozen=True)
class Drop:
    """Reset the connection, after so many bytes of an ordinary response."""

    after_bytes: int = 0


@dataclass(frozen=True)
class Hang:
    """Never answer."""


@dataclass(frozen=True)
class Garbage:
    """Status 200 with this body, whatever it is."""

    body: bytes | str = b"\x00\xff not a reply \x1b[31m"
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Truncate:
    """Announce the whole reply, send half of it, close."""

    text: str = "a reply that is cut in the middle of its body"


@dataclass(frozen=True)
class Html:
    """Status 200 and a page, as captive portals and wrong ports send it."""

    body: str = "<!doctype html><html><head><title>Welcome</title></head><body>Hi</body></html>"


@dataclass(frozen=True)
class Stream:
    """These bytes as the body of a streamed reply, ``gap`` seconds apart.

    ``chunked=False``: the end of the connection ends the body. ``ended=False``: the last chunk is
    missing, as when a server dies.
    """

    pieces: Sequence[bytes]
    gap: float = 0.0
    content_type: str = "text/event-stream"
    chunked: bool = True
    ended: bool = True


@dataclass(frozen=True)
class Raw:
    """These bytes as the whole response, head included; then the connection is closed."""

    data: bytes


Action = Reply | Status | Drop | Hang | Garbage | Truncate | Html | Stream | Raw


@dataclass
class Bill:
    """What the replies that were really sent would have cost, in tokens."""

    replies: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True)
class Plan:
    """A response ready to send: (seconds to wait, bytes) in order, then the ending."""

    pieces: Sequence[tuple[float, bytes]]
    ending: Ending = "keep"
    bill: Bill | None = None


def count_tokens(text: str) -> int:
    """The stub's tokens: four characters each, rounded up."""
    return -(-len(text) // 4)


def plan(action: Action, request: StubRequest) -> Plan:
    """What ``action`` sends in answer to ``request``."""
    match action:
        case Reply():
            return _plan_reply(action, request)
        case Status(code, body, headers, latency):
            said = body if isinstance(body, str) else json.dumps(body)
            return Plan([(latency, _response(code, said.encode(), headers=headers))])
        case Drop(after):
            whole = _plan_reply(Reply("a reply that never arrives whole"), request).pieces[0][1]
            return Plan([(0, whole[:after])], "abort")
        case Hang():
            return Plan([], "hang")
        case Garbage(body, content_type, headers):
            data = body.encode() if isinstance(body, str) else body
            return Plan([(0, _response(200, data, content_type, headers))])
        case Truncate(text):
            whole = _response(200, json.dumps(_completion(Reply(text), request, {})).encode())
            return Plan([(0, whole[: -len(text) // 2])], "close")
        case Html(body):
            return Plan([(0, _response(200, body.encode(), "text/html; charset=utf-8"))])
        case Stream():
            return _plan_stream(action)
        case Raw(data):
            return Plan([(0, data)], "close")


def sse(*events: Any) -> bytes:
    """Server-sent events: strings as they are, anything else as JSON."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def chunk(text: str | None = None, finish: str | None = None, **extra: Any) -> dict[str, Any]:
    """One chunk of a streamed chat completion."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "model": "stub", "choices": [choice], **extra}


def _plan_reply(reply: Reply, request: StubRequest) -> Plan:
    sent = sum(count_tokens(str(m.get("content", ""))) for m in request.messages)
    bill = Bill(1, sent, count_tokens(reply.text), reply.cached)
    usage = reply.usage
    if usage is None and reply.counted:
        usage = {
            "prompt_tokens": bill.input_tokens,
            "completion_tokens": bill.output_tokens,
            "total_tokens": bill.input_tokens + bill.output_tokens,
            "prompt_tokens_details": {"cached_tokens": reply.cached},
        }
    if not request.body.get("stream"):
        body = json.dumps(_completion(reply, request, usage)).encode()
        return Plan([(reply.latency, _response(200, body))], bill=bill)
    size = max(1, -(-len(reply.text) // max(1, reply.stream_chunks)))
    parts = [reply.text[i : i + size] for i in range(0, len(reply.text), size)]
    events = [sse(chunk(part)) for part in parts] + [sse(chunk(None, reply.finish_reason))]
    if usage and (request.body.get("stream_options") or {}).get("include_usage"):
        events.append(sse({"model": "stub", "choices": [], "usage": usage}))
    pieces = list(_plan_stream(Stream([*events, sse("[DONE]")])).pieces)
    pieces[0] = (reply.latency, pieces[0][1])
    return Plan(pieces, bill=bill)


def _completion(reply: Reply, request: StubRequest, usage: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    body = {
        "id": f"stub-{request.index}",
        "object": "chat.completion",
        "model": request.body.get("model", "stub"),
        "choices": [choice],
    }
    return {**body, "usage": usage} if usage else body


def _plan_stream(stream: Stream) -> Plan:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {stream.content_type}\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n" if stream.chunked else "Connection: close\r\n\r\n"
    pieces = [(0.0, head.encode())]
    for piece in stream.pieces:
        data = b"%x\r\n%s\r\n" % (len(piece), piece) if stream.chunked else piece
        pieces.append((stream.gap, data))
    if stream.chunked and stream.ended:
        pieces.append((0.0, b"0\r\n\r\n"))
    return Plan(pieces, "keep" if stream.chunked and stream.ended else "close")


def _response(
    code: int,
    body: bytes,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    lines = [f"HTTP/1.1 {code} Stub", f"Content-Type: {content_type}"]
    lines += [f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
