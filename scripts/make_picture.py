"""Write docs/picture.svg, a terminal with a real run in it: ``python scripts/make_picture.py``.

The command runs in tmux, at 80 columns, over Python's own standard library; what the screen then
shows becomes the picture, colours and all. Needs tmux.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "picture.svg"
QUESTION = "Which function is a least-recently-used cache decorator?"
TYPED = f'$ abyme ask "{QUESTION}" Lib/'
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Without fonts from elsewhere: a picture in a README should ask nobody for anything."""

_COLUMNS, _ROWS = 80, 40
_DEADLINE = 60


def main() -> None:
    """Run, capture, draw."""
    with tempfile.TemporaryDirectory() as folder:
        lib = Path(folder) / "Lib"
        lib.symlink_to(sysconfig.get_path("stdlib"))
        screen = _screen(Path(folder))
    lines = [TYPED, *screen.rstrip("\n").split("\n")]
    console = Console(record=True, width=_COLUMNS, file=io.StringIO())
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(console.export_svg(title="abyme", code_format=FORMAT), encoding="utf-8")
    print(f"wrote {PICTURE}")


def _screen(folder: Path) -> str:
    """What stands on the terminal when the command is done."""
    done = folder / "done"
    command = [sys.executable, "-m", "abyme", "ask", QUESTION, "Lib", "--exclude", "site-packages"]
    command += ["--model", "reader", "--runs", "runs"]
    script = f"clear; {shlex.join(command)}; touch {shlex.quote(str(done))}; sleep {_DEADLINE}"
    socket = f"abyme-{folder.name}"
    size = ["-x", str(_COLUMNS), "-y", str(_ROWS)]
    _tmux(socket, "new-session", "-d", *size, "-c", str(folder), f"sh -c {shlex.quote(script)}")
    try:
        until = time.monotonic() + _DEADLINE
        while not done.exists() and time.monotonic() < until:
            time.sleep(0.1)
        return _tmux(socket, "capture-pane", "-p", "-e")
    finally:
        _tmux(socket, "kill-server")


def _tmux(socket: str, *words: str) -> str:
    done = subprocess.run(
        ["tmux", "-f", "/dev/null", "-L", socket, *words],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout


if __name__ == "__main__":
    main()
