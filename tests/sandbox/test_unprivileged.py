"""What the sandbox does for a user without rights: the same as for root."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.nobody import passed_as_nobody

HERE = Path(__file__).parent
SUITES = ("test_lockdown.py", "test_memory.py", "test_zygotes.py", "test_deadlines.py")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
def test_the_sandbox_works_as_nobody() -> None:
    suites = [HERE / name for name in SUITES]
    conformance = HERE.parent / "conformance" / "test_process.py"
    left_out = "not whatever_is_killed_when and not TestUnsafeLocal and not TestStrict"
    assert passed_as_nobody(*suites, conformance, "-k", left_out, seconds=400) > 150
