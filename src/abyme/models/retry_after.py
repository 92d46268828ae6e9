"""How long an endpoint asks us to wait, in the forms that endpoints use."""

from __future__ import annotations

import time
from collections.abc import Mapping

from abyme.models.rate_limits import used_up
from abyme.models.spans import clamp, number, until_date


def retry_after(
    headers: Mapping[str, str], *, limited: bool = True, now: float | None = None
) -> float | None:
    """Seconds to wait before the next request, from 0 to ten minutes; None where nothing is said.

    In this order: ``retry-after-ms``; ``Retry-After`` in seconds or as an HTTP date (``now`` is
    the Unix time to measure it from); where the request was refused for a rate limit
    (``limited``), when the account that is used up is full again. What cannot be read counts as
    not said.
    """
    milliseconds = number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return clamp(milliseconds / 1000)
    said = headers.get("retry-after")
    if said is not None:
        seconds = number(said)
        if seconds is None:
            seconds = until_date(said, time.time() if now is None else now)
        if seconds is not None:
            return clamp(seconds)
    return used_up(headers, refused=True, now=now) if limited else None
