"""The zygote of an event loop: started when a run needs one, kept between runs where asked to."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

from abyme.sandbox.zygote import Zygote

_PACKAGES = ("numpy", "pandas")
_WITH_PACKAGES = ("dateutil", "pytz", "six", "tzdata")


class _Kept:
    """What an event loop has: a zygote, and how many are using it."""

    def __init__(self) -> None:
        self.zygote: Zygote | None = None
        self.users = 0
        self.warm = False

    async def close(self) -> None:
        zygote, self.zygote = self.zygote, None
        if zygote is not None:
            await zygote.close()


_kept: dict[asyncio.AbstractEventLoop, _Kept] = {}


@contextlib.asynccontextmanager
async def in_use() -> AsyncIterator[None]:
    """Within it, :func:`zygote` may be asked for one; the last to leave ends it."""
    loop = asyncio.get_running_loop()
    kept = _kept.setdefault(loop, _Kept())
    kept.users += 1
    try:
        yield
    finally:
        kept.users -= 1
        if not kept.users and not kept.warm:
            _kept.pop(loop, None)
            await kept.close()


async def zygote() -> Zygote:
    """The zygote of the running loop; a new one where the last has died.

    Raises :class:`~abyme.errors.SandboxError` where none can be started.
    """
    kept = _kept[asyncio.get_running_loop()]
    if kept.zygote is not None and not kept.zygote.alive:
        await kept.close()
    if kept.zygote is None:
        kept.zygote = Zygote.start(worker_environment(), importable_packages())
    return kept.zygote


def keep_warm() -> None:
    """Keep the running loop's zygote when nobody uses it, until :func:`close`."""
    _kept.setdefault(asyncio.get_running_loop(), _Kept()).warm = True


async def close() -> None:
    """End the running loop's zygote and all that it forked."""
    if (kept := _kept.pop(asyncio.get_running_loop(), None)) is not None:
        await kept.close()


def worker_environment() -> dict[str, str]:
    """All that a worker's environment holds. Hash seed 0 makes re-run cells repeat themselves."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
    }


@cache
def importable_packages() -> dict[str, list[str]]:
    """Folders of numpy and pandas, and of what they import, where they are installed."""
    found: dict[str, list[str]] = {}
    for name in _PACKAGES + _WITH_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            origin = Path(spec.origin)
            home = origin.parent.parent if spec.submodule_search_locations else origin.parent
            found[name] = [str(home)]
    return found if any(name in found for name in _PACKAGES) else {}


def _forget() -> None:
    """In a forked child: its copies of the sockets would keep zygotes from seeing their host go."""
    for kept in _kept.values():
        if kept.zygote is not None:
            kept.zygote.disown()
    _kept.clear()


os.register_at_fork(after_in_child=_forget)
