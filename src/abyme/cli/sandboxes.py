"""Which sandbox a command's code runs in, and which there are on this machine."""

from __future__ import annotations

import shutil

from abyme.errors import ConfigError
from abyme.sandbox.base import Sandbox
from abyme.sandbox.process import ProcessSandbox
from abyme.settings import Loaded

PROGRAMS = {"bubblewrap": "bwrap", "docker": "docker", "podman": "podman"}
_CONTAINERS = ("docker", "podman")


def chosen_sandbox(loaded: Loaded, *, unsafe_local: bool = False) -> Sandbox:
    """The sandbox that is set. Raises :class:`ConfigError` for what does not go together."""
    name, image = loaded.settings.sandbox or "process", loaded.settings.image
    if unsafe_local and name != "process":
        origin = loaded.origin("sandbox")
        raise ConfigError(f"--unsafe-local is for the sandbox process, and {origin} says {name}")
    if loaded.origin("image") == "--image" and name not in _CONTAINERS:
        raise ConfigError(f"--image is for --sandbox docker or podman, not {name}")
    if name == "process":
        return ProcessSandbox(unsafe_local=unsafe_local)
    from abyme.sandbox.command import bubblewrap, docker, podman  # most runs need none of it
    from abyme.sandbox.containers import IMAGE

    if name == "bubblewrap":
        return bubblewrap()
    return (docker if name == "docker" else podman)(image or IMAGE)


def installed() -> dict[str, bool]:
    """The sandboxes that need a program, and whether that is in PATH."""
    return {name: shutil.which(program) is not None for name, program in PROGRAMS.items()}
