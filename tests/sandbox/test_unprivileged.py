"""What the sandbox does for a user without rights: the same as for root."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.nobody import passed_as_nobody

HERE = Path(__file__).parent
SUITES = ("test_lockdown.py", "test_memory.py", "test_zygotes.py", "test_attacked.py")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
def test_the_sandbox_works_as_nobody() -> None:
    suites = [HERE / name for name in SUITES]
    assert passed_as_nobody(*suites, "-k", "not whatever_is_killed_when", seconds=400) > 40
