"""What an endpoint's rate-limit headers say: that nothing is left, and until when.

They come with every reply, of whatever status, in several families, and most endpoints send none:

- ``x-ratelimit-remaining-requests: 0``, ``x-ratelimit-reset-requests: 6m0s`` (OpenAI, Azure, Groq,
  Mistral, LiteLLM), and the same of ``tokens``; with ``-day``, ``-hour`` and ``-minute`` behind
  (Cerebras).
- ``x-ratelimit-remaining``, ``x-ratelimit-reset`` (OpenRouter: a Unix time in milliseconds).
- ``anthropic-ratelimit-requests-remaining``, ``…-requests-reset: 2026-01-01T00:01:00Z``, and the
  same of ``tokens``, ``input-tokens``, ``output-tokens``.
- The drafts of the IETF: ``RateLimit-Remaining`` and ``RateLimit-Reset`` (to 06),
  ``RateLimit: limit=100, remaining=0, reset=30`` (07), ``RateLimit: "minute";r=0;t=30`` (from 08).

Only "nothing is left" is made use of: how much a next request will use is not known before it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping

from abyme.models.spans import clamp, number, until_reset

_OF_OPENAI = (
    "requests", "tokens",
    "requests-minute", "tokens-minute", "requests-hour", "tokens-hour",
    "requests-day", "tokens-day",
)  # fmt: skip
_OF_ANTHROPIC = ("requests", "tokens", "input-tokens", "output-tokens")
_ACCOUNTS = (
    *((f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}") for kind in _OF_OPENAI),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    *(
        (f"anthropic-ratelimit-{kind}-remaining", f"anthropic-ratelimit-{kind}-reset")
        for kind in _OF_ANTHROPIC
    ),
    ("ratelimit-remaining", "ratelimit-reset"),
)
"""Pairs of headers: what is left, and when it is full again."""
_FIELD = re.compile(r"\b(r|t|remaining|reset)\s*=\s*(\d+(?:\.\d+)?)")


def used_up(
    headers: Mapping[str, str], *, refused: bool = False, now: float | None = None
) -> float | None:
    """Seconds until the account that is used up is full again; None where none is.

    Of several the longest, at most ten minutes. ``refused``: it came with a 429, where an account
    of which only the reset is said is taken to be the one. ``now`` is the Unix time. What cannot
    be read counts as not said.
    """
    waits = []
    for left, reset in _said(headers):
        if reset is None or (left is None and not refused):
            continue
        if left is None or left < 1:
            wait = until_reset(reset, time.time() if now is None else now)
            if wait is not None:
                waits.append(wait)
    return clamp(max(waits)) if waits else None


def _said(headers: Mapping[str, str]) -> Iterator[tuple[float | None, str | None]]:
    """Of each account what is left and its reset, where the headers speak of it."""
    for remaining, reset in _ACCOUNTS:
        left = headers.get(remaining)
        if left is not None or reset in headers:
            yield number(left), headers.get(reset)
    draft = headers.get("ratelimit")
    if draft is None:
        return
    policies = [draft] if "remaining" in draft else draft.split(",")
    for policy in policies:
        fields = dict(_FIELD.findall(policy))
        left = fields.get("r", fields.get("remaining"))
        yield number(left), fields.get("t", fields.get("reset"))
