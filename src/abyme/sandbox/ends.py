"""What a worker's process is started with: a socket to the host, and where its output goes."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import NamedTuple

from abyme.errors import SandboxError

_SENT_AHEAD = 1 << 20
"""Bytes that a worker may send before the host has read them; most systems allow a third of it."""


class Ends(NamedTuple):
    """The host's ends and the process's."""

    ours: socket.socket
    theirs: socket.socket
    output: int
    """Where the host reads what is written past Python."""
    written: int


def ends() -> Ends:
    """Fresh ones, which nothing inherits. Raises :class:`SandboxError` where none are left."""
    try:
        ours, theirs = socket.socketpair()
        with contextlib.suppress(OSError):
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT_AHEAD)
        try:
            return Ends(ours, theirs, *os.pipe())
        except OSError:
            ours.close()
            theirs.close()
            raise
    except OSError as error:
        said = f"cannot start a worker: {error.strerror}; raise `ulimit -n`"
        raise SandboxError(said) from error
