"""The sandboxes behind commands and pipes that can be had here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from abyme.sandbox.bubblewrap import Bubblewrap
from abyme.sandbox.command import CommandSandbox, command
from abyme.sandbox.containers import Container
from abyme.sandbox.pipes import PipeSandbox, worker_argv
from abyme.sandbox.recipes import Way
from abyme.threads import in_thread

GRACE = 0.5
CONTAINER = Path(__file__).parent / "container.py"
BOXES = (
    "argv", "shell", "bubblewrap", "bubblewrap-pull", "bubblewrap-mount", "docker", "docker-mount",
    "podman", "pipe",
)  # fmt: skip


@cache
def why_no_bubblewrap() -> str:
    """ "" where it works."""
    if shutil.which("bwrap") is None:
        return "bwrap is not installed"
    try:
        done = subprocess.run(
            ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except subprocess.TimeoutExpired:
        return "bwrap does not answer"
    return done.stderr.strip() if done.returncode else ""


def container(folder: Path, program: str, **options: str) -> Container:
    """A recipe whose program is the stand-in."""
    folder.mkdir(exist_ok=True)
    script = folder / program
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{CONTAINER}" "{folder}" {program} "$@"')
    script.chmod(0o755)
    return Container(program=program, path=str(script), **options)  # type: ignore[arg-type]


class LocalPipe:
    """A pipe to a process of this machine: two real pipes, one each way."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            worker_argv(sys.executable),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.input, self.output = self.process.stdin.fileno(), self.process.stdout.fileno()

    async def send(self, data: bytes) -> None:
        await in_thread(self._send, data)

    def _send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.input, data) :]

    async def receive(self) -> bytes:
        return await in_thread(os.read, self.output, 1 << 18)

    async def kill(self) -> None:
        self.process.kill()

    async def wait(self) -> int:
        with self.process:
            return await in_thread(self.process.wait)


async def local_pipe() -> LocalPipe:
    return LocalPipe()


def box(kind: str, folder: Path, text_bytes: int = 512 << 20) -> CommandSandbox | PipeSandbox:
    """One of :data:`BOXES`; skips the test where it cannot be had."""
    name, _, way = kind.partition("-")
    options = {"grace_seconds": GRACE, "text_bytes": text_bytes}
    data: Way = way or "pull"  # type: ignore[assignment]
    if name == "pipe":
        return PipeSandbox(open_pipe=local_pipe, **options)  # type: ignore[arg-type]
    if name == "argv":
        found = command((), python=sys.executable)
    elif name == "shell":
        found, data = command(("sh", "-c"), python=sys.executable, shell=True), "passed"
    elif name == "bubblewrap":
        if why := why_no_bubblewrap():
            pytest.skip(why)
        found = CommandSandbox(recipe=Bubblewrap())
        data = way or "passed"  # type: ignore[assignment]
    else:
        found = CommandSandbox(recipe=container(folder / "containers", name))
    return CommandSandbox(recipe=found.recipe, data=data, **options)  # type: ignore[arg-type]


def alone(way: Way = "passed") -> CommandSandbox:
    """Bubblewrap without the layers inside."""
    return CommandSandbox(recipe=Bubblewrap(), data=way, layers=(), grace_seconds=GRACE)


needs_bubblewrap = pytest.mark.skipif(
    sys.platform.startswith("linux") and bool(why_no_bubblewrap()),
    reason=f"bubblewrap: {why_no_bubblewrap()}",
)
