"""The layers inside another boundary (a container, another machine): each where it can be had.

There the boundary holds the code whatever becomes of these. So none of them is asked for twice,
what cannot be had is left out, and the strict variant, for which every file is closed, is not
taken: what can be opened there is what the boundary shows.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable

from .landlock import version
from .lock import CannotLock, lock_down


def offer(
    layers: list[str],
    memory_bytes: int,
    packages: dict[str, list[str]],
    folders: Iterable[str] = (),
    mapped_bytes: int = 0,
) -> tuple[str, ...]:
    """Put on those of ``layers`` that this place allows; which hold. See :func:`.lock.lock_down`.

    To be called while this process has one thread.
    """
    held: list[str] = []
    # On macOS all of them are one.
    for asked in [layers] if sys.platform == "darwin" else [[layer] for layer in layers]:
        with contextlib.suppress(CannotLock, OSError, ValueError):
            if asked == ["landlock"]:
                version()
            held += lock_down(
                asked, memory_bytes, packages, folders=folders, mapped_bytes=mapped_bytes
            )
    return tuple(held)
