"""A sandbox of your own in forty lines: model-written code runs wherever these bytes lead.

Here they lead to another process of this machine, which holds itself. In earnest `open_pipe` would
start a virtual machine, or ask a cloud for a sandbox, run `worker_argv()` in it, and carry its
standard input and output. Run it: python examples/own_sandbox.py
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

from abyme import RLM
from abyme.sandbox.pipes import PipeSandbox, worker_argv


class LocalPipe:
    """The four methods of `abyme.sandbox.pipes.Pipe`."""

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.setblocking(False)
        with theirs:
            self.process = subprocess.Popen(
                worker_argv(sys.executable),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath},  # never your own: keys are in it
            )

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.ours, data)

    async def receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.ours, 1 << 18)

    async def kill(self) -> None:
        self.process.kill()

    async def wait(self) -> int:
        status = await asyncio.to_thread(self.process.wait)
        self.ours.close()
        return status


async def open_pipe() -> LocalPipe:
    """A worker that is about to start."""
    return LocalPipe()


if __name__ == "__main__":
    sandbox = PipeSandbox(name="local pipe", open_pipe=open_pipe)
    rlm = RLM("reader", sandbox=sandbox)
    log = "".join(f"{n} {'ERROR' if n % 7 == 0 else 'ok'}\n" for n in range(1, 101))
    print(rlm.completion("How many lines contain ERROR?", log))
