"""Streamed chat completions over real sockets: every spelling, every way to break."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from abyme import types
from abyme.errors import (
    BadReply,
    EndpointError,
    ModelError,
    RateLimited,
    WindowExceeded,
)
from abyme.models.transport import Transport
from abyme.types import Usage
from support.calls import REQUEST, ask, completion, failure, model, until
from support.stub import (
    Stream,
    Stub,
    chunk,
    echo,
    sse,
)


def collect(pieces: Sequence[bytes], **options: Any) -> tuple[types.Reply, list[str]]:
    heard: list[str] = []
    with Stub([Stream(pieces, **options)]) as stub:
        reply = ask(stub.url, on_text=heard.append)
    assert stub.requests[0].body["stream"] is True
    assert stub.requests[0].body["stream_options"] == {"include_usage": True}
    return reply, heard


USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": None}
PLAIN = sse(chunk("caf\u00e9 "), chunk("\U0001f600"), chunk(None, "stop"))
LAST = sse({"choices": [], "usage": USAGE}, "[DONE]")


@pytest.mark.parametrize(
    "body",
    [
        PLAIN + LAST,
        (PLAIN + LAST).replace(b"data: ", b"data:"),
        (PLAIN + LAST).replace(b"\n", b"\r\n"),
        b": OPENROUTER PROCESSING\n\n" + PLAIN + b": ping\n\ndata:\n\n" + LAST,
        PLAIN.replace(b"data: ", b"event: message\nid: 1\ndata: ") + LAST,
        PLAIN + LAST.rstrip(),
        PLAIN + LAST.replace(b"data: [DONE]\n\n", b""),
        PLAIN + LAST + sse(chunk("after the end")),
        sse(chunk("caf\u00e9 \U0001f600", usage=None), chunk("", "stop", usage=USAGE), "[DONE]"),
        sse({"choices": [{"delta": {"role": "assistant", "content": None}}]}) + PLAIN + LAST,
        sse({"choices": [{"index": 1, "delta": {"content": "another choice"}}]}) + PLAIN + LAST,
        sse({"choices": [{"delta": None}]}, {"prompt_filter_results": []}) + PLAIN + LAST,
    ],
)
def test_streams_in_all_their_spellings(body: bytes) -> None:
    reply, heard = collect([body])
    assert reply.text == "café 😀"
    assert "".join(heard) == "café 😀"
    assert reply.usage == Usage(10, 2, 0, 1)


def test_a_stream_may_be_cut_into_chunks_anywhere() -> None:
    body = PLAIN + LAST
    actions = [Stream([body[:at], body[at:]], gap=0.0005) for at in range(1, len(body))]
    with Stub(actions) as stub:
        seen: list[str] = []
        reply = ask(stub.url, on_text=seen.append, times=len(actions))
    assert reply.text == "café 😀"
    assert "".join(seen) == "café 😀" * len(actions)
    assert stub.accepted == 1


def test_a_stream_byte_by_byte() -> None:
    body = PLAIN + LAST
    reply, _ = collect([body[i : i + 1] for i in range(len(body))])
    assert reply.text == "café 😀"


def test_a_stream_that_is_only_closed_at_its_end() -> None:
    assert collect([PLAIN, LAST], chunked=False)[0].text == "café 😀"


def test_a_stream_without_usage_is_estimated() -> None:
    reply, _ = collect([PLAIN, sse("[DONE]")])
    assert reply.usage == Usage(5, 2, 0, 1, estimated=True)


def test_a_stream_that_was_cut_says_so() -> None:
    assert collect([sse(chunk("half"), chunk(None, "length"), "[DONE]")])[0].cut


@pytest.mark.parametrize("ended", [True, False])
def test_a_stream_without_done_counts_where_it_said_why_it_finished(ended: bool) -> None:
    assert collect([PLAIN], ended=ended, gap=0.01)[0].text == "café 😀"


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize(
    "body", [sse(chunk("half")), sse(chunk("half")) + b'data: {"choices": [{"de', b"", b": ping\n"]
)
def test_a_stream_that_stops_in_the_middle_is_an_endpoint_error(body: bytes, ended: bool) -> None:
    caught = failure(Stream([body] if body else [], ended=ended), lambda _: None)
    assert type(caught) is EndpointError
    assert "dropped the connection in the middle" in str(caught)


def test_a_stream_is_heard_as_it_comes() -> None:
    async def main() -> None:
        transport = Transport()
        heard: list[str] = []
        call = asyncio.create_task(model(stub.url, transport).complete(REQUEST, heard.append))
        await until(lambda: heard == ["first"])
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: stub.open_connections == 0)
        await transport.close()

    endless = Stream([sse(chunk("first")), *[b": ping\n\n"] * 2000], gap=0.02)
    with Stub([endless]) as stub:
        asyncio.run(main())


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (sse({"error": {"message": "overloaded", "code": 502}}), EndpointError),
        (sse({"error": {"message": "x", "code": "context_length_exceeded"}}), WindowExceeded),
        (sse({"error": "boom"}, "[DONE]"), EndpointError),
        (sse({"choices": [], "error": {"message": "full", "code": 429}}), RateLimited),
        (sse({"choices": [{"delta": {}, "error": {"message": "no", "code": 502}}]}), EndpointError),
        (b'error: {"code":400,"message":"exceeds the available context size"}\n\n', WindowExceeded),
        (b'event: error\ndata: {"error": {"type": "overloaded_error"}}\n\n', EndpointError),
        (sse("not json"), BadReply),
    ],
)
def test_errors_inside_a_stream(event: bytes, kind: type[ModelError]) -> None:
    caught = failure(Stream([sse(chunk("half ")), event]), lambda _: None)
    assert type(caught) is kind


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>not a stream</html>", "no stream of events"),
        (sse(chunk("", "stop"), "[DONE]"), "is empty"),
        (sse(chunk("\n", "length"), "[DONE]"), "raise max tokens"),
        (sse({"choices": [{"delta": {"reasoning_content": "hm"}}]}, "[DONE]"), "no text"),
        (sse({"choices": [{"delta": {"refusal": "No."}}]}, "[DONE]"), 'a refusal: "No."'),
    ],
)
def test_streams_without_text_are_bad_replies(body: bytes, says: str) -> None:
    caught = failure(Stream([body]), lambda _: None)
    assert type(caught) is BadReply
    assert says in str(caught)


def test_a_server_that_does_not_stream_is_heard_once() -> None:
    heard: list[str] = []
    with Stub([completion({"content": "all at once"})]) as stub:
        assert ask(stub.url, on_text=heard.append).text == "all at once"
    assert heard == ["all at once"]


def test_streaming_can_be_asked_for_without_a_listener() -> None:
    with Stub(["quietly"]) as stub:
        assert ask(stub.url, stream=True).text == "quietly"
    assert stub.requests[0].body["stream"] is True


def test_connections_of_streams_are_used_again() -> None:
    with Stub(echo) as stub:
        ask(stub.url, on_text=lambda _: None, times=10)
    assert stub.accepted == 1
