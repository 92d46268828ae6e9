"""What an endpoint's refusal means: from status, headers and body to one ModelError.

Servers that speak OpenAI's dialect agree on little here: the error is an object, a string, a list
of validation errors or a page of HTML; it comes with its status or inside a reply with 200. So
the code and the wording decide together, and the wordings below are those that servers really use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from abyme.errors import (
    AuthError,
    EndpointError,
    ModelError,
    ModelNotFound,
    RateLimited,
    WindowExceeded,
)
from abyme.models.quoting import excerpt, scrub, shorten
from abyme.models.retry_after import retry_after

_WINDOW = re.compile(
    r"context_length_exceeded|context_window_exceeded|input_too_large"  # codes: OpenAI, Groq, xAI
    r"|exceed_context_size|available context size"  # llama.cpp
    r"|max(imum)? (model )?(context|prompt|sequence|allowed input) length"  # OpenAI, vLLM, xAI …
    r"|exceeds? (the |model'?s? )*context (window|length|size)"  # OpenAI, llama-cpp-python
    r"|context (window|length|size) (has been |is |was )?exceed"  # LM Studio, MiniMax, LiteLLM
    r"|prompt (is )?too long|input is too long"  # Anthropic, Ollama, Bedrock
    r"|(longer|greater) than the (model'?s )?context length"  # SGLang, LM Studio
    r"|when context the overflows"  # LM Studio
    r"|input token count .{0,40}exceeds|exceeded model token limit"  # Gemini, Kimi
    r"|token count of \d+ exceeds the limit"  # Copilot
    r"|reduce the length of the (messages|prompt|input)"  # OpenAI, Groq
    r"|max_tokens must be at least 1, got -",  # older vLLM: the prompt alone fills the window
    re.IGNORECASE,
)
_TOO_LARGE_FOR_RATE = re.compile(r"request too large for", re.IGNORECASE)
"""A 429 that no waiting helps: one request above a whole minute's tokens (OpenAI, Groq)."""

_NO_MONEY = {
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
}
"""Codes and types only: Gemini's wording is the same for a minute's quota and for a month's."""

_NO_MODEL = re.compile(
    r"model_not_found|invalid_model\b|^model not exist|^invalid model\b|not a valid model id",
    re.IGNORECASE,
)
_READ = 4_096
"""Of what an endpoint says, so much is read: bytes of a body, characters of a message."""
_MODERATED = re.compile(r"moderation|flagged", re.IGNORECASE)


class Endpoint(msgspec.Struct, frozen=True):
    """Who was asked, as far as an error may tell. ``secrets`` are what it may not tell."""

    model: str
    url: str
    has_key: bool = False
    secrets: tuple[str, ...] = ()

    def quote(self, text: str) -> str:
        """What the endpoint said, without secrets, on one line."""
        # Scrubbed before it is cut: the half of a key would no longer be recognised.
        return excerpt(scrub(text[:_READ], self.secrets))


class Refusal(msgspec.Struct, frozen=True):
    """An error as the endpoint put it; empty strings for what it left out."""

    message: str
    code: str = ""
    kind: str = ""
    param: str = ""
    text: str = ""
    """The beginning of the whole body, for wordings that hide in nested errors."""

    @property
    def names(self) -> set[str]:
        """Its machine-readable names, in lower case."""
        return {self.code.lower(), self.kind.lower()}

    def says(self, pattern: re.Pattern[str]) -> bool:
        """Whether ``pattern`` is in the message, its names or the body."""
        fields = (self.message, self.code, self.kind, self.text)
        return any(pattern.search(field) for field in fields)


def read_refusal(body: bytes) -> Refusal:
    """Read an error body in any of its forms: never raises."""
    text = body[:_READ].decode("utf-8", "replace")
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refusal(text, text=text)
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return Refusal(error[:_READ] if isinstance(error, str) else text, text=text)
    message = error.get("message") or error.get("detail") or error.get("error") or text
    if not isinstance(message, str):
        message = text  # FastAPI's list of validation errors, Mistral's nested object
    code, kind, param = (_name(error.get(field)) for field in ("code", "type", "param"))
    return Refusal(message[:_READ], code, kind, param, text)


