"""The same worker behind a command that speaks over standard input and output.

Bubblewrap, Docker, Podman, ssh, kubectl: whatever an argv leads to. The host's side of the stream
is a socket, which is the command's standard input and output at once; what comes on its standard
error is what the code writes past Python, or why there is no worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from abyme.errors import ConfigError, SandboxError
from abyme.sandbox.bubblewrap import Bubblewrap
from abyme.sandbox.child import StartedChild
from abyme.sandbox.containers import IMAGE, Container
from abyme.sandbox.ends import ends
from abyme.sandbox.recipes import Argv, Launch, Mount, Recipe, Way
from abyme.sandbox.stream import StreamSandbox, StreamWorkers

_ENDING_SECONDS = 15.0


class CommandSandbox(StreamSandbox, frozen=True, kw_only=True):
    """Settings of a sandbox behind a command; :func:`bubblewrap` and the others make them."""

    recipe: Recipe

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.recipe.name

    def workers(self) -> AbstractAsyncContextManager[StreamWorkers]:
        """See :class:`abyme.sandbox.base.Sandbox`."""
        return StreamWorkers.of(self, CommandSource(self.recipe))


class CommandSource:
    """Starts the commands of a recipe: a :class:`~abyme.sandbox.stream.Source`."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self.name = recipe.name
        self.boundary = recipe.boundary
        self.sent = recipe.sent
        self.packages = recipe.packages

    async def begin(self, mounts: Sequence[Mount]) -> tuple[CommandChild, socket.socket]:
        """See :class:`~abyme.sandbox.stream.Source`."""
        # On the event loop's thread: --die-with-parent means the thread that starts it.
        return _started(self._recipe, self._recipe.launch(mounts))

    def advice(self, said: str) -> str:
        """See :class:`~abyme.sandbox.stream.Source`."""
        return self._recipe.advice(said)


def command(argv: Sequence[str], *, data: Way = "pull", **options: object) -> CommandSandbox:
    """Any argv that leads to a Python; an empty one is the Python of this machine itself.

    ``options``: of :class:`~abyme.sandbox.recipes.Argv`. Raises
    :class:`~abyme.errors.ConfigError` for a line where a list of arguments belongs.
    """
    if isinstance(argv, str):
        raise ConfigError("a command is a list of arguments, the first of them a program")
    return CommandSandbox(recipe=msgspec.convert({"argv": argv, **options}, Argv), data=data)


def bubblewrap(data: Way = "passed") -> CommandSandbox:
    """Workers in namespaces of their own."""
    return CommandSandbox(recipe=Bubblewrap(), data=data)


def docker(image: str = IMAGE, *, runtime: str = "", data: Way = "pull") -> CommandSandbox:
    """Workers in containers of Docker; ``runtime="runsc"`` for gVisor."""
    recipe = Container(program="docker", image=image, runtime=runtime)
    return CommandSandbox(recipe=recipe, data=data)


def podman(image: str = IMAGE, *, runtime: str = "", data: Way = "pull") -> CommandSandbox:
    """Workers in containers of Podman."""
    recipe = Container(program="podman", image=image, runtime=runtime)
    return CommandSandbox(recipe=recipe, data=data)


class CommandChild(StartedChild):
    """The command. Its worker gets no signals from here: it is interrupted by frame."""

    def __init__(self, process: subprocess.Popen[bytes], output: int, launch: Launch) -> None:
        super().__init__(process, output)
        self._launch = launch
        self._ending: subprocess.Popen[bytes] | None = None

    def interrupt(self) -> bool:
        """See :class:`~abyme.sandbox.child.Child`."""
        return False

    def kill(self) -> None:
        """See :class:`~abyme.sandbox.child.Child`: the command, and what outlives it."""
        super().kill()
        if self._launch.ending and self._ending is None:
            with contextlib.suppress(OSError):
                self._ending = subprocess.Popen(
                    self._launch.ending,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )

    async def end(self) -> None:
        """See :class:`~abyme.sandbox.child.Child`."""
        await super().end()
        ending, waited = self._ending, 0.0
        while ending is not None and ending.poll() is None and waited < _ENDING_SECONDS:
            await asyncio.sleep(0.02)
            waited += 0.02


def _started(recipe: Recipe, launch: Launch) -> tuple[CommandChild, socket.socket]:
    """The command, running, and the host's end of its stream. Raises :class:`SandboxError`."""
    ours, theirs, output, written = ends()
    try:
        process = subprocess.Popen(
            launch.argv,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=written,
            env=recipe.environment,
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        ours.close()
        os.close(output)
        raise SandboxError(f"{launch.argv[0]} cannot be started: {error}") from error
    finally:
        theirs.close()
        os.close(written)
    return CommandChild(process, output, launch), ours
