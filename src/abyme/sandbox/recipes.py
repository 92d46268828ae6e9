"""Commands that lead to a worker: what is started, what it holds, how it is ended for certain.

A recipe makes the argv of one worker. What the command holds (a container: processes, files, the
network) it names as its ``boundary``, and the worker's own layers are then put on as far as they
can be had inside. Where a command holds nothing (``ssh``) the worker holds itself, or refuses.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple, Protocol

import msgspec

from abyme.sandbox.travel import BOOT, PYTHON_FLAGS

Way = Literal["passed", "mount", "pull"]
"""How data comes to the worker: as descriptors through standard input, where that is a socket all
the way; large documents mounted, the rest pulled; or all of it pulled, in frames."""

_NAMES = re.compile(r"\{(source|target)\}")

MOUNTS = "{mounts}"
"""In an argv: where the arguments that mount documents belong."""


class Mount(NamedTuple):
    """A document that the worker shall be able to open, for reading."""

    source: str
    """Where it lies on this machine."""
    target: str
    """Under which name, without meaning, the worker opens it."""


class Launch(NamedTuple):
    """How one worker is started and ended."""

    argv: tuple[str, ...]
    ending: tuple[str, ...] = ()
    """A command that ends it whatever has become of the first; () where killing that does."""


class Recipe(Protocol):
    """What starts workers. One that is sent its code is given that before the first frame."""

    @property
    def name(self) -> str:
        """Short, for the journal."""

    @property
    def boundary(self) -> str:
        """What holds the code before the worker does anything, as a layer; "" for nothing."""

    @property
    def sent(self) -> bool:
        """Whether the worker's code has to be sent, or lies there."""

    @property
    def packages(self) -> dict[str, list[str]]:
        """Packages that code may import, with the folders they lie in, as the worker sees them."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the command."""

    def launch(self, mounts: Sequence[Mount]) -> Launch:
        """One worker's command. Raises :class:`~abyme.errors.SandboxError` where it cannot run."""

    def advice(self, said: str) -> str:
        """What to do where the command said this and started no worker; "" where unknown."""


# What ssh, kubectl, docker and their like need of the user's environment. None of it is handed to
# the code: the worker starts again without (:mod:`.travel`), and containers begin with nothing.
_NEEDED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME",
    "SSH_AUTH_SOCK", "KUBECONFIG", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT",
    "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "CONTAINER_HOST", "CONTAINERS_CONF",
)  # fmt: skip


def _named(mount: Mount, found: re.Match[str]) -> str:
    """In one pass, so that no file's name is taken for a place to fill."""
    return mount.source if found[1] == "source" else mount.target


def needed_environment() -> dict[str, str]:
    """The part of this process's environment that commands need."""
    return {name: os.environ[name] for name in _NEEDED if name in os.environ}


class Argv(msgspec.Struct, frozen=True, kw_only=True):
    """Any command with a Python of at least 3.11 at its far end, to which the code is sent."""

    argv: tuple[str, ...]
    """The command up to that Python. ``{mounts}`` among its arguments: where mounts belong."""
    python: str = "python3"
    """What the Python is called there."""
    shell: bool = False
    """The command hands what follows to a shell, as ssh does: it is quoted, as one argument."""
    mount: tuple[str, ...] = ()
    """Arguments that mount ``{source}`` as ``{target}``, for reading."""
    boundary: str = ""
    """What the command holds the code with; "" (ssh, nice) where it does not."""
    name: str = "command"

    @property
    def sent(self) -> bool:
        """See :class:`Recipe`."""
        return True

    @property
    def packages(self) -> dict[str, list[str]]:
        """See :class:`Recipe`."""
        return {}

    @property
    def environment(self) -> dict[str, str]:
        """See :class:`Recipe`."""
        return needed_environment()

    def launch(self, mounts: Sequence[Mount]) -> Launch:
        """See :class:`Recipe`."""
        mounting = [
            _NAMES.sub(partial(_named, mount), part) for mount in mounts for part in self.mount
        ]
        before: list[str] = []
        for part in self.argv:
            before += mounting if part == MOUNTS else [part]
        python = [self.python, *PYTHON_FLAGS, "-c", BOOT]
        return Launch((*before, *([shlex.join(python)] if self.shell else python)))

    def advice(self, said: str) -> str:
        """See :class:`Recipe`."""
        return f"try it by hand: {shlex.join(self.argv)} {self.python} --version"
