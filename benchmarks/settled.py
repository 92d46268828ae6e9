"""Waiting for journals that follow to the disk behind their runs: till then files are renamed."""

from __future__ import annotations

import asyncio

from abyme.engine import engine
from abyme.journal.writer import on_their_way


def settled() -> None:
    """Return once nothing of an earlier run is on its way to the disk."""

    async def wait() -> None:
        await asyncio.gather(*on_their_way())

    engine().submit(wait()).result()
