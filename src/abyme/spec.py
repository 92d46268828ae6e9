"""What one run is asked to do: everything about it that is fixed before it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from abyme.config import Limits
from abyme.models.base import Model
from abyme.models.prices import Price
from abyme.sandbox.base import Sandbox
from abyme.subcalls.tools import Tool


class GoesOn(msgspec.Struct, frozen=True, kw_only=True):
    """From which run another goes on, and how.

    ``resume``: where it was left. ``ask``: with a further question. ``fork``: as a run of its own,
    from the end of turn ``turn``, with a further question where there is one.
    """

    folder: Path
    how: Literal["resume", "ask", "fork"]
    turn: int = 0
    accept_changed: bool = False
    """Go on although documents are not what they were."""
    accept_different: bool = False
    """Go on although cells that are run again do not do the same."""


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one run is asked to do; already checked."""

    question: str
    """Empty where the run goes on with the question that it had."""
    context: Any
    """What the caller handed over: see :data:`abyme.context.load.Context`. None: what it had."""
    exclude: tuple[str, ...]
    model: Model
    sub_model: Model
    child_models: tuple[Model, ...] = ()
    """Of the root's children, of theirs, and so on; the last for all below. Empty: all have
    ``sub_model``."""
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
    prices: Mapping[str, tuple[float, float]] = {}
    """By model: US dollars per million tokens in and out, where the caller named them."""
    cache: bool = False
    """Make equal sub-calls once."""
    redact: bool = False
    """Keep hashes in the place of texts."""
    durable: bool = False
    """Wait with every event until it is on the disk."""
    goes_on: GoesOn | None = None

    @property
    def reading(self) -> dict[str, Any]:
        """What of directories is read: arguments of :func:`abyme.context.load.load`."""
        return {"exclude": self.exclude, "ignore_files": self.ignore_files, "hidden": self.hidden}

    @property
    def models(self) -> tuple[Model, ...]:
        """All that code may name, each once."""
        every = (self.sub_model, self.model, *self.child_models)
        return tuple({model.name: model for model in every}.values())

    def model_at(self, depth: int) -> Model:
        """The model of nodes of this depth."""
        if depth == 0:
            return self.model
        children = self.child_models or (self.sub_model,)
        return children[min(depth, len(children)) - 1]

    @property
    def priced(self) -> bool:
        """Whether the prices of all its models are known; else no limit on dollars can bind."""
        return None not in map(self.price_of, self.models)


class ReplaySpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which run is to be done again, and where its code runs. ``runs``: the user's own folder."""

    folder: Path
    runs: Path
    sandbox: Sandbox
    accept_changed: bool = False
