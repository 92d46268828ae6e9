"""What was probably meant by a path that does not exist."""

from __future__ import annotations

import difflib
import itertools
import os
from pathlib import Path
from typing import NamedTuple

_AMONG = 10_000
"""Names of a folder that are compared at most."""
_LEAST = 0.6
"""How alike two names must be, from 0 to 1, for one to be meant by the other."""


class Near(NamedTuple):
    """A path that exists, and how alike the least alike of its names is to what was written."""

    path: str
    likeness: float


def nearest_path(written: str) -> Near | None:
    """The existing path most like ``written``, name by name from the left; None without any.

    Where it went on unlike any other after a name that was corrected, the path so far. A slash at
    the end is kept.
    """
    try:
        parts = Path(written).parts
    except ValueError:
        return None
    found, likeness = Path(), 1.0
    for part in parts:
        if os.path.lexists(found / part):
            found /= part
            continue
        near = _like(found, part)
        if near is None:
            return Near(str(found), 0.0) if likeness < 1.0 else None
        likeness = min(likeness, difflib.SequenceMatcher(None, part.lower(), near.lower()).ratio())
        found /= near
    ending = "/" if written.endswith("/") and found.is_dir() else ""
    return Near(f"{found}{ending}", likeness)


def _like(folder: Path, name: str) -> str | None:
    """The entry of ``folder`` most like ``name``, whatever their case."""
    try:
        with os.scandir(folder) as entries:
            names = {entry.name.lower(): entry.name for entry in itertools.islice(entries, _AMONG)}
    except (OSError, ValueError):
        return None
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=_LEAST)
    return names[near[0]] if near else None
