"""The default sandbox: one CPython process a REPL, which locks itself in before it runs a cell.

What holds the code: a process and session of its own, an environment built here (no secret of the
host's is in it), descriptors instead of paths for the data, and the layers of
:mod:`abyme.inside.lockdown`, which the worker reports. Where they cannot be had no worker is
opened, unless ``unsafe_local`` says that the code may do what the user may.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import msgspec

from abyme.context.documents import Data
from abyme.errors import SandboxError
from abyme.inside.lockdown import LAYERS, MEMORY
from abyme.sandbox.base import Function, Host, Repl
from abyme.sandbox.worker import Worker

_START = Path(__file__).parent.parent / "inside" / "start.py"
_PACKAGES = ("numpy", "pandas")
_WITH_PACKAGES = ("dateutil", "pytz", "six", "tzdata")
_START_SECONDS = 30.0


class ProcessSandbox(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the default sandbox."""

    memory_bytes: int = 4 << 30
    """Private memory that a worker may allocate (RLIMIT_DATA)."""
    text_bytes: int = 512 << 20
    """A document whose ``str`` would take more than this is a lazy text instead."""
    output_chars: int = 10_000
    """Characters of a cell's output that are kept, head and tail together."""
    grace_seconds: float = 2.0
    """Between the interrupt at a cell's deadline and the end of its worker."""
    unsafe_local: bool = False
    """Do not confine the code: it can read the user's files, use the network, start programs."""

    @property
    def name(self) -> str:
        """``process``."""
        return "process"

    def asked_layers(self) -> tuple[str, ...]:
        """What the worker is told to put on; the tests of a layer leave it out."""
        return (MEMORY,) if self.unsafe_local else LAYERS

    @contextlib.asynccontextmanager
    async def open(
        self, data: Data, host: Host, functions: tuple[Function, ...]
    ) -> AsyncIterator[Repl]:
        """Start a worker; see :class:`abyme.sandbox.base.Sandbox`."""
        worker = self.start(data, host, functions)
        try:
            await worker.ready(_START_SECONDS)
            yield worker
        finally:
            await worker.close()

    def start(self, data: Data, host: Host, functions: tuple[Function, ...]) -> Worker:
        """Start the process without waiting until it is ready for its first cell."""
        ours, theirs = socket.socketpair()
        try:
            process = _spawn(theirs.fileno())
        except OSError as error:
            ours.close()
            raise SandboxError(f"cannot start the worker: {error}") from error
        finally:
            theirs.close()
        hello = {
            "t": "hello",
            "kind": data.kind,
            "documents": [
                {
                    "name": document.name,
                    "bytes": document.bytes,
                    "encoding": document.encoding,
                    "errors": document.errors,
                    "bom": document.bom,
                }
                for document in data.documents
            ],
            "tools": [
                {"name": item.name, "parameters": list(item.parameters), "doc": item.doc}
                for item in functions
            ],
            "text_limit": self.text_bytes,
            "output_chars": self.output_chars,
            "stream": host.listens,
            "memory_bytes": self.memory_bytes,
            "packages": importable_packages(),
            "layers": self.asked_layers(),
        }
        return Worker(process, ours, hello, data, host, self.grace_seconds)


def _spawn(descriptor: int) -> subprocess.Popen[bytes]:
    """The worker process: the standard library only, nothing of the host's environment."""
    return subprocess.Popen(
        [sys.executable, "-s", "-P", "-S", str(_START), str(descriptor)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(descriptor,),
        env=worker_environment(),
        cwd="/",
        start_new_session=True,
    )


def worker_environment() -> dict[str, str]:
    """All that a worker's environment holds. Hash seed 0 makes re-run cells repeat themselves."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
    }


@cache
def importable_packages() -> dict[str, list[str]]:
    """Folders of numpy and pandas, and of what they import, where they are installed."""
    found: dict[str, list[str]] = {}
    for name in _PACKAGES + _WITH_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            origin = Path(spec.origin)
            home = origin.parent.parent if spec.submodule_search_locations else origin.parent
            found[name] = [str(home)]
    return found if any(name in found for name in _PACKAGES) else {}
