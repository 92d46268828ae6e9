"""What endpoints' rate-limit headers say, in the forms that they are seen in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme.errors import EndpointError, RateLimited
from abyme.models.http_errors import Endpoint, refused
from abyme.models.rate_limits import used_up
from support.calls import ask
from support.stub import Garbage, Stub

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
REPLY = '{"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]}'

OPENAI = {
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-remaining-tokens": "159976",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-reset-tokens": "9ms",
}
ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-requests-remaining": "999",
    "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:25Z",
    "anthropic-ratelimit-output-tokens-remaining": "16000",
    "anthropic-ratelimit-output-tokens-reset": "2023-11-14T22:14:20Z",
}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        (OPENAI, None),
        (OPENAI | {"x-ratelimit-remaining-requests": "0"}, 0.012),
        (
            OPENAI | {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"},
            360.0,
        ),
        (
            {
                "x-ratelimit-remaining-requests-day": "0",
                "x-ratelimit-reset-requests-day": "33011.382867",
            },
            600.0,
        ),
        (
            {
                "x-ratelimit-remaining-tokens-minute": "0",
                "x-ratelimit-reset-tokens-minute": "11.382867",
            },
            11.382867,
        ),
        (ANTHROPIC, None),
        (ANTHROPIC | {"anthropic-ratelimit-requests-remaining": "0"}, 5.0),
        (ANTHROPIC | {"anthropic-ratelimit-output-tokens-remaining": "0"}, 60.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000007000"}, 7.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000007"}, 7.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1600000007"}, 0.0),
        ({"x-ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-remaining": "-1", "x-ratelimit-reset": "7"}, None),
        ({"x-ratelimit-remaining": "many", "x-ratelimit-reset": "7"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2023-11-14T22:13:25"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "50"}, 50.0),
        ({"ratelimit-remaining": "1", "ratelimit-reset": "50"}, None),
        ({"ratelimit": "limit=100, remaining=0, reset=30"}, 30.0),
        ({"ratelimit": "limit=100, remaining=50, reset=30"}, None),
        ({"ratelimit": '"default";r=0;t=30'}, 30.0),
        ({"ratelimit": '"minute";r=50;t=30, "day"; r=0; t=200'}, 200.0),
        ({"ratelimit": '"minute";r=0;t=30, "day";r=9;t=200'}, 30.0),
        ({"ratelimit": '"default";r=0'}, None),
        ({"ratelimit": "nonsense"}, None),
    ],
)
def test_nothing_is_left_until(headers: dict[str, str], seconds: float | None) -> None:
    assert used_up(headers, now=NOW) == (None if seconds is None else pytest.approx(seconds))


@given(
    st.dictionaries(
        st.sampled_from([*OPENAI, *ANTHROPIC, "ratelimit", "x-ratelimit-reset"]), st.text()
    )
)
def test_whatever_they_hold_nothing_is_raised_and_no_wait_is_endless(
    headers: dict[str, str],
) -> None:
    for is_refused in (False, True):
        wait = used_up(headers, refused=is_refused)
        assert wait is None or 0 <= wait <= 600


def test_a_failure_that_is_no_refusal_is_not_held_until_a_reset() -> None:
    endpoint = Endpoint("m", "http://127.0.0.1/v1")
    headers = {"x-ratelimit-reset-requests": "40s"}
    limited = refused(endpoint, 429, headers, b"")
    assert isinstance(limited, RateLimited) and limited.retry_after == 40.0
    failed = refused(endpoint, 500, headers, b"")
    assert isinstance(failed, EndpointError) and failed.retry_after is None
    away = refused(endpoint, 503, {"retry-after": "3"}, b"")
    assert away.retry_after == 3.0


@pytest.mark.parametrize("streamed", [False, True])
def test_a_reply_says_for_how_long_nothing_more_is_taken(streamed: bool) -> None:
    headers = {"X-RateLimit-Remaining-Tokens": "0", "X-RateLimit-Reset-Tokens": "1m30s"}
    listen = (lambda text: None) if streamed else None
    with Stub(lambda _: Garbage(REPLY, headers=headers)) as stub:
        assert 80 < ask(stub.url, on_text=listen).pause <= 90
    with Stub(lambda _: Garbage(REPLY)) as stub:
        assert ask(stub.url, on_text=listen).pause == 0.0
