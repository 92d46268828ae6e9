"""Write into docs/ what the command says of itself: ``python scripts/make_docs.py``.

The same words in two places would differ one day. So docs/commands.md and the file of settings in
docs/configuration.md are made, and a test holds them against the command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
COMMANDS = DOCS / "commands.md"
CONFIGURATION = DOCS / "configuration.md"

_HEAD = """\
# Commands

What `abyme COMMAND --help` says, for every command. This page is made by `scripts/make_docs.py`.
"""


def commands() -> str:
    """The whole of docs/commands.md."""
    names = _commands()
    sections = [f"## abyme\n\n{_help()}"]
    sections += [f"## abyme {name}\n\n{_help(*name.split())}" for name in names]
    return "\n".join([_HEAD, *sections])


def _commands() -> list[str]:
    from abyme.cli.main import app

    return list(app.commands)


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


def configuration() -> str:
    """docs/configuration.md with the file of settings as it is now."""
    from abyme.cli.init import template

    before, _, rest = CONFIGURATION.read_text(encoding="utf-8").partition("```toml\n")
    after = rest[rest.index("```\n") :]
    return f"{before}```toml\n{template(user=True).strip()}\n{after}"


if __name__ == "__main__":
    COMMANDS.write_text(commands(), encoding="utf-8")
    CONFIGURATION.write_text(configuration(), encoding="utf-8")
    print(f"wrote {COMMANDS} and {CONFIGURATION}")
