"""Asking a stub for chat completions, and the bodies that it may answer with."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from abyme.errors import ModelError
from abyme.models.base import OnText, Request
from abyme.models.openai import OpenAIModel
from abyme.models.transport import Transport
from abyme.types import Message, Reply
from support.stub import Action, Garbage, Status, Stub

KEY = "sk-secret-0123456789"
REQUEST = Request((Message("system", "be brief"), Message("user", "hello, world")))


def model(base_url: str, transport: Transport | None = None, **options: Any) -> OpenAIModel:
    """A model named "gpt-x" at ``base_url``, with ``KEY`` where nothing else is said."""
    options.setdefault("api_key", KEY)
    return OpenAIModel("gpt-x", base_url=base_url, transport=transport or Transport(), **options)


def ask(
    url: str,
    request: Request = REQUEST,
    on_text: OnText | None = None,
    *,
    times: int = 1,
    **options: Any,
) -> Reply:
    """The last of ``times`` replies."""

    async def main() -> Reply:
        transport = Transport()
        try:
            asked = model(url, transport, **options)
            for _ in range(times):
                reply = await asked.complete(request, on_text)
            return reply
        finally:
            await transport.close()

    return asyncio.run(main())


def failure(action: Action, on_text: OnText | None = None, **options: Any) -> ModelError:
    """The error that ``action`` leads to: one line without the key, wherever one looks."""
    with Stub(lambda _: action) as stub, pytest.raises(ModelError) as caught:
        ask(stub.url, on_text=on_text, **options)
    line = str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert len(line) <= 300
    assert line.isprintable()
    return caught.value


def refusal(message: str, param: str | None = None, code: str | None = None) -> Status:
    """A 400 as OpenAI words it."""
    kind = "invalid_request_error"
    return Status(400, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def completion(message: Any, finish_reason: Any = "stop", **extra: Any) -> Garbage:
    """A chat completion with this message, however odd."""
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return Garbage(json.dumps({"model": "m-1", "choices": [choice], **extra}))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that will happen soon; fails after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
