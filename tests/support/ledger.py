"""Accounts without limits but those that a test names, and steps that take them to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from abyme.config import Limits
from abyme.ledger import Account, Amount, Reservation

UNLIMITED: dict[str, Any] = {"max_calls": None, "max_cost": None, "max_seconds": None}


def account(**limits: Any) -> Account:
    return Account(Limits(**{**UNLIMITED, **limits}))


def below(parent: Account, node: str = "0.1", **limits: Any) -> Account:
    return parent.child(node, Limits(**{**UNLIMITED, **limits}))


def asking(node: Account, tokens: int, *, final: bool = False) -> asyncio.Task[Reservation]:
    return asyncio.create_task(node.reserve(Amount(tokens), final=final))


async def soon() -> None:
    """Let whoever can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def run(steps: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(steps, 20))
