"""Putting the layers on, in their order, and a trial of each that a kernel might only pretend."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from . import MEMORY, STRICT
from .kernel import call
from .landlock import restrict, version
from .limits import (
    drop_capabilities,
    limit_memory,
    limit_resources,
    no_new_privileges,
    undumpable,
)
from .readable import readable
from .seccomp import install
from .syscalls import Architecture, number, this_architecture


class CannotLock(Exception):
    """This system lacks something without which code would not be held; says what."""


def lock_down(
    layers: list[str], memory_bytes: int, packages: dict[str, list[str]]
) -> tuple[str, ...]:
    """Put on ``layers`` (:data:`.LAYERS`; tests leave some out) and say which hold.

    To be called while this process has one thread. Raises :class:`CannotLock`.
    """
    held: list[str] = []
    if "rlimits" in layers or MEMORY in layers:
        limit_memory(memory_bytes)
    if layers == [MEMORY]:
        return ()
    if "rlimits" in layers:
        limit_resources()
        held.append("rlimits")
    architecture = _architecture()
    try:
        if "no_new_privs" in layers:
            no_new_privileges()
            held.append("no_new_privs")
        if "capabilities" in layers:
            drop_capabilities(architecture)
            held.append("capabilities")
        if "undumpable" in layers:
            undumpable()
            held.append("undumpable")
    except OSError as error:
        raise CannotLock(f"a right cannot be given up: {error}") from None
    strict = STRICT in layers
    if "landlock" in layers:
        if latest := _landlock(packages):
            held.append(f"landlock {latest}")
        else:
            strict = True
    if strict:
        from .preload import preload

        preload(packages)
        held.append(STRICT)
    if "seccomp" in layers or strict:
        _seccomp(architecture, opens=not strict)
        held.append("seccomp")
    return tuple(held)


def _architecture() -> Architecture:
    if not sys.platform.startswith("linux"):
        raise CannotLock(f"only Linux can hold it so far, and this is {sys.platform}")
    if (found := this_architecture()) is None:
        raise CannotLock(f"there is no table of system calls for {os.uname().machine}")
    return found


def _landlock(packages: dict[str, list[str]]) -> int:
    """Restrict what may be opened; 0 where the kernel has no Landlock, or has it switched off."""
    try:
        version()
    except OSError:
        return 0
    try:
        latest = restrict(readable(packages))
    except OSError as error:
        raise CannotLock(f"Landlock is there and refuses its rules: {error}") from None
    _must_fail(lambda: os.close(os.open("/", os.O_RDONLY)), "Landlock")
    return latest


def _seccomp(architecture: Architecture, *, opens: bool) -> None:
    try:
        install(architecture, opens=opens)
    except OSError as error:
        raise CannotLock(f"the kernel takes no seccomp filter: {error}") from None
    trial = number("socket", architecture)
    assert trial is not None
    _must_fail(lambda: os.close(call(trial, 1, 1, 0)), "seccomp")
    if not opens:
        _must_fail(lambda: os.close(os.open("/", os.O_RDONLY)), "seccomp")


def _must_fail(attempt: Callable[[], None], layer: str) -> None:
    """Believe no kernel, and no emulation of one, without a trial."""
    try:
        attempt()
    except PermissionError:
        return
    except OSError as error:
        raise CannotLock(f"{layer} is there, but a trial met {error}") from None
    raise CannotLock(f"the kernel takes {layer}'s rules and does not follow them")
