"""Spans of time, in the forms in which endpoints write them."""

from __future__ import annotations

import math
import re
from datetime import datetime
from email.utils import parsedate_to_datetime

MAX_WAIT = 600.0
"""Seconds. A longer wait is cut: the caller's own deadline comes first anyway."""

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNIX = 1e9
"""A number above it is no span but a Unix time, in seconds or in milliseconds."""


def number(text: str | None) -> float | None:
    """A finite number from 0 on; None for anything else."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def span(text: str | None) -> float | None:
    """ "1h2m3.5s" or "120ms" or a bare number of seconds, in seconds; None for anything else."""
    if text is None:
        return None
    text = text.strip()
    parts = _SPAN.findall(text)
    if parts and "".join(count + unit for count, unit in parts) == text:
        return math.fsum(float(count) * _UNITS[unit] for count, unit in parts)
    return number(text)


def until_date(text: str, now: float) -> float | None:
    """Seconds from the Unix time ``now`` until an HTTP date; None for anything else."""
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def until_reset(text: str | None, now: float) -> float | None:
    """Seconds until a reset: a span, a Unix time, an RFC 3339 time or an HTTP date."""
    if text is None:
        return None
    seconds = span(text)
    if seconds is not None:
        if seconds > 1000 * _UNIX:
            seconds /= 1000
        return max(0.0, seconds - now) if seconds > _UNIX else seconds
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return until_date(text, now)
    return max(0.0, at.timestamp() - now) if at.tzinfo else None


def clamp(seconds: float) -> float:
    """``seconds``, from 0 to ``MAX_WAIT``."""
    return min(MAX_WAIT, max(0.0, seconds))
