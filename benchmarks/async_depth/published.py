"""What the simulated endpoint goes by: published figures, each with where it stands.

Nothing here was measured by us. Seconds are those of the world, before any scaling.
"""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    """Where a figure stands, and what was taken from there."""

    name: str
    url: str
    taken: str


FIRST_TOKEN = 0.83
"""Seconds to the first token, but for what the prompt's length adds."""
TOKENS_A_SECOND = 77.2
"""Speed of a reply."""
PROMPT_SECONDS = 1.0e-5
"""Seconds that a token of the prompt adds."""
SPREAD = 0.24
"""Standard deviation of the logarithm of a call's seconds."""
WIDE_SPREAD = 0.50
"""The same at the least even of the endpoints that were measured."""

REFUSED = 0.0174
"""Share of requests that get a 429 although their sender keeps to its rate."""
REFUSED_MUCH = 0.2111
"""The same at the endpoint that refused most."""
FAILED = 0.0056
"""Share of requests that get a 5xx."""

TIERS = {1: (500, 200_000), 2: (5_000, 2_000_000), 5: (30_000, 150_000_000)}
"""Requests and tokens a minute that an account of this tier has for a small model."""

PRICE = (0.40, 0.10, 1.60)
"""US dollars for a million tokens: read, read from the provider's cache, written."""
WINDOW = 1_000_000
"""Tokens that the model takes in."""
CACHED_FROM, CACHED_IN = 1_024, 128
"""The shortest prefix that a provider caches, and in what steps, in tokens."""

SOURCES = (
    Source(
        "Artificial Analysis, GPT-4.1 mini by provider",
        "https://artificialanalysis.ai/models/gpt-4-1-mini/providers",
        "OpenAI: 0.93 s to the first token of a reply to 10,000 tokens (0.1 s of which we count as "
        "the prompt's), then 77.2 tokens a second",
    ),
    Source(
        "0xmmo, 2,000 calls to nine small models, 2026",
        "https://blog.0xmmo.co/forensics/post.html",
        "gpt-4.1-nano: 176 ms to the first token below 1 KB, 1,730 ms at 601 KB (about 150,000 "
        "tokens), so 1 s for each 100,000 tokens of a prompt",
    ),
    Source(
        "Fetch, latency of a landing page's agent, 2025",
        "https://rewards-assistant-docs.fetchrewards.com/_synced/consumer-agent/experiments/"
        "landing-page-latency-optimization/",
        "gpt-4.1-mini, 32 equal requests: mean 4.47 s, 95th percentile 6.41 s, which is a "
        "log-normal with σ = 0.24",
    ),
    Source(
        "LLMPerf leaderboard, raw data, December 2023",
        "https://github.com/ray-project/llmperf-leaderboard",
        "150 equal requests to each of 19 endpoints: σ of the logarithm from 0.04 to 0.50, median "
        "0.10 (computed by us from the raw data); the widest is our second case",
    ),
    Source(
        "Portkey, LLMs in Prod, part 2, 2025",
        "https://www.linkedin.com/pulse/llms-prod-reality-ai-outages-llm-immune-portkey-ai-rxm4f",
        "429 of all requests: Azure OpenAI 1.74 %, Groq 21.11 %; 5xx: Anthropic 0.56 %",
    ),
    Source(
        "AI-Buzz, OpenAI rate limits by tier",
        "https://www.ai-buzz.com/ai-openai-rate-limits",
        "GPT-4o-mini (the small model of its table): tier 1 500 requests and 200,000 tokens a "
        "minute, tier 2 5,000 and 2 million, tier 5 30,000 and 150 million",
    ),
    Source(
        "Respan, OpenAI rate limits, 2026",
        "https://www.respan.ai/articles/openai-api-rate-limits",
        "a 429 says in `retry-after-ms` when to come back",
    ),
    Source(
        "ZenMux, GPT-4.1 mini",
        "https://zenmux.ai/openai/gpt-4.1-mini",
        "US$ 0.40, 0.10 and 1.60 for a million tokens read, read from the cache, written; a "
        "window of a million tokens",
    ),
)
