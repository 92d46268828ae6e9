"""What a run would do first, and what it could cost, without asking any model."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import msgspec

from abyme.config import Limits
from abyme.context.documents import Data
from abyme.context.load import load
from abyme.context.unnamed import Unnamed
from abyme.dialects.messages import Fenced
from abyme.ledger import Account
from abyme.models.base import Model
from abyme.models.estimator import TokenEstimator
from abyme.node import turn_status
from abyme.opening import opening
from abyme.spec import RunSpec
from abyme.types import Message, Usage


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sent first, how large the data is, and estimates; tokens from characters.

    Costs are in US dollars, None where the model's price is not known.
    """

    model: str
    sub_model: str
    child_models: tuple[str, ...]
    """Of children, depth by depth; empty where they have the sub-model."""
    recursion: bool
    """Whether code may set children to work; else ``rlm_query`` is a plain call."""
    messages: tuple[Message, ...]
    """The first request, whole."""
    first_tokens: int
    """Tokens of the first request."""
    first_cost: float | None
    """What the first request costs before its reply."""
    window: int
    """Input tokens that the root model takes."""
    documents: int
    bytes: int
    encodings: dict[str, int]
    """Documents by encoding, those that are UTF-8 left out."""
    skipped: dict[str, int]
    """Files left out of folders, by reason."""
    data_tokens: int
    """Tokens of all the data."""
    reading_cost: float | None
    """What it would cost to put all of the data before the sub-model once, replies not counted."""
    limits: Limits
    priced: bool
    """Whether all prices are known; else ``limits.max_cost`` cannot bind."""


def preview(spec: RunSpec, estimator: TokenEstimator) -> Preview:
    """Load the data, make the first messages, and forget them: no run is kept, nothing is sent.

    ``estimator``: what has been learned of the models' tokens so far. For a thread. Raises
    :class:`~abyme.errors.DataError` where the data cannot be loaded.
    """
    with (
        tempfile.TemporaryDirectory(prefix="abyme-") as folder,
        contextlib.closing(Unnamed(Path(folder))) as unnamed,
    ):
        data = load(spec.context, folder=Path(folder), unnamed=unnamed, **spec.reading)
        recursion = spec.limits.max_depth > 1
        status = turn_status(Account(spec.limits).snapshot(), priced=spec.priced)
        status = msgspec.structs.replace(status, recursion=recursion)
        opened, _ = opening(spec, data, status, estimator, spec.question)
    messages = Fenced().opening(opened)
    first = estimator.tokens(spec.model.name, sum(len(message.text) for message in messages))
    everything = estimator.tokens(spec.sub_model.name, data.bytes)
    return Preview(
        model=spec.model.name,
        sub_model=spec.sub_model.name,
        child_models=tuple(model.name for model in spec.child_models),
        recursion=recursion,
        messages=messages,
        first_tokens=first,
        first_cost=_cost(spec, spec.model, first),
        window=spec.model.window,
        documents=len(data.documents),
        bytes=data.bytes,
        encodings=_encodings(data),
        skipped=data.skipped,
        data_tokens=everything,
        reading_cost=_cost(spec, spec.sub_model, everything),
        limits=spec.limits,
        priced=spec.priced,
    )


def _cost(spec: RunSpec, model: Model, tokens: int) -> float | None:
    price = spec.price_of(model)
    return None if price is None else price.cost(Usage(tokens))


def _encodings(data: Data) -> dict[str, int]:
    counts: dict[str, int] = {}
    for document in data.documents:
        if document.encoding not in ("utf-8", "ascii"):
            counts[document.encoding] = counts.get(document.encoding, 0) + 1
    return counts
