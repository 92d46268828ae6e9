"""Parameters that an endpoint refuses: changed, tried again at once, remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from abyme.errors import (
    ModelError,
)
from abyme.models.base import Request
from abyme.models.transport import Transport
from support.calls import REQUEST, ask, model, refusal
from support.stub import (
    Action,
    Status,
    Stub,
    StubRequest,
)

LIMITED = Request(REQUEST.messages, max_tokens=9000)
UNSUPPORTED = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
NO_STREAM = "Your organization must be verified to stream this model."


def picky(refusals: dict[str, Status]) -> Callable[[StubRequest], Action | str]:
    """A script that refuses each of these parameters wherever it sees it."""

    def script(request: StubRequest) -> Action | str:
        for parameter, answer in refusals.items():
            if parameter in request.body:
                return answer
        return "at last"

    return script


@pytest.mark.parametrize(
    ("refusals", "left"),
    [
        ({"max_tokens": refusal(UNSUPPORTED, "max_tokens", "unsupported_parameter")},
         {"max_completion_tokens": 9000, "temperature": 0}),
        ({"max_tokens": refusal(UNSUPPORTED)}, {"max_completion_tokens": 9000, "temperature": 0}),
        ({"max_tokens": Status(422, {"detail": [{"type": "extra_forbidden",
                                                 "loc": ["body", "max_tokens"]}]}),
          "max_completion_tokens": refusal("Unrecognized request argument supplied: "
                                         "max_completion_tokens")},
         {"temperature": 0}),
        ({"temperature": refusal("Unsupported value: 'temperature' does not support 0 with this "
                               "model. Only the default (1) value is supported.", "temperature")},
         {"max_tokens": 9000}),
        ({"temperature": refusal("invalid temperature: only 1 is allowed for this model")},
         {"max_tokens": 9000}),
        ({"stream_options": Status(422, {"object": "error", "message": {"detail": [
            {"type": "extra_forbidden", "loc": ["body", "stream_options", "include_usage"],
             "msg": "Extra inputs are not permitted"}]}})},
         {"max_tokens": 9000, "temperature": 0, "stream": True}),
        ({"stream": refusal(NO_STREAM, "stream", "unsupported_value")},
         {"max_tokens": 9000, "temperature": 0}),
    ],
)  # fmt: skip
def test_refused_parameters_are_changed_tried_again_and_remembered(
    refusals: dict[str, Status], left: dict[str, Any]
) -> None:
    heard: list[str] = []
    streams = "stream" in str(refusals)
    with Stub(picky(refusals)) as stub:
        ask(stub.url, LIMITED, heard.append if streams else None, times=3, temperature=0)
    assert len(stub.requests) == len(refusals) + 3
    for request in stub.requests[len(refusals) :]:
        rest = {k: v for k, v in request.body.items() if k not in ("model", "messages")}
        assert rest == left
    assert not streams or "".join(heard) == "at last" * 3


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 9000. This model supports at most 4096 completion tokens, "
        "whereas you provided 9000.",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 4096]",
        "max_tokens: 9000 > 4096, which is the maximum allowed number of output tokens",
        "The parameter `max_tokens` is not valid: expected a value <= 4096, but got 9000 instead.",
    ],
)
def test_a_limit_above_the_model_s_own_is_lowered_and_remembered(message: str) -> None:
    def script(request: StubRequest) -> Action | str:
        return refusal(message) if request.body["max_tokens"] > 4096 else "at last"

    with Stub(script) as stub:
        ask(stub.url, LIMITED, times=3)
    assert [r.body["max_tokens"] for r in stub.requests] == [9000, 4096, 4096, 4096]


def test_other_refusals_are_not_tried_again() -> None:
    for message in ("messages: unsupported role", "maximum context length; lower max_tokens"):
        with Stub([refusal(message), "never asked for"]) as stub, pytest.raises(ModelError):
            ask(stub.url, LIMITED)
        assert len(stub.requests) == 1


def test_an_endpoint_that_refuses_everything_is_not_asked_for_ever() -> None:
    with Stub(lambda _: refusal("unsupported: max_tokens temperature")) as stub:
        with pytest.raises(ModelError, match="unsupported"):
            ask(stub.url, LIMITED, temperature=1)
        assert len(stub.requests) <= 6


def test_concurrent_calls_learn_from_one_another() -> None:
    async def main() -> None:
        transport = Transport()
        asked = model(stub.url, transport)
        await asyncio.gather(*(asked.complete(LIMITED) for _ in range(50)))
        await asked.complete(LIMITED)
        await transport.close()

    with Stub(picky({"max_tokens": refusal(UNSUPPORTED)})) as stub:
        asyncio.run(main())
    assert "max_completion_tokens" in stub.requests[-1].body
    assert sum("max_tokens" in r.body for r in stub.requests) <= 50
