"""Landlock: from now on this process opens what its rules name, reads it, and nothing else.

The structures only grow from one version (ABI) of Landlock to the next, and a kernel takes a longer
one than it knows where the rest is zero. So there is one layout, and what a kernel cannot do is
left out of it.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from typing import NamedTuple

from .kernel import call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILES = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Bits of file access that each version brought: thirteen, then REFER, TRUNCATE, IOCTL_DEV."""
_NET = {4: 0b11}
"""TCP: bind, connect."""
_SCOPES = {6: 0b11}
"""Abstract unix sockets and signals of processes that are not held."""

READ_FILE = _READ_FILE
READ = _READ_FILE | _READ_DIR
LIST = _READ_DIR


def version() -> int:
    """The version of Landlock that the kernel has. Raises OSError where it has none."""
    return call(_CREATE_RULESET, None, 0, _ASK_VERSION)


class Ruleset(NamedTuple):
    """Rules that any process which has the descriptor can put on; ``version`` is Landlock's."""

    descriptor: int
    version: int


def ruleset(allowed: Iterable[tuple[str, int]]) -> Ruleset:
    """Rules that allow these paths, with the access named, and nothing more.

    What does not exist is passed over. Raises OSError.
    """
    latest = version()
    attributes = struct.pack(
        "=QQQ", _bits(_FILES, latest), _bits(_NET, latest), _bits(_SCOPES, latest)
    )
    descriptor = call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path, access in allowed:
            _allow(descriptor, path, access)
    except OSError:
        os.close(descriptor)
        raise
    return Ruleset(descriptor, latest)


def restrict(rules: Ruleset) -> None:
    """Put them on this process, for good. PR_SET_NO_NEW_PRIVS must be set. Raises OSError."""
    call(_RESTRICT_SELF, rules.descriptor, 0)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = ctypes.create_string_buffer(struct.pack("=Qi", access, descriptor), 12)
        call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _bits(since: dict[int, int], latest: int) -> int:
    return sum(bits for version, bits in since.items() if version <= latest)
