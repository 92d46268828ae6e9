"""What a call costs, in US dollars, from a price list that is packaged and never fetched.

Who bills is decided by the endpoint's host, never by the model's name alone: ``gpt-4o`` served by
a machine of one's own is not billed by OpenAI, so its price is unknown (None), which is not 0.

``prices.json`` is written by ``scripts/make_prices.py`` and says from what and when. A row is
``[names, input, cached, output, tier…, since]``; the first row that matches counts. ``names`` are
alternatives between spaces: ``name``, ``start*``, ``*end``, ``*part*``, ``~regex``, ``a&b`` (both),
and ``+rest`` for the first name with ``rest`` after it. Not covered: the price of writing a cache,
of batches, images and speech, discounts of an account.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from abyme.errors import ConfigError
from abyme.models.base import Model
from abyme.types import Usage

_MILLION = 1_000_000
_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class Tier(msgspec.Struct, frozen=True):
    """The prices of a call whose prompt has more than ``above`` tokens, for all its tokens."""

    above: int
    input: float
    cached: float
    output: float


class Price(msgspec.Struct, frozen=True):
    """US dollars per million tokens of one model at one provider."""

    input: float
    cached: float
    output: float
    tiers: tuple[Tier, ...] = ()

    def cost(self, usage: Usage) -> float:
        """US dollars for the usage of *one* call (tiers go by the length of its prompt)."""
        rate = self._rate(usage.input_tokens)
        fresh = max(0, usage.input_tokens - usage.cached_tokens)
        total = fresh * rate.input + usage.cached_tokens * rate.cached
        return (total + usage.output_tokens * rate.output) / _MILLION

    def output_for(self, dollars: float, input_tokens: int) -> float:
        """Output tokens that ``dollars`` pay for beside ``input_tokens``; ``inf`` where free."""
        rate = self._rate(input_tokens)
        left = dollars * _MILLION - input_tokens * rate.input
        if rate.output == 0:
            return math.inf if left >= 0 else 0.0
        return max(0.0, left / rate.output)

    def input_for(self, dollars: float) -> float:
        """Tokens of a short prompt that ``dollars`` pay for; ``inf`` where they are free."""
        return dollars * _MILLION / self.input if self.input else math.inf

    def _rate(self, input_tokens: int) -> Price | Tier:
        for tier in reversed(self.tiers):
            if input_tokens > tier.above:
                return tier
        return self


FREE = Price(0.0, 0.0, 0.0)
"""The price of what runs in this process: known, and nothing."""


def price_of(model: str, base_url: str | None) -> Price | None:
    """The price of ``model`` at the endpoint ``base_url``; None where it is not known.

    ``model`` is written as the endpoint has it or with ``openai:`` before it. ``reader`` and
    ``scripted`` are free wherever they are.
    """
    if model == "reader" or _scripted(model):
        return FREE
    return _price_at(model, base_url or "", date.today().isoformat())


def price_of_model(model: Model) -> Price | None:
    """The price of ``model``, by its name and its endpoint."""
    return _price_in_hour(model.name, model.endpoint, int(time.time() // 3600))


def _scripted(name: str) -> bool:
    return name.partition(":")[0] == "scripted"


def flat_price(what: str, pair: Sequence[float]) -> Price:
    """The price that a user names: US dollars per million tokens in and out, cached or not.

    ``what`` is what it was given as. Raises :class:`~abyme.errors.ConfigError`.
    """
    if len(pair) != 2 or not all(0 <= dollars < math.inf for dollars in pair):
        raise ConfigError(
            f"{what} must be two prices, dollars per million tokens in and out, not {pair!r}"
        )
    return Price(float(pair[0]), float(pair[0]), float(pair[1]))


def known_or(
    given: Mapping[str, Price | None],
) -> Callable[[Model], Price | None]:
    """Prices from the list, and where it does not know a model, the one ``given`` by its name.

    A script stands for a model, so it costs what is given, if anything is.
    """

    def price(model: Model) -> Price | None:
        known = price_of_model(model)
        return given.get(model.name, known) if known is None or _scripted(model.name) else known

    return price


def as_given(
    *given: tuple[str, Model, tuple[float, float] | None],
) -> tuple[dict[str, tuple[float, float]], Callable[[Model], Price | None]]:
    """The prices that a user names, by model, and :func:`known_or` of them.

    ``given``: what each was given as, of which model, and the pair, if there is one; of two for one
    model, the later. Raises :class:`~abyme.errors.ConfigError`.
    """
    pairs: dict[str, tuple[float, float]] = {}
    prices: dict[str, Price | None] = {}
    for what, model, pair in given:
        if pair is not None:
            pairs[model.name], prices[model.name] = pair, flat_price(what, pair)
    return pairs, known_or(prices)


def unpriced(price: Callable[[Model], Price | None], *models: Model) -> tuple[str, ...]:
    """The names of those whose price is not known."""
    return tuple(dict.fromkeys(model.name for model in models if price(model) is None))


def cannot_bind(
    max_cost: float, models: Sequence[str], main: str, sub: str, *, of_child: bool = False
) -> ConfigError:
    """The error that a limit on dollars was set and the price of ``models`` is not known.

    ``of_child``: the limit is a child's. ``main``: the model whose price ``--price`` names;
    ``--sub-price`` names that of ``sub``, and ``--child-price`` any other's.
    """
    named = {sub: "--sub-price 1,4", main: "--price 1,4"}
    flags = " ".join(dict.fromkeys(named.get(name, "--child-price 1,4") for name in models))
    without = "without --child-cost" if of_child else "--max-cost none"
    return ConfigError(
        f"a limit of ${max_cost:g} is set and could not bind: the price of "
        f"{' and '.join(models)} is not known; give it in dollars per million tokens in and out "
        f"({flags}, or in your own abyme.toml; 0,0 where it is free), or {without}"
    )


@lru_cache(64)
def _price_in_hour(name: str, endpoint: str, hour: int) -> Price | None:
    """Cached, since each call asks several times; by the hour, since prices change by the day."""
    return price_of(name, endpoint)


def names_of(provider: str) -> list[str]:
    """The plain model names that the price list knows of ``provider`` (``openai``, …)."""
    return [
        name
        for entry in _price_list().providers
        if entry.id == provider
        for row in entry.rows
        for name in _alternatives(row[0])
        if not set(name) & set("*~&")
    ]


class _Provider(msgspec.Struct, frozen=True):
    id: str
    hosts: tuple[str, ...]
    rows: list[list[Any]]

    def serves(self, host: str) -> bool:
        return any(
            host.endswith(own) or host == own[1:] if own.startswith(".") else host == own
            for own in self.hosts
        )


class _PriceList(msgspec.Struct, frozen=True):
    source: str
    providers: list[_Provider]


@cache
def _price_list() -> _PriceList:
    data = Path(__file__).with_name("prices.json").read_bytes()
    return msgspec.json.decode(data, type=_PriceList)


@lru_cache(maxsize=256)
def _price_at(model: str, base_url: str, today: str) -> Price | None:
    host = _host(base_url)
    name = model.removeprefix("openai:").lower()
    dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", name)  # as gateways write a dated name
    for provider in _price_list().providers:
        if provider.serves(host):
            found = _first(provider.rows, name, today)
            return found if dashed == name else found or _first(provider.rows, dashed, today)
    return None


def _host(base_url: str) -> str:
    try:
        return (urlsplit(base_url).hostname or "").lower()
    except ValueError:
        return ""


def _first(rows: list[list[Any]], name: str, today: str) -> Price | None:
    for names, *numbers in rows:
        since = numbers[-1] if isinstance(numbers[-1], str) else ""
        if since <= today and any(_matches(pattern, name) for pattern in _alternatives(names)):
            prompt, cached, output, *rest = numbers
            tiers = tuple(Tier(*tier) for tier in rest if not isinstance(tier, str))
            return Price(prompt, cached, output, tiers)
    return None


def _alternatives(names: str) -> list[str]:
    first, *rest = names.split(" ")
    return [first, *(first + p[1:] if p.startswith("+") else p for p in rest)]


def _matches(pattern: str, name: str) -> bool:
    if "&" in pattern:
        return all(_matches(part, name) for part in pattern.split("&"))
    if pattern.startswith("~"):
        return re.search(pattern[1:], name) is not None
    if pattern.startswith("*"):
        return pattern[1:-1] in name if pattern.endswith("*") else name.endswith(pattern[1:])
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
