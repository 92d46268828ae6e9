"""What every test shares: an environment in which no key is set, and a folder for runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for _name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ABYME_MODEL", "ABYME_RUNS"):
    os.environ.pop(_name, None)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder for the journals of one test."""
    return tmp_path / "runs"
