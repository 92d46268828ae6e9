"""Chat completions over real sockets: what is sent, and every form of a whole reply."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from abyme import types
from abyme.errors import (
    AuthError,
    BadReply,
    ConfigError,
    EndpointError,
    ModelError,
    ModelNotFound,
    RateLimited,
    WindowExceeded,
)
from abyme.models.base import OnText, Request
from abyme.models.openai import OpenAIModel
from abyme.models.transport import Transport
from abyme.types import Message, Usage
from support.calls import KEY, REQUEST, ask, completion, failure, model, until
from support.stub import (
    Action,
    Drop,
    Garbage,
    Hang,
    Html,
    Raw,
    Reply,
    Status,
    Stub,
    Truncate,
    echo,
)

# --- what is sent


def test_a_request_as_it_goes_out() -> None:
    request = Request(REQUEST.messages, max_tokens=77)
    with Stub(["hi"]) as stub:
        ask(stub.url + "/", request, temperature=0.5)
    sent = stub.requests[0]
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["content-type"] == "application/json"
    assert sent.body == {
        "model": "gpt-x",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hello, world"},
        ],
        "max_tokens": 77,
        "temperature": 0.5,
    }


def test_without_a_key_no_authorization_is_sent() -> None:
    with Stub(["hi"]) as stub:
        ask(stub.url, api_key=None)
    assert "authorization" not in stub.requests[0].headers


def test_credentials_in_the_url_are_sent_instead_of_the_key_and_never_shown() -> None:
    echoed = Status(401, "user pass dXNlcjpwYXNz")
    with Stub([echoed]) as stub, pytest.raises(AuthError) as caught:
        url = stub.url.replace("//", "//user:pass@") + "?api-version=7"
        ask(url)
    assert stub.requests[0].headers["authorization"] == "Basic dXNlcjpwYXNz"
    assert stub.requests[0].path == "/v1/chat/completions?api-version=7"
    assert "pass" not in str(caught.value).replace("pass api_key", "")
    assert "dXNlcjpwYXNz" not in str(caught.value)
    assert model(url).endpoint == stub.url


def test_lone_surrogates_become_replacement_characters() -> None:
    with Stub(echo) as stub:
        reply = ask(stub.url, Request((Message("user", "a\ud800b \U0001f600 \udfffc"),)))
    assert reply.text == "a\ufffdb \U0001f600 \ufffdc"


@pytest.mark.parametrize("text", ["", "é漢\U0001f600\x00\u2028", '\\ud800 "quoted" \r\n\t'])
def test_any_text_arrives_as_it_was(text: str) -> None:
    with Stub(lambda request: json.dumps(request.prompt)) as stub:
        reply = ask(stub.url, Request((Message("user", text),)))
    assert json.loads(reply.text) == text


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "ftp://h/v1", "http://", "http://h:port/v1", "http://[x/v1", ""]
)
def test_an_address_that_is_none_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url must be like"):
        model(url)


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-ключ", "a\x00b"])
def test_a_key_that_no_header_can_carry_is_a_config_error_that_does_not_show_it(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        model("http://h/v1", api_key=key)
    assert key not in str(caught.value)
    model("http://h/v1", api_key=" sk-ok\n")


# --- whole replies


def test_usage_comes_from_the_endpoint() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 64},
    }
    with Stub([Reply("hi", usage)]) as stub:
        reply = ask(stub.url)
    assert reply == types.Reply("hi", Usage(100, 7, 64, 1), model="gpt-x")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, Usage(5, 2, 0, 1, True)),
        ({}, Usage(5, 2, 0, 1, True)),
        ("odd", Usage(5, 2, 0, 1, True)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(5, 2, 0, 1, True)),
        ({"prompt_tokens": True, "completion_tokens": -3}, Usage(5, 2, 0, 1, True)),
        ({"prompt_tokens": 10**30, "completion_tokens": 1}, Usage(5, 1, 0, 1, True)),
        ({"prompt_tokens": 9}, Usage(9, 2, 0, 1, True)),
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": None},
            Usage(9, 1, 0, 1),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8},
            Usage(9, 1, 8, 1),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 99}, Usage(9, 1, 9, 1)),
    ],
)
def test_missing_usage_is_estimated_and_marked(usage: Any, expected: Usage) -> None:
    with Stub([completion({"content": "eight ch"}, usage=usage)]) as stub:
        assert ask(stub.url).usage == expected


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "plain"}, "plain"),
        ({"content": [{"type": "text", "text": "two "}, {"type": "text", "text": "parts"}]},
         "two parts"),
        ({"content": ["bare", {"type": "image"}, None]}, "bare"),
        ({"content": "answer", "reasoning_content": "hm", "refusal": None}, "answer"),
    ],
)  # fmt: skip
def test_content_in_its_forms(message: Any, text: str) -> None:
    with Stub([completion(message)]) as stub:
        reply = ask(stub.url)
    assert (reply.text, reply.model, reply.cut) == (text, "m-1", False)


@pytest.mark.parametrize("reason", ["length", "max_tokens", "model_length"])
def test_a_reply_that_was_cut_says_so(reason: str) -> None:
    with Stub([Reply("half an ans", finish_reason=reason)]) as stub:
        assert ask(stub.url).cut


@pytest.mark.parametrize(
    ("message", "reason", "says", "retryable"),
    [
        ({"content": None, "refusal": "I will not."}, "stop", 'refusal: "I will not."', False),
        ({"content": None, "reasoning_content": "hm"}, "stop", "reasoning but no text", True),
        ({"content": "", "reasoning": "hm"}, "length", "used up by reasoning", False),
        ({"content": " \n"}, "length", "used up before any text; raise max tokens", False),
        ({"content": ""}, "stop", "is empty", True),
        ({}, None, "is empty", True),
        (None, None, "is empty", True),
        ({"content": None, "tool_calls": [{"id": 1}]}, "tool_calls", "calls a tool", True),
        ({"content": "so fa"}, "content_filter", "content filter", False),
    ],
)
def test_a_reply_without_text_is_a_bad_reply_that_says_why(
    message: Any, reason: Any, says: str, retryable: bool
) -> None:
    caught = failure(completion(message, reason))
    assert type(caught) is BadReply
    assert says in str(caught)
    assert caught.retryable is retryable


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (Html(), 'sent an HTML page: "<!doctype html>'),
        (Garbage(), "sent something that is not JSON"),
        (Garbage('{"choices": [{"mess'), "sent something that is not JSON"),
        (Garbage(b"\xff\xfe{}"), "sent something that is not JSON"),
        (Garbage(""), "sent something that is not JSON"),
        (Garbage("[" * 100_000), "sent something that is not JSON"),
        (Garbage("[1, 2]"), "JSON that is no chat completion"),
        (Garbage("{}"), "without choices"),
        (Garbage('{"choices": []}'), "without choices"),
        (Garbage('{"choices": [null]}'), "without choices"),
        (Garbage('{"choices": "no", "secret": "' + KEY + '"}'), "without choices"),
    ],
)
def test_what_is_no_completion_is_a_bad_reply(action: Action, says: str) -> None:
    for on_text in (None, lambda _: None):
        caught = failure(action, on_text)
        assert type(caught) is BadReply
        if on_text is None:
            assert says in str(caught)


def test_an_error_inside_a_reply_with_200_is_an_error() -> None:
    """OpenRouter: once a model has started, errors come with status 200."""
    caught = failure(Garbage('{"error": {"code": 502, "message": "provider down"}}'))
    assert (type(caught), caught.status) == (EndpointError, 502)
    inner = completion({"content": ""}, "error", error=None)
    assert "ended its reply with an error" in str(failure(inner))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ModelError),
        (401, AuthError),
        (403, AuthError),
        (404, ModelNotFound),
        (413, WindowExceeded),
        (429, RateLimited),
        (500, EndpointError),
        (529, EndpointError),
    ],
)
@pytest.mark.parametrize("on_text", [None, lambda _: None])
def test_error_statuses(status: int, kind: type[ModelError], on_text: OnText | None) -> None:
    body = {"error": {"message": f"\x1b[31mno: {KEY} {KEY[:10]}...", "type": "x", "code": None}}
    caught = failure(Status(status, body, {"Retry-After": "3"}), on_text)
    assert type(caught) is kind
    assert caught.status == status
    assert caught.retry_after == (3.0 if caught.retryable else None)
    assert KEY[:10] not in str(caught)


@pytest.mark.parametrize("action", [Drop(), Drop(200), Truncate(), Raw(b"")])
@pytest.mark.parametrize("on_text", [None, lambda _: None])
def test_dropped_connections_are_endpoint_errors(action: Action, on_text: OnText | None) -> None:
    caught = failure(action, on_text)
    assert type(caught) is EndpointError
    assert caught.retryable


# --- many at once, cancelled, and what it says of itself


@pytest.mark.parametrize("streamed", [False, True])
def test_two_hundred_at_once_stay_apart(streamed: bool) -> None:
    async def main() -> list[types.Reply]:
        transport = Transport()
        asked = model(stub.url, transport, stream=streamed)
        requests = [Request((Message("user", f"number {i}"),)) for i in range(200)]
        replies = await asyncio.gather(*(asked.complete(request) for request in requests))
        await transport.close()
        return replies

    with Stub(lambda request: Reply(request.prompt, latency=0.05)) as stub:
        replies = asyncio.run(main())
    assert [r.text for r in replies] == [f"number {i}" for i in range(200)]
    assert stub.bill.replies == 200
    assert stub.bill.output_tokens == sum(r.usage.output_tokens for r in replies)


@pytest.mark.parametrize("on_text", [None, lambda _: None])
def test_cancelling_a_call_closes_its_connection(on_text: OnText | None) -> None:
    async def main() -> None:
        transport = Transport()
        asked = model(stub.url, transport)
        calls = [asyncio.create_task(asked.complete(REQUEST, on_text)) for _ in range(20)]
        await until(lambda: len(stub.requests) == 20)
        for call in calls:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        await until(lambda: stub.open_connections == 0)
        await transport.close()

    with Stub(lambda _: Hang()) as stub:
        asyncio.run(main())


def test_what_a_model_says_of_itself() -> None:
    local = model("http://user:pass@127.0.0.1:9/v1/?k=1")
    assert (local.name, local.endpoint) == ("openai:gpt-x", "http://127.0.0.1:9/v1")
    assert (local.window, local.max_output) == (32_000, 4_096)
    hosted = OpenAIModel("new-one", transport=Transport())
    assert (hosted.window, hosted.max_output) == (128_000, 16_384)
    routed = OpenAIModel("openai/gpt-4o-mini", base_url="http://h/v1", transport=Transport())
    assert routed.window == 128_000
    assert (model("http://h/v1", window=9, max_output=5).window, local.max_output) == (9, 4_096)


def test_closing_a_model_leaves_the_shared_transport_open() -> None:
    async def main() -> None:
        transport = Transport()
        asked = model(stub.url, transport)
        await asked.complete(REQUEST)
        await asked.close()
        await asked.complete(REQUEST)
        await transport.close()

    with Stub(echo) as stub:
        asyncio.run(main())
    assert stub.accepted == 1
