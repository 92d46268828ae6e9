"""Times as people write them: ``2026-11-01``, ``3d``, ``yesterday``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_SECONDS = {"min": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_AGO = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(min|h|d|w)(?: ago)?")
_FORMS = "30min, 12h, 3d, 2w, today, yesterday, 2026-11-01 or 2026-11-01T14:30"


def moment(text: str, now: float) -> float:
    """The time that ``text`` says, in seconds since 1970; ``now`` is the time at which it does.

    Days begin at midnight here. Raises :class:`ValueError` with the forms there are.
    """
    said = text.strip().lower()
    if found := _AGO.fullmatch(said):
        return max(0.0, now - float(found[1]) * _SECONDS[found[2]])
    midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if said == "today":
        return midnight.timestamp()
    if said == "yesterday":
        return (midnight - timedelta(days=1)).timestamp()
    try:
        return max(0.0, datetime.fromisoformat(text.strip()).timestamp())
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text[:60]!r} is no time: write {_FORMS}") from None
