"""An environment for each peer, in a folder that git ignores; what cannot be had is left out."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = ("rlms", "dspy")
_SECONDS = 600


class Missing(Exception):
    """A peer cannot be had here; the message is one sentence."""


def python_of(peer: str, folder: Path) -> Path:
    """The Python that has ``peer``, made on first use. Raises :class:`Missing`."""
    place = folder / peer
    python = place / "bin" / "python"
    done = place / ".installed"
    if not done.exists():
        uv = shutil.which("uv")
        if uv is not None:
            _run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, place])
            _run([uv, "pip", "install", "--quiet", "--python", python, peer])
        else:
            _run([sys.executable, "-m", "venv", place])
            _run([python, "-m", "pip", "install", "--quiet", peer])
        done.touch()
    return python


def deno(folder: Path) -> Path:
    """Deno's program, which dspy runs code in. Raises :class:`Missing`."""
    if found := shutil.which("deno"):
        return Path(found)
    place = folder / "deno"
    if not _programs(place):
        npm = shutil.which("npm")
        if npm is None:
            raise Missing("dspy needs Deno, and neither it nor npm is here.")
        place.mkdir(parents=True, exist_ok=True)
        (place / "package.json").write_text("{}\n", encoding="ascii")
        # Its install script only links the program that lies in the package of the platform.
        command = [npm, "install", "--silent", "--no-fund", "--no-audit", "--ignore-scripts"]
        _run([*command, "deno"], cwd=place)
    programs = _programs(place)
    if not programs:
        raise Missing("dspy needs Deno, and its npm package has no program for this platform.")
    return programs[0]


def environment(peer: str, folder: Path) -> dict[str, str]:
    """The variables that its process is given; Deno is on the path of dspy's where it is there."""
    variables = {**os.environ, "OPENAI_API_KEY": "none", "DSPY_CACHEDIR": str(folder / "cache")}
    if peer == "dspy":
        with contextlib.suppress(Missing):
            variables["PATH"] = f"{deno(folder).parent}{os.pathsep}{variables['PATH']}"
    return variables


def _programs(place: Path) -> list[Path]:
    return sorted(place.glob("node_modules/@deno/*/deno"))


def _run(command: list[str | Path], cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, timeout=_SECONDS, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        raise Missing(f"`{Path(command[0]).name}` did not end in {_SECONDS} s.") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"`{Path(command[0]).name}` failed: {said[-1] if said else 'no word'}")
