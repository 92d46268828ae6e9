"""``abyme ask --dry-run``: what would be sent first, how large all of it is, what it could cost."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec

from abyme.cli.ask.notices import data_text, limits_text, unpriced_text
from abyme.cli.text import cost_text, count_text, counts_text, models_text, plural
from abyme.preview import Preview


def preview_json(preview: Preview) -> str:
    """The preview's fields under their own names, as one JSON object."""
    return json.dumps(msgspec.to_builtins(preview), ensure_ascii=False, indent=2)


def preview_lines(preview: Preview) -> Iterator[str]:
    """The preview as people read it: the messages as they would go out, then sizes."""
    for message in preview.messages:
        yield f"── {message.role} ──\n{message.text.rstrip()}\n\n"
    yield "── in short ──"
    limits = msgspec.to_builtins(preview.limits)
    characters = sum(len(message.text) for message in preview.messages)
    children = preview.child_models if preview.recursion else ()
    models = models_text(preview.model, preview.sub_model, children)
    yield f"model      {models}"
    if preview.recursion:
        deep = preview.limits.max_depth - 1
        yield f"recursion  on: {plural(deep, 'level')} of children with a REPL of their own"
    yield f"data       {data_text(preview.documents, preview.bytes, preview.encodings)}"
    if preview.skipped:
        yield f"skipped    {counts_text(preview.skipped)}"
    yield (
        f"first      {plural(len(preview.messages), 'message')}, {characters:,} characters, "
        f"≈ {count_text(preview.first_tokens)} of {count_text(preview.window)} tokens"
        f"{_costing(preview.first_cost)}"
    )
    yield (
        f"all of it  read once by sub-calls: ≈ {count_text(preview.data_tokens)} tokens"
        f"{_costing(preview.reading_cost)}; a run reads what it needs"
    )
    unpriced = unpriced_text(
        preview.priced, preview.model, preview.sub_model, *preview.child_models
    )
    yield f"may spend  {limits_text(limits, unpriced)}"
    yield "nothing was sent, and nothing is kept"


def _costing(cost: float | None) -> str:
    return ", cost unknown (--price IN,OUT)" if cost is None else f", ≈ {cost_text(cost)}"
