"""What every test shares: helpers on the path, and an environment in which no key is set."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

for _name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ABYME_MODEL", "ABYME_RUNS"):
    os.environ.pop(_name, None)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder for the journals of one test."""
    return tmp_path / "runs"
