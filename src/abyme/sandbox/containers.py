"""Docker and Podman: a fresh container for each worker, hardened, with nothing of its own.

The image needs a Python of at least 3.11 and nothing else; the worker's code is sent to it. It is
never fetched here: no run downloads what it executes.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from typing import Literal

import msgspec

from abyme.errors import SandboxError
from abyme.sandbox.recipes import Launch, Mount, needed_environment
from abyme.sandbox.travel import BOOT, PYTHON_FLAGS

IMAGE = "python:3.12-slim"
LABEL = "abyme"
NOBODY = "65534:65534"
_MOST_PROCESSES = 4096
"""Threads count; a thousand that wait for calls must fit."""
_OVERHEAD = 256 << 20
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe of both, whose arguments are nearly the same."""

    program: Literal["docker", "podman"]
    image: str = IMAGE
    runtime: str = ""
    """Docker's or Podman's name of another runtime, such as ``runsc`` (gVisor)."""
    memory_bytes: int = 4 << 30
    """What the worker may allocate; the container gets a little more, and no swap."""
    path: str = ""
    """Where the program is, if not in PATH."""

    @property
    def name(self) -> str:
        """``docker`` or ``podman``."""
        return self.program

    @property
    def boundary(self) -> str:
        """See :class:`~abyme.sandbox.recipes.Recipe`."""
        return f"{self.program} {self.runtime}".strip()

    @property
    def sent(self) -> bool:
        """See :class:`~abyme.sandbox.recipes.Recipe`."""
        return True

    @property
    def packages(self) -> dict[str, list[str]]:
        """See :class:`~abyme.sandbox.recipes.Recipe`."""
        return {}

    @property
    def environment(self) -> dict[str, str]:
        """See :class:`~abyme.sandbox.recipes.Recipe`: of the client alone."""
        return needed_environment()

    def launch(self, mounts: Sequence[Mount]) -> Launch:
        """See :class:`~abyme.sandbox.recipes.Recipe`."""
        if (program := shutil.which(self.path or self.program)) is None:
            raise SandboxError(f"{self.program} is not installed, or not in PATH")
        if self.image.startswith("-"):
            raise SandboxError(f"{self.image} is no name of an image")
        name = f"abyme-{uuid.uuid4().hex}"
        memory = f"{self.memory_bytes + _OVERHEAD}b"
        # fmt: off
        argv = [
            program, "run", "--rm", "--interactive", "--pull=never",
            f"--name={name}", f"--label={LABEL}",
            "--network=none", "--read-only", "--ipc=none", "--cap-drop=ALL",
            "--security-opt=no-new-privileges", f"--user={NOBODY}", "--workdir=/",
            f"--pids-limit={_MOST_PROCESSES}", f"--memory={memory}", f"--memory-swap={memory}",
            # Frames would be written to the log, and proxies and what is in their addresses be
            # handed on.
            "--log-driver=none",
            *(f"--env={each}=" for proxy in _PROXIES for each in (proxy, proxy.upper())),
        ]
        # fmt: on
        if self.program == "podman":
            argv += ("--read-only-tmpfs=false", "--http-proxy=false")
        if self.runtime:
            argv.append(f"--runtime={self.runtime}")
        for mount in mounts:
            argv.append(f"--mount=type=bind,source={mount.source},target={mount.target},readonly")
        argv += ("--entrypoint=python3", self.image, *PYTHON_FLAGS, "-c", BOOT)
        return Launch(tuple(argv), (program, "rm", "--force", name))

    def advice(self, said: str) -> str:
        """See :class:`~abyme.sandbox.recipes.Recipe`."""
        lowered = said.lower()
        if "no such image" in lowered or "unable to find image" in lowered:
            return f"fetch it first: {self.program} pull {self.image}"
        if "image not known" in lowered or "failed to resolve" in lowered:
            return f"fetch it first: {self.program} pull {self.image}"
        if "daemon" in lowered or "connect" in lowered:
            return f"`{self.program} version` tells whether it runs, and whether you may use it"
        return f"try it by hand: {self.program} run --rm --network=none {self.image} true"
