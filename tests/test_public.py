"""What is public, pinned; and what importing the package may do."""

from __future__ import annotations

import inspect
import subprocess
import sys

import abyme
from abyme import RLM, Answer, Limits


def test_the_public_names() -> None:
    assert set(abyme.__all__) == {
        "RLM",
        "AbymeError",
        "Answer",
        "ChildLimits",
        "ConfigError",
        "DataChanged",
        "DataError",
        "Difference",
        "JournalError",
        "Limits",
        "ModelError",
        "Preview",
        "Progress",
        "Quote",
        "Replayed",
        "Session",
        "Stream",
        "Usage",
        "__version__",
        "replay",
    }
    for name in abyme.__all__:
        assert hasattr(abyme, name)


def test_the_signature_of_rlm() -> None:
    assert list(inspect.signature(RLM).parameters) == [
        "model", "sub_model", "child_models", "base_url", "api_key", "limits", "price",
        "sub_price", "child_price", "tools", "runs", "sandbox", "cache", "redact", "durable",
        "harden_host",
    ]  # fmt: skip
    assert list(inspect.signature(RLM.completion).parameters) == [
        "self", "question", "context", "progress",
    ]  # fmt: skip


def test_the_fields_of_limits_and_answer() -> None:
    assert Limits.__struct_fields__ == (
        "max_turns", "max_calls", "max_tokens", "max_input_tokens", "max_output_tokens",
        "max_cost", "max_seconds", "max_depth", "max_width", "cell_seconds", "call_seconds",
        "children",
    )  # fmt: skip
    assert Answer.__struct_fields__ == (
        "text", "value", "status", "reason", "quotes", "usage", "cost", "seconds", "turns",
        "peak_bytes", "cpu_seconds", "run", "layers", "head",
    )  # fmt: skip


def test_importing_starts_nothing_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, threading, abyme\n"
        "abyme.RLM, abyme.Limits, abyme.Answer\n"
        "heavy = {'aiohttp', 'click', 'rich', 'pydantic', 'charset_normalizer', 'platformdirs'}\n"
        "print(sorted(heavy & set(sys.modules)), threading.active_count())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[] 1\n"
