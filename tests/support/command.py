"""The command run as a process of its own, without a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def abyme(
    *arguments: str | Path, runs: Path, stdin: Any = subprocess.DEVNULL, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "abyme", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=stdin,
        env={**os.environ, "ABYME_RUNS": str(runs), **environment},
    )


def replies(folder: Path, *texts: str, sub: Sequence[str] = ()) -> str:
    """A model that says these: ``scripted:FILE``."""
    path = folder / "replies.json"
    path.write_text(json.dumps({"root": texts, "sub": sub}))
    return f"scripted:{path}"
