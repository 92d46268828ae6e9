"""Putting the layers on, in their order, and a trial of each that a kernel might only pretend."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable

from . import MEMORY, STRICT
from .kernel import call
from .landlock import READ, Ruleset, restrict, ruleset, version
from .limits import (
    drop_capabilities,
    limit_memory,
    limit_resources,
    no_new_privileges,
    undumpable,
)
from .readable import readable
from .seccomp import compile_policy, install
from .syscalls import Architecture, number, this_architecture


class CannotLock(Exception):
    """This system lacks something without which code would not be held; says what."""


def prepare(packages: dict[str, list[str]]) -> Ruleset | None:
    """What is the same for every process that will be forked from this one, made once.

    None where Landlock's rules cannot be made; :func:`lock_down` says why.
    """
    with contextlib.suppress(OSError, CannotLock):
        compile_policy(_architecture(), opens=True)
        return ruleset(readable(packages))
    return None


def lock_down(
    layers: list[str],
    memory_bytes: int,
    packages: dict[str, list[str]],
    prepared: Ruleset | None = None,
    folders: Iterable[str] = (),
    mapped_bytes: int = 0,
) -> tuple[str, ...]:
    """Put on ``layers`` (:data:`.LAYERS`; tests leave some out) and say which hold.

    ``prepared``: what :func:`prepare` made of the same packages; closed here. ``folders``: what
    else may be read. ``mapped_bytes``: how large the data is.

    To be called while this process has one thread. Raises :class:`CannotLock`.
    """
    if prepared is not None and "landlock" not in layers:
        os.close(prepared.descriptor)
    held: list[str] = []
    if "rlimits" in layers or MEMORY in layers:
        limit_memory(memory_bytes, mapped_bytes)
    if layers == [MEMORY]:
        return ()
    if "rlimits" in layers:
        limit_resources()
        held.append("rlimits")
    if sys.platform == "darwin":
        _seatbelt(packages)
        return (*held, "seatbelt")
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
        if rules := prepared or _rules(packages, folders):
            _landlock(rules)
            held.append(f"landlock {rules.version}")
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
        raise CannotLock(f"nothing is known that holds code on {sys.platform}")
    if (found := this_architecture()) is None:
        raise CannotLock(f"there is no table of system calls for {os.uname().machine}")
    return found


def _rules(packages: dict[str, list[str]], folders: Iterable[str]) -> Ruleset | None:
    """What may be opened; None where the kernel has no Landlock, or has it switched off."""
    try:
        version()
    except OSError:
        return None
    try:
        return ruleset((*readable(packages), *((folder, READ) for folder in folders)))
    except OSError as error:
        raise CannotLock(f"Landlock is there and refuses its rules: {error}") from None


def _landlock(rules: Ruleset) -> None:
    try:
        restrict(rules)
    except OSError as error:
        raise CannotLock(f"Landlock is there and refuses to hold: {error}") from None
    finally:
        os.close(rules.descriptor)
    _must_fail(lambda: os.close(os.open("/", os.O_RDONLY)), "Landlock")


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


def _seatbelt(packages: dict[str, list[str]]) -> None:
    """What macOS has in the place of Landlock and seccomp."""
    from . import seatbelt

    try:
        seatbelt.confine(seatbelt.profile(readable(packages)))
    except (OSError, AttributeError, ValueError) as error:
        raise CannotLock(f"macOS takes no profile: {error}") from None
    for trial in (seatbelt.open_something, seatbelt.reach_out, seatbelt.start_something):
        _must_fail(trial, "the profile")


def _must_fail(attempt: Callable[[], None], layer: str) -> None:
    """Believe no kernel, and no emulation of one, without a trial."""
    try:
        attempt()
    except PermissionError:
        return
    except OSError as error:
        raise CannotLock(f"{layer} is there, but a trial met {error}") from None
    raise CannotLock(f"the kernel takes {layer}'s rules and does not follow them")
