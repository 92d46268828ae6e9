"""The same attempts as a user without rights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adversarial.attempts import PROCESSES, READING, STARTING
from support.nobody import passed_as_nobody


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
def test_what_is_held_as_root_is_held_as_nobody() -> None:
    attempts = Path(__file__).with_name("test_attempts.py")
    passed = passed_as_nobody(attempts, "-k", "processes or reading", seconds=300)
    assert passed >= 0.8 * len((*PROCESSES, *READING, *STARTING))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")
def test_bombs_and_what_the_kernel_counts_by_user_are_held_as_nobody() -> None:
    here = Path(__file__).parent
    files = (here / "test_forgeries.py", here / "test_tampering.py")
    assert passed_as_nobody(*files, "-k", "documents or bomb or inherits", seconds=300) >= 20
