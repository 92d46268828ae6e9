"""What endpoints say when they refuse, and what we make of it. The bodies are real ones."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from abyme.errors import (
    AuthError,
    EndpointError,
    ModelError,
    ModelNotFound,
    RateLimited,
    WindowExceeded,
)
from abyme.models.http_errors import Endpoint, read_refusal, refused, refused_within
from abyme.models.quoting import MAX_LINE, excerpt, public_url, scrub
from abyme.models.retry_after import retry_after

KEY = "sk-proj-A1b2C3d4E5f6G7h8"
ENDPOINT = Endpoint("gpt-x", "http://127.0.0.1:8000/v1", True, (KEY,))


def encode(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else msgspec.json.encode(body)


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error") -> Any:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


WINDOW = [
    # OpenAI, OpenRouter, vLLM (three of its wordings), TensorRT-LLM
    openai("This model's maximum context length is 4097 tokens. However, …", "context_length_exc"),
    openai("Your input exceeds the context window of this model.", "context_length_exceeded"),
    openai("This endpoint's maximum context length is 32768 tokens. However, you requested about"),
    {
        "object": "error",
        "message": "This model's maximum context length is 6048 tokens. However, you requested …",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    openai("'max_tokens' or 'max_completion_tokens' is too large: 40960. This model's maximum "
           "context length is 40960 tokens and your request has 12 input tokens."),
    {"object": "error", "message": "max_tokens must be at least 1, got -186.", "code": 400},
    # SGLang
    {"object": "error", "message": "The input (61709 tokens) is longer than the model's context "
     "length (40960 tokens).", "type": "BadRequestError", "param": None, "code": 400},
    # llama.cpp, llama-cpp-python
    {"error": {"code": 400, "message": "the request exceeds the available context size. try "
     "increasing the context size or enable context shift", "type": "exceed_context_size_error",
     "n_prompt_tokens": 14429, "n_ctx": 8192}},
    openai("Requested tokens (2285) exceed context window of 2048"),
    # Ollama, LM Studio (three)
    openai("prompt too long; exceeded max context length by 4 tokens", kind="api_error"),
    openai("Trying to keep the first 15857 tokens when context the overflows. However, …"),
    openai("The number of tokens to keep from the initial prompt is greater than the context "
           "length. Try to load the model with a larger context length"),
    {"error": "Context size has been exceeded."},
    # Anthropic, Bedrock, Gemini, xAI (two), Groq, Kimi, Copilot, Poolside, gateways
    {"type": "error", "error": {"type": "invalid_request_error",
                                "message": "prompt is too long: 903884 tokens > 200000 maximum"}},
    openai("Input is too long for requested model."),
    openai("The input token count (1196265) exceeds the maximum number of tokens allowed"),
    openai("This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    openai("[input_too_large] Current message (1149677 tokens) exceeds budget (975424 tokens)"),
    openai("Please reduce the length of the messages or completion.", "context_length_exceeded"),
    openai("Your request exceeded model token limit: 8192"),
    openai("prompt token count of 70000 exceeds the limit of 64000"),
    openai("Input length 131393 exceeds the maximum allowed input length of 131040 tokens."),
    openai("Input length (265330) exceeds model's maximum context length (262144)."),
    openai("Prompt too long: 5152 tokens exceeds max_seq_len 2048"),
]  # fmt: skip


@pytest.mark.parametrize("body", WINDOW)
def test_a_request_that_does_not_fit_is_window_exceeded(body: Any) -> None:
    for status in (400, 500):
        error = refused(ENDPOINT, status, {}, encode(body))
        assert type(error) is WindowExceeded
        assert not error.retryable
        assert "ask less" in str(error)
    assert type(refused_within(ENDPOINT, body.get("error", body))) is WindowExceeded


STATUSES: list[tuple[int, Any, type[ModelError], str]] = [
    (400, openai("Invalid value for 'messages'"), ModelError, "Invalid value"),
    (400, {"detail": [{"loc": ["body"], "msg": "field required"}]}, ModelError, "field required"),
    (400, {"message": "invalid model: y", "type": "invalid_model"}, ModelNotFound, "gpt-x"),
    (400, openai("Model Not Exist"), ModelNotFound, "gpt-x"),
    (400, openai("foo is not a valid model ID"), ModelNotFound, "gpt-x"),
    (401, openai("You must be a member of an organization"), AuthError, "OPENAI_API_KEY"),
    (402, {"error": {"message": "Insufficient Balance"}}, AuthError, "no credit"),
    (403, openai("Country not supported"), AuthError, 'this key use "gpt-x"'),
    (403, openai("Your input was flagged"), ModelError, "moderation"),
    (404, {"error": 'model "x" not found, try pulling it first'}, ModelNotFound, "pulling"),
    (404, "404 page not found", ModelNotFound, "the path"),
    (408, "", EndpointError, "failed (408)"),
    (409, "", EndpointError, "failed (409)"),
    (413, "<html><title>413 Request Entity Too Large</title></html>", WindowExceeded, "ask less"),
    (422, {"detail": "unprocessable"}, ModelError, "unprocessable"),
    (425, "", EndpointError, "failed (425)"),
    (429, openai("Rate limit reached", "rate_limit_exceeded"), RateLimited, "fewer requests"),
    (429, openai("ThrottlingException: Too many tokens, wait"), RateLimited, "Too many tokens"),
    (429, openai("You exceeded your current quota, check your plan"), RateLimited, "quota"),
    (429, openai("No credits", "credit_balance_exhausted"), AuthError, "wants payment"),
    (429, openai("quota", None, "insufficient_quota"), AuthError, "wants payment"),
    (
        429,
        openai("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 342"),
        WindowExceeded,
        "ask less",
    ),
    (500, "[" * 100_000, EndpointError, "failed (500)"),
    (500, {"error": "llama runner process has terminated"}, EndpointError, "terminated"),
    (502, "<html>Bad Gateway</html>", EndpointError, "Bad Gateway"),
    (503, openai("overloaded"), EndpointError, "overloaded"),
    (529, {"type": "error", "error": {"type": "overloaded_error"}}, EndpointError, "529"),
]


@pytest.mark.parametrize(("status", "body", "kind", "says"), STATUSES)
def test_statuses(status: int, body: Any, kind: type[ModelError], says: str) -> None:
    error = refused(ENDPOINT, status, {}, encode(body))
    assert type(error) is kind
    assert says in str(error)
    assert error.status == status
    assert error.retryable == (kind in (EndpointError, RateLimited))
    assert len(str(error)) <= MAX_LINE
    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"message": "overloaded", "code": 502}, EndpointError, 502),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, RateLimited, None),
        ({"message": "no", "code": 429}, RateLimited, 429),
        ({"message": "no", "type": "authentication_error"}, AuthError, None),
        ({"message": "no", "type": "invalid_request_error"}, ModelError, None),
        ({"message": "Compute error."}, EndpointError, None),
        ("out of memory", EndpointError, None),
        (["odd"], EndpointError, None),
    ],
)
def test_errors_inside_a_reply(error: Any, kind: type[ModelError], status: int | None) -> None:
    failure = refused_within(ENDPOINT, error)
    assert type(failure) is kind
    assert failure.status == status
    assert "inside a reply with 200" in str(failure)


def test_a_payment_that_may_be_waited_for_is_a_rate_limit() -> None:
    error = refused(ENDPOINT, 402, {"retry-after": "3"}, b"in-flight budget")
    assert (type(error), error.retry_after) == (RateLimited, 3.0)


def test_a_missing_key_is_said_to_be_missing() -> None:
    error = refused(Endpoint("m", "http://h/v1"), 401, {}, b"")
    assert "wants a key: set OPENAI_API_KEY" in str(error)


def test_a_path_without_v1_is_hinted_at() -> None:
    assert '"/v1" missing' in str(refused(Endpoint("m", "http://h:11434"), 404, {}, b""))
    assert '"/v1" missing' not in str(refused(ENDPOINT, 404, {}, b""))


@pytest.mark.parametrize(
    "echo",
    [
        f"Incorrect API key provided: {KEY}.",
        f"Received API Key = {KEY[:9]}...{KEY[-4:]}",
        "Incorrect API key provided: sk-proj-********************21sA.",
        f"Authorization: Bearer {KEY}",
        "Bearer AbCdEf0123456789",
        f"{'x ' * 50}{KEY}",
    ],
)
def test_keys_that_servers_echo_are_not_repeated(echo: str) -> None:
    error = refused(ENDPOINT, 401, {}, encode(openai(echo)))
    for part in (KEY, KEY[:12], KEY[-4:], "21sA", "AbCdEf"):
        assert part not in str(error)
        assert part not in repr(error)


def test_short_and_odd_secrets_are_scrubbed_too() -> None:
    assert scrub("token=abc!", ("abc",)) == "token=[key]!"
    assert scrub("nothing here", ("abc",)) == "nothing here"


def test_quotes_hold_no_control_characters() -> None:
    assert excerpt("a\x1b[31m\r\n\tb\u202ec\x00d") == "a [31m b c d"
    assert len(excerpt("x" * 1000)) == 120


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("http://user:pass@host:8000/v1?key=secret#f", "http://host:8000/v1"),
        ("https://tok@[::1]:9/v1/", "https://[::1]:9/v1/"),
        ("http://[bad/v1", "(an address that cannot be read)"),
    ],
)
def test_public_urls_hold_no_credentials(url: str, public: str) -> None:
    assert public_url(url) == public


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"retry-after": "86400"}, 600.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Fri, 99 Foo 2023 99:99:99 GMT"}, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-reset-tokens": "1m2.5s"}, 62.5),
        ({"x-ratelimit-reset-tokens": "17"}, 17.0),
        ({"x-ratelimit-reset-requests": "1d"}, 600.0),
        ({"x-ratelimit-reset-requests": "6 minutes"}, None),
        (
            {
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-tokens": "2s",
                "x-ratelimit-remaining-tokens": "0",
            },
            2.0,
        ),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=NOW) == (None if seconds is None else pytest.approx(seconds))


def test_retry_after_measures_a_date_from_now() -> None:
    wait = retry_after({"retry-after": formatdate(time.time() + 300, usegmt=True)})
    assert wait is not None
    assert 200 < wait <= 300


def test_little_is_read_of_a_long_refusal() -> None:
    for long in ("x" * 100_000, {"message": "x" * 100_000, "code": "y" * 100_000}):
        refusal = read_refusal(json.dumps({"error": long}).encode())
        assert len(refusal.message) + len(refusal.code) < 10_000
