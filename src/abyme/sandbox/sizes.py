"""Settings of a sandbox that are sizes: what is no size is said at once."""

from __future__ import annotations

from typing import Any

from abyme.errors import ConfigError

_LEAST: dict[str, float] = {
    "memory_bytes": 32 << 20,  # an interpreter with what a worker loads
    "tree_bytes": 32 << 20,
    "text_bytes": 0,
    "output_chars": 200,
    "grace_seconds": 0,
    "start_seconds": 0,
}


def check_sizes(settings: Any) -> None:
    """Raise :class:`ConfigError` for a size that is none, or with which no worker would start."""
    for name, least in _LEAST.items():
        value = getattr(settings, name, None)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
            raise ConfigError(f"{name} must be at least {least:,}, not {value!r}")
