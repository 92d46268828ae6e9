"""The door for people: the command ``abyme``."""

from __future__ import annotations

import os
import signal
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """The entry point. Ctrl-C counts from the first moment, while the rest is still imported."""
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)

    from abyme.cli.main import run

    run()


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)
