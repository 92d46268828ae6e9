"""How long an endpoint asks us to wait, in the forms that endpoints use."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

MAX_WAIT = 600.0
"""Seconds. A longer wait is cut: the caller's own deadline comes first anyway."""

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def retry_after(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Seconds to wait before the next request, from 0 to ``MAX_WAIT``; None where nothing is said.

    In this order: ``retry-after-ms``; ``Retry-After`` in seconds or as an HTTP date (``now`` is
    the Unix time to measure it from); OpenAI's ``x-ratelimit-reset-*`` ("6m0s", "120ms"), of the
    account that is used up. What cannot be read counts as not said.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _clamp(milliseconds / 1000)
    said = headers.get("retry-after")
    if said is not None:
        seconds = _number(said)
        if seconds is None:
            seconds = _until(said, time.time() if now is None else now)
        if seconds is not None:
            return _clamp(seconds)
    return _reset(headers)


def _reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until the used-up account (requests or tokens) is full again."""
    waits = []
    for account in ("requests", "tokens"):
        wait = _span(headers.get(f"x-ratelimit-reset-{account}"))
        # An account with something left is not the one that said no.
        left = _number(headers.get(f"x-ratelimit-remaining-{account}"))
        if wait is not None and not left:
            waits.append(wait)
    return _clamp(max(waits)) if waits else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until(text: str, now: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def _span(text: str | None) -> float | None:
    """ "1h2m3.5s" or "120ms" or a bare number of seconds."""
    if text is None:
        return None
    text = text.strip()
    parts = _SPAN.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return math.fsum(float(number) * _UNITS[unit] for number, unit in parts)
    return _number(text)


def _clamp(seconds: float) -> float:
    return min(MAX_WAIT, max(0.0, seconds))
