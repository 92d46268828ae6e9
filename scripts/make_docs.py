"""Write docs/commands.md from what the commands say of themselves: ``python scripts/make_docs.py``.

The same words in two places would differ one day; so the page is made, and a test holds it against
the commands.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

_HEAD = """\
# Commands

What `abyme COMMAND --help` says, for every command. This page is made by `scripts/make_docs.py`.
"""


def page() -> str:
    """The whole page."""
    names = _commands()
    sections = [f"## abyme\n\n{_help()}"]
    sections += [f"## abyme {name}\n\n{_help(name)}" for name in names]
    return "\n".join([_HEAD, *sections])


def _commands() -> list[str]:
    from abyme.cli.main import app

    return [
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback is not None
    ]


def _help(*command: str) -> str:
    """The help of a command, as a code block of 80 columns."""
    done = subprocess.run(
        [sys.executable, "-m", "abyme", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
    )
    lines = [line.rstrip() for line in done.stdout.strip("\n").split("\n")]
    return "\n".join(["```", *lines, "```", ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