def is_about_window(refusal: Refusal) -> bool:
    """Whether the request was refused because it does not fit the model's window."""
    return refusal.says(_WINDOW)


def refused(endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
    """The error for a reply with an error status.

    A 429 or 402 for want of money is an AuthError: waiting does not help, a person must act. A
    413, and a 429 for a request above a whole minute's tokens, is a WindowExceeded: asking less
    helps, asking again does not.
    """
    refusal = read_refusal(body)
    failure = _failure(endpoint, refusal, status, f"{status}", may_wait="retry-after" in headers)
    failure.status = status
    limited = isinstance(failure, RateLimited)
    failure.retry_after = retry_after(headers, limited=limited) if failure.retryable else None
    return failure


def refused_within(endpoint: Endpoint, error: Any) -> ModelError:
    """The error for an ``error`` object inside a reply with status 200, streamed or not."""
    refusal = read_refusal(msgspec.json.encode({"error": error}))
    if re.fullmatch(r"[45]\d\d", refusal.code):
        status = int(refusal.code)
        failure = _failure(endpoint, refusal, status, f"{status} inside a reply with 200")
        failure.status = status
        return failure
    return _failure(endpoint, refusal, _status_of(refusal), "inside a reply with 200")


def _status_of(refusal: Refusal) -> int:
    """The status that an error without a number would have had."""
    names = " ".join(refusal.names)
    if "rate_limit" in names or refusal.names & _NO_MONEY:
        return 429
    if "authentication" in names or "api_key" in names:
        return 401
    return 400 if "invalid_request" in names else 502


def _failure(
    endpoint: Endpoint, refusal: Refusal, status: int, label: str, *, may_wait: bool = False
) -> ModelError:
    kind, what = _diagnose(endpoint, refusal, status, may_wait)
    said = endpoint.quote(refusal.message)
    return kind(shorten(f"{what} ({label})" + (f': "{said}"' if said else "")))


def _diagnose(
    endpoint: Endpoint, refusal: Refusal, status: int, may_wait: bool
) -> tuple[type[ModelError], str]:
    """The kind of error, and the line that says what to do; ``may_wait``: with Retry-After."""
    url, model = endpoint.url, endpoint.model
    if status == 403 and refusal.says(_MODERATED):
        return ModelError, f"{url} withheld the request: its moderation flagged the input"
    if status in (401, 403):
        return AuthError, f"{url} {_about_key(endpoint, status)}"
    if refusal.names & _NO_MONEY or (status == 402 and not may_wait):
        return AuthError, f"{url} wants payment: the account has no credit or quota left"
    if status == 404 or refusal.says(_NO_MODEL):
        return ModelNotFound, _not_found(endpoint)
    if status == 413 or (status != 429 and is_about_window(refusal)):
        return WindowExceeded, f'the request does not fit the window of "{model}"; ask less'
    if status == 429 and refusal.says(_TOO_LARGE_FOR_RATE):
        return WindowExceeded, f'one request exceeds the rate limit of "{model}"; ask less'
    if status in (402, 429):
        return RateLimited, f"{url} asks for fewer requests"
    if status in (408, 409, 425) or status >= 500:
        return EndpointError, f"{url} failed"
    return ModelError, f"{url} refused the request"


def _about_key(endpoint: Endpoint, status: int) -> str:
    if not endpoint.has_key:
        return "wants a key: set OPENAI_API_KEY or pass api_key"
    if status == 401:
        return "does not accept the key: check OPENAI_API_KEY or api_key"
    return f'does not let this key use "{endpoint.model}"'


def _not_found(endpoint: Endpoint) -> str:
    line = f'{endpoint.url} does not know the model "{endpoint.model}" or the path'
    return line if "/v1" in endpoint.url else f'{line}; is "/v1" missing at the end of base_url?'


def _name(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)[:_READ]
