"""What one run is asked to do: everything about it that is fixed before it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from abyme.config import Limits
from abyme.models.base import Model
from abyme.models.prices import Price
from abyme.sandbox.base import Sandbox
from abyme.subcalls.tools import Tool


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one run is asked to do; already checked."""

    question: str
    context: Any
    """What the caller handed over: see :data:`abyme.context.load.Context`."""
    exclude: tuple[str, ...]
    model: Model
    sub_model: Model
    base_url: str
    limits: Limits
    price_of: Callable[[Model], Price | None]
    tools: Mapping[str, Tool]
    runs: Path
    sandbox: Sandbox
    ignore_files: bool = True
    """Leave out of directories what their ``.gitignore`` files do."""
    hidden: bool = False
    """Read what is hidden in directories too."""
    stream_text: bool = False
    """Have the root's replies streamed, and tell the listener as they grow."""

    @property
    def reading(self) -> dict[str, Any]:
        """What of directories is read: arguments of :func:`abyme.context.load.load`."""
        return {"exclude": self.exclude, "ignore_files": self.ignore_files, "hidden": self.hidden}

    @property
    def priced(self) -> bool:
        """Whether the prices of all its models are known; else no limit on dollars can bind."""
        return None not in map(self.price_of, (self.model, self.sub_model))
