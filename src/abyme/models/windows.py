"""How much well-known models take in, by the beginning of their names."""

from __future__ import annotations

HOSTED_WINDOW = 128_000
"""For a model of api.openai.com that the table does not know."""
LOCAL_WINDOW = 32_000
"""For any other: what a model server is started with is not to be seen from its model's name."""

_WINDOWS = {
    "gpt-3.5": 16_385,
    "gpt-4": 8_192,
    "gpt-4-32k": 32_000,
    "gpt-4-turbo": 128_000,
    "gpt-4o": 128_000,
    "gpt-4.1": 1_000_000,
    "gpt-4.5": 128_000,
    "gpt-5": 272_000,  # 400,000 with the output, of which 272,000 may be input
    "gpt-5-chat": 128_000,
    "gpt-5.3": 128_000,
    "gpt-5.3-codex": 272_000,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o1-preview": 128_000,
    "o3": 200_000,
    "o4-mini": 200_000,
    "claude": 200_000,
    "gemini-2": 1_000_000,
    "gemini-3": 1_000_000,
    "grok-3": 131_072,
    "grok-4": 256_000,
    "deepseek-chat": 64_000,
    "deepseek-reasoner": 64_000,
    "mistral-large": 128_000,
    "mistral-medium": 128_000,
}
"""Published windows of the hosted models, in tokens, as of genai-prices 0.2.3 and the providers'
own pages; where members of a family differ, the smallest. Open weights are left out on purpose:
servers cut their windows to the memory there is."""


def window_of(model: str, *, hosted: bool) -> int:
    """Tokens that ``model`` takes in; a cautious guess for names that are not in the table.

    The longest matching beginning counts; a router's prefix ("openai/gpt-4o") is ignored.
    ``hosted``: the model is served by api.openai.com.
    """
    name = model.rpartition("/")[2].lower()
    known = [prefix for prefix in _WINDOWS if name.startswith(prefix)]
    if known:
        return _WINDOWS[max(known, key=len)]
    return HOSTED_WINDOW if hosted else LOCAL_WINDOW


def max_output_of(window: int) -> int:
    """Output tokens to ask for where nobody says: few where the window itself is small."""
    return 4_096 if window < 64_000 else 16_384
