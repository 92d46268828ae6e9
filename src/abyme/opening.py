"""How a run's conversation begins: the data described, the rules, the question."""

from __future__ import annotations

from abyme.context.describe import describe
from abyme.context.documents import Data
from abyme.dialects.base import Earlier, Opening, TurnStatus
from abyme.models.base import Model
from abyme.models.estimator import TokenEstimator
from abyme.spec import RunSpec

NO_DATA = "None was handed over: `context` is empty. The question says all there is."
"""The description of the data of a child that was given none."""


def opening(
    spec: RunSpec,
    data: Data,
    status: TurnStatus,
    estimator: TokenEstimator,
    question: str,
    earlier: tuple[Earlier, ...] = (),
) -> tuple[Opening, bool]:
    """What the first messages are made of, and whether the data's sizes are estimates.

    For a thread: it reads samples of the data. Raises :class:`~abyme.errors.DataChanged`.
    """
    described = describe(data, spec.sandbox.text_bytes) if data.documents else None
    opened = Opening(
        question=question,
        earlier=earlier,
        description=NO_DATA if described is None else described.render(),
        status=status,
        sub_window_chars=_prompt_characters(spec.sub_model, estimator),
        cell_seconds=spec.limits.cell_seconds,
        models=tuple(model.name for model in spec.models),
        tools=tuple(tool.description for tool in spec.tools.values()),
    )
    return opened, described is not None and described.estimated


def _prompt_characters(model: Model, estimator: TokenEstimator) -> int:
    """Characters that fit one prompt of ``model``, in round numbers."""
    fits = estimator.fits(model.name, model.window, model.max_output)
    return max(1_000, fits // 1_000 * 1_000)
