"""Write ``src/abyme/models/prices.json`` from the data bundled with ``genai-prices``.

    python scripts/make_prices.py

Only what a chat costs is kept: input, cached input and output of text, the price above a prompt
length, and a new price's first day. Prices by the hour become the dearest of the day, as a budget
should not depend on the clock. Nothing is fetched: a newer list is a newer ``genai-prices``.
"""

from __future__ import annotations

import json
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import types
from genai_prices.data import providers

TARGET = Path(__file__).parent.parent / "src/abyme/models/prices.json"

HOSTS = {
    "openai": ["api.openai.com"],
    "anthropic": ["api.anthropic.com"],
    "google": [".googleapis.com"],
    "deepseek": ["api.deepseek.com"],
    "mistral": ["api.mistral.ai"],
    "groq": ["api.groq.com"],
    "x-ai": ["api.x.ai"],
    "openrouter": ["openrouter.ai", "api.openrouter.ai"],
    "cohere": ["api.cohere.com", "api.cohere.ai"],
    "together": ["api.together.xyz", "api.together.ai"],
    "fireworks": ["api.fireworks.ai"],
}
"""Hosts that bill as each provider; a leading dot stands for any subdomain."""


def patterns(clause: Any) -> list[str]:
    """A clause of genai-prices as our patterns; any of them may match (see ``prices.py``)."""
    match clause:
        case types.ClauseOr():
            return [pattern for part in clause.or_ for pattern in patterns(part)]
        case types.ClauseAnd():
            return ["&".join(pattern for part in clause.and_ for pattern in patterns(part))]
        case types.ClauseEquals():
            return [clause.equals.lower()]
        case types.ClauseStartsWith():
            return [f"{clause.starts_with.lower()}*"]
        case types.ClauseEndsWith():
            return [f"*{clause.ends_with.lower()}"]
        case types.ClauseContains():
            return [f"*{clause.contains.lower()}*"]
        case types.ClauseRegex():
            return [f"~{clause.regex}"]
    raise TypeError(f"a clause this script does not know: {clause!r}")


def shortened(alternatives: list[str]) -> str:
    """Patterns in one string; those that only lengthen the first are written as ``+rest``."""
    first = min(alternatives, key=lambda p: (p[-1:] == "*" or p[:1] in "*~", len(p)))
    rest = [p for p in dict.fromkeys(alternatives) if p != first]
    plain = first[:1] not in "*~" and not first.endswith("*") and "&" not in first
    if plain:
        rest = [f"+{p.removeprefix(first)}" if p.startswith(first) else p for p in rest]
    return " ".join([first, *rest])


def numbers(price: types.ModelPrice) -> list[Any] | None:
    """``[input, cached, output]`` and ``[above, input, cached, output]`` for each tier above.

    None where the text of a chat has no price: images, speech, embeddings, nothing known.
    """
    if price.input_mtok is None or price.output_mtok is None:
        return None
    cached = price.cache_read_mtok if price.cache_read_mtok is not None else price.input_mtok
    parts = (price.input_mtok, cached, price.output_mtok)
    starts = sorted(
        {tier.start for p in parts if isinstance(p, types.TieredPrices) for tier in p.tiers}
    )
    row: list[Any] = [at(part, 0) for part in parts]
    row += [[start, *(at(part, start) for part in parts)] for start in starts]
    return row


def at(price: Any, start: int) -> float:
    """The price in force for prompts of more than ``start`` tokens."""
    if not isinstance(price, types.TieredPrices):
        return short(price)
    value = price.base
    for tier in price.tiers:
        if tier.start <= start:
            value = tier.price
    return short(value)


def short(value: Any) -> float:
    number = float(value)
    return int(number) if number == int(number) else number


def versions(model: types.ModelInfo, today: date) -> list[tuple[str, list[Any] | None]]:
    """The model's prices as (first day or "", numbers), the latest first."""
    if isinstance(model.prices, types.ModelPrice):
        return [("", numbers(model.prices))]
    current: list[Any] = []
    dated: list[tuple[str, list[Any] | None]] = []
    for choice in model.prices:
        match choice.constraint:
            case types.StartDateConstraint(start_date=first) if first > today:
                dated.append((first.isoformat(), numbers(choice.prices)))
            case types.TimeOfDateConstraint():
                current.append(choice.prices)
            case _:
                current = [choice.prices]
    known = [row for price in current if (row := numbers(price)) is not None]
    return [*reversed(dated), ("", max(known) if known else None)]


def rows(provider_id: str, models: list[types.ModelInfo], today: date) -> list[Any]:
    table: list[Any] = []
    for model in models:
        alternatives = patterns(model.match)
        if provider_id == "openrouter":  # its API takes "vendor/model" only, and no batches
            alternatives = [p for p in alternatives if "/" in p and ":batch" not in p]
        if not alternatives:
            continue
        for since, row in versions(model, today):
            if row is not None:
                table.append([shortened(alternatives), *row, *([since] if since else [])])
    return table


def main() -> None:
    today = date.today()
    by_id = {provider.id: provider for provider in providers}
    document = {
        "about": "US dollars per million tokens: names, input, cached input, output, tiers, since",
        "source": f"genai-prices {version('genai-prices')}, written {today.isoformat()}",
        "providers": [
            {"id": key, "hosts": hosts, "rows": rows(key, by_id[key].models, today)}
            for key, hosts in HOSTS.items()
        ],
    }
    lines = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    TARGET.write_text(lines.replace('],["', '],\n["') + "\n", encoding="utf-8")
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes, {document['source']}")


if __name__ == "__main__":
    main()
