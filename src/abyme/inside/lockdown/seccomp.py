"""The policy as a seccomp filter, and the filter put on the whole process."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys

from .bpf import (
    ALLOW,
    AND,
    ANY_BIT,
    ARCHITECTURE,
    AT_LEAST,
    EQUAL,
    ERRNO,
    KILL,
    LOAD,
    NUMBER,
    RETURN,
    Program,
    high_word,
    low_word,
)
from .kernel import call
from .policy import FREE, REFUSED, Check, Rule, bounded
from .syscalls import Architecture, number

_SET_MODE_FILTER = 1
_ALL_THREADS = 1
_INSTRUCTION = 8
_SOME_PROCESS = 0x7FFF_FFFF  # no process has this number: there are at most 2**22
_SOME = _SOME_PROCESS.to_bytes(4, sys.byteorder)


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(architecture: Architecture, *, opens: bool) -> None:
    """Hold every thread of this process to the policy, for good. Raises OSError.

    PR_SET_NO_NEW_PRIVS must be set. ``opens``: files may be opened for reading (what keeps it to
    some of them is Landlock).
    """
    code = for_process(compile_policy(architecture, opens=opens), os.getpid())
    filtering = _Filter(len(code) // _INSTRUCTION, code)
    failed = call(architecture.seccomp, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(filtering))
    if failed:
        raise OSError(errno.ESRCH, f"thread {failed} cannot be held to the filter")


@functools.cache
def compile_policy(architecture: Architecture, *, opens: bool) -> bytes:
    """The program for an architecture; :func:`for_process` says which process it is for."""
    actions: dict[int, int | Rule] = {}
    table: dict[str, int | Rule] = {
        **dict.fromkeys(FREE, ALLOW),
        **{name: ERRNO | error for name, error in REFUSED.items()},
        **bounded(_SOME_PROCESS, opens=opens),
    }
    for name, action in table.items():
        if (at := number(name, architecture)) is not None:
            actions[at] = action
    program = Program()
    program.add(LOAD, ARCHITECTURE)
    program.go_unless(EQUAL, architecture.audit, "foreign")
    program.add(LOAD, NUMBER)
    if architecture.foreign is not None:
        program.go_if(AT_LEAST, architecture.foreign, "foreign")
    _search(program, _ranges(actions))
    program.label("foreign")
    program.add(RETURN, KILL)
    return program.assemble()


def for_process(program: bytes, pid: int) -> bytes:
    """The same program with ``pid`` in the place of the process that it was compiled for.

    Compiling takes 1.5 ms, and workers are forked after it.
    """
    parts = [program[at : at + _INSTRUCTION] for at in range(0, len(program), _INSTRUCTION)]
    own = pid.to_bytes(4, sys.byteorder)
    return b"".join(part[:4] + own if part[4:] == _SOME else part for part in parts)


def _ranges(actions: dict[int, int | Rule]) -> list[tuple[int, int | Rule]]:
    """From which number on which action holds, each different from the one before."""
    unknown = ERRNO | errno.ENOSYS
    ranges: list[tuple[int, int | Rule]] = []
    for at in range(max(actions) + 2):
        action = actions.get(at, unknown)
        if not ranges or ranges[-1][1] != action:
            ranges.append((at, action))
    return ranges


def _search(program: Program, ranges: list[tuple[int, int | Rule]]) -> None:
    """Find the range of the number that is loaded, by halves."""
    if len(ranges) == 1:
        _decide(program, *ranges[0])
        return
    middle = len(ranges) // 2
    upper = f"from {ranges[middle][0]}"
    program.go_if(AT_LEAST, ranges[middle][0], upper)
    _search(program, ranges[:middle])
    program.label(upper)
    _search(program, ranges[middle:])


def _decide(program: Program, at: int, action: int | Rule) -> None:
    if isinstance(action, int):
        program.add(RETURN, action)
        return
    for place, way in enumerate(action.ways):
        other = f"{at}, way {place + 1}"
        for check in way:
            _test(program, check, other)
        program.add(RETURN, ALLOW)
        program.label(other)
    program.add(RETURN, ERRNO | action.refusal)


def _test(program: Program, check: Check, failed: str) -> None:
    if check.wide:
        program.add(LOAD, high_word(check.argument))
        program.go_unless(EQUAL, 0, failed)
    program.add(LOAD, low_word(check.argument))
    if check.value == 0 and not check.negated:
        program.go_if(ANY_BIT, check.mask, failed)
        return
    program.add(AND, check.mask)
    if check.negated:
        program.go_if(EQUAL, check.value, failed)
    else:
        program.go_unless(EQUAL, check.value, failed)
