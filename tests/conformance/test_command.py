"""Workers behind commands keep every promise that those of the default sandbox keep."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from abyme.conformance import SandboxConformance
from abyme.sandbox.base import Sandbox
from support.boxes import box

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux"),
    pytest.mark.slow,
]


class _Boxed(SandboxConformance):
    """With a folder of its own for the stand-in."""

    kind: str

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self._folder = tmp_path

    def sandbox(self) -> Sandbox:
        return box(self.kind, self._folder)


class TestBubblewrap(_Boxed):
    """By descriptors."""

    kind = "bubblewrap"


class TestDocker(_Boxed):
    """Over pipes, its code sent, its data pulled."""

    kind = "docker"
