"""The packaged price list says what genai-prices says, and only of endpoints that bill."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from importlib.resources import files

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import types
from genai_prices.data import providers

from abyme.models.prices import FREE, Price, Tier, names_of, price_of
from abyme.types import Usage

OPENAI = "https://api.openai.com/v1"
URLS = {
    "openai": OPENAI,
    "anthropic": "https://api.anthropic.com/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "x-ai": "https://api.x.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "together": "https://api.together.xyz/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "cohere": "https://api.cohere.com/compatibility/v1",
}


def plain_names(clause: object) -> list[str]:
    match clause:
        case types.ClauseOr():
            return [name for part in clause.or_ for name in plain_names(part)]
        case types.ClauseEquals():
            return [clause.equals]
        case types.ClauseStartsWith():
            return [clause.starts_with, clause.starts_with + "2026-01-01"]
    return []


def by_the_hour(model: types.ModelInfo) -> bool:
    return isinstance(model.prices, list) and any(
        isinstance(choice.constraint, types.TimeOfDateConstraint) for choice in model.prices
    )


@pytest.mark.parametrize("provider_id", sorted(URLS))
def test_every_known_name_costs_what_genai_prices_says(provider_id: str) -> None:
    provider = next(p for p in providers if p.id == provider_id)
    names = {name for model in provider.models for name in plain_names(model.match)}
    compared = 0
    for name in sorted(names):
        theirs = provider.find_model(name)
        assert theirs is not None
        if by_the_hour(theirs) or (provider_id == "openrouter" and "/" not in name):
            continue
        now = theirs.get_prices(datetime.now(UTC))
        ours = price_of(name, URLS[provider_id])
        if ours is None:
            assert now.input_mtok is None or now.output_mtok is None or ":batch" in name, name
            continue
        for prompt in (1000, 300_000):
            usage = TheirUsage(input_tokens=prompt, cache_read_tokens=400, output_tokens=500)
            # the text of a chat only: a price for searches or images has no part in it
            text = types.ModelPrice(
                input_mtok=now.input_mtok,
                output_mtok=now.output_mtok,
                cache_read_mtok=now.cache_read_mtok,
            )
            expected = float(text.calc_price(usage)["total_price"])
            assert ours.cost(Usage(prompt, 500, 400)) == pytest.approx(expected), name
        compared += 1
    assert compared >= 5


def test_a_dated_name_has_the_price_of_its_model() -> None:
    assert price_of("gpt-5-mini-2025-08-07", OPENAI) == price_of("gpt-5-mini", OPENAI)
    assert price_of("gpt-5-mini-20250807", OPENAI) == price_of("openai:gpt-5-mini", OPENAI)
    assert price_of("gpt-5-mini", OPENAI) == Price(0.25, 0.025, 2)


def test_a_price_by_the_hour_is_the_dearest_of_the_day() -> None:
    price = price_of("deepseek-chat", "https://api.deepseek.com")
    assert price is not None
    assert (price.input, price.output) == (0.27, 1.1)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "http://localhost:8000/v1",
        "https://api.openai.com.example.org/v1",
        "https://example.org/api.openai.com",
        "https://notgoogleapis.com",
        "http://[broken",
        "not a url",
    ],
)
def test_a_known_name_at_an_unknown_host_has_no_price(url: str | None) -> None:
    assert price_of("gpt-4o", url) is None
    assert price_of("gemini-2.5-pro", url) is None


def test_an_unknown_name_at_a_known_host_has_no_price() -> None:
    assert price_of("gpt-99-turbo-max", OPENAI) is None
    assert price_of("text-embedding-3-small", OPENAI) is None


def test_what_runs_in_this_process_is_known_to_cost_nothing() -> None:
    assert price_of("reader", None) == price_of("scripted:replies.txt", "") == FREE
    assert FREE.cost(Usage(10**6, 10**6)) == 0.0


def test_a_tier_holds_for_all_tokens_of_a_long_prompt() -> None:
    price = Price(1, 0.1, 10, (Tier(200, 2, 0.2, 20), Tier(500, 4, 0.4, 40)))
    assert price.cost(Usage(200, 10, 100)) == pytest.approx((100 + 10 + 100) / 1e6)
    assert price.cost(Usage(201, 10, 0)) == pytest.approx((402 + 200) / 1e6)
    assert price.cost(Usage(501, 0, 0)) == pytest.approx(2004 / 1e6)


def test_the_output_that_money_pays_for_costs_no_more() -> None:
    chance = random.Random(5)
    for _ in range(500):
        price = Price(chance.random() * 5, 0.1, chance.random() * 20 + 0.1)
        prompt, dollars = chance.randrange(100_000), chance.random()
        output = int(price.output_for(dollars, prompt))
        cost = price.cost(Usage(prompt, output))
        assert output == 0 or cost <= dollars + 1e-12
        assert price.cost(Usage(prompt, output + 1)) >= dollars - 1e-12


def test_the_list_is_small_and_says_where_it_is_from() -> None:
    data = files("abyme.models").joinpath("prices.json").read_bytes()
    assert len(data) < 60_000
    assert b'"source":"genai-prices ' in data
    assert "gpt-5-mini" in names_of("openai")
