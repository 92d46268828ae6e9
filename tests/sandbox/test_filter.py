"""The seccomp filter, run by a machine of our own: for both architectures, on any of them."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from abyme.inside.lockdown.bpf import ALLOW, ERRNO, KILL, MOST_INSTRUCTIONS
from abyme.inside.lockdown.policy import FREE, REFUSED, bounded
from abyme.inside.lockdown.seccomp import compile_policy, for_process
from abyme.inside.lockdown.syscalls import AARCH64, NUMBERS, X86_64, Architecture, number
from support.bpf import verdict

PID = 4321
BOTH = pytest.mark.parametrize("architecture", [X86_64, AARCH64], ids=lambda each: each.name)

NO, DENIED, UNKNOWN = ERRNO | errno.EPERM, ERRNO | errno.EACCES, ERRNO | errno.ENOSYS
HIGH = 1 << 32
THREAD = 0x3D0F00
RULES = [
    ("openat", (-100, 7, 0), ALLOW),
    ("openat", (-100, 7, 0o2000000), ALLOW),
    ("openat", (-100, 7, HIGH), ALLOW),
    ("openat", (-100, 7, 1), DENIED),
    ("openat", (-100, 7, 2), DENIED),
    ("openat", (-100, 7, 3), DENIED),
    ("openat", (-100, 7, 0o100), DENIED),
    ("openat", (-100, 7, 0o1000), DENIED),
    ("openat", (-100, 7, 0o10000000), DENIED),
    ("openat", (-100, 7, 0o20200000), DENIED),
    ("open", (7, 0), ALLOW),
    ("open", (7, 0o101), DENIED),
    ("mmap", (0, 9, 3, 0x22), ALLOW),
    ("mmap", (0, 9, 5, 2), ALLOW),
    ("mmap", (0, 9, 1, 1), ALLOW),
    ("mmap", (0, 9, 7, 0x22), DENIED),
    ("mmap", (0, 9, 3, 0x21), DENIED),
    ("mmap", (0, 9, 3, 1), DENIED),
    ("mmap", (0, 9, 3, 3), DENIED),
    ("mmap", (0, 9, 1, 0x21), DENIED),
    ("mmap", (0, 9, 3, 0x122), DENIED),
    ("mprotect", (0, 9, 5), ALLOW),
    ("mprotect", (0, 9, 7), DENIED),
    ("clone", (THREAD,), ALLOW),
    ("clone", (0x7D0F00,), ALLOW),
    ("clone", (17,), NO),
    ("clone", (0x4111,), NO),
    ("clone", (THREAD | 0x10000000,), NO),
    ("clone", (THREAD | 17,), NO),
    ("clone", (THREAD & ~0x10000,), NO),
    ("clone3", (0, 88), UNKNOWN),
    ("socketpair", (1, 1, 0), ALLOW),
    ("socketpair", (1, 0o2004001, 0), ALLOW),
    ("socketpair", (1, 2, 0), NO),
    ("socketpair", (1, 5, 0), NO),
    ("socketpair", (2, 1, 0), NO),
    ("sendto", (3, 9, 9, 0, 0), ALLOW),
    ("sendto", (3, 9, 9, 0, 1), NO),
    ("sendto", (3, 9, 9, 0, HIGH), NO),
    ("sendto", (3, 9, 9, 1, 0), NO),
    ("sendmsg", (3, 9, 0x4000), NO),
    ("recvmsg", (3, 9, 1), NO),
    ("kill", (PID, 9), ALLOW),
    ("kill", (PID + HIGH, 9), ALLOW),
    ("kill", (PID + 1, 9), NO),
    ("kill", (0, 9), NO),
    ("kill", (-1, 0), NO),
    ("kill", (-PID, 0), NO),
    ("tgkill", (PID, PID + 1, 9), ALLOW),
    ("tgkill", (PID + 1, PID + 1, 9), NO),
    ("fcntl", (3, 1030), ALLOW),
    ("fcntl", (3, 4, 0o4000), ALLOW),
    ("fcntl", (3, 4, 0o20000), NO),
    *(("fcntl", (3, command), NO) for command in (6, 7, 8, 10, 15, 1024, 1026, 1031, 1033)),
    ("ioctl", (1, 0x5401), ALLOW),
    ("ioctl", (1, 0x5401 + HIGH), ALLOW),
    *(("ioctl", (1, command), NO) for command in (0x8901, 0x8902, 0x5412, 0x5452)),
    ("prctl", (15,), ALLOW),
    *(("prctl", (option,), NO) for option in (1, 4, 22, 38, 0x59616D61)),
    ("prlimit64", (0, 7, 0, 9), ALLOW),
    ("prlimit64", (PID, 7, 0, 9), ALLOW),
    ("prlimit64", (0, 7, HIGH, 0), NO),
    ("prlimit64", (0, 7, 9, 0), NO),
    ("prlimit64", (1, 7, 0, 9), NO),
    ("sched_setaffinity", (0, 8, 9), ALLOW),
    ("sched_setaffinity", (PID + 5, 8, 9), NO),
    ("getpriority", (0, 0), ALLOW),
    ("getpriority", (0, 1), NO),
]


def program(architecture: Architecture, *, opens: bool = True) -> bytes:
    return for_process(compile_policy(architecture, opens=opens), PID)


@BOTH
@pytest.mark.parametrize(("name", "arguments", "expected"), RULES)
def test_a_call_whose_arguments_decide(
    architecture: Architecture, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    at = number(name, architecture)
    if at is None:
        assert architecture is AARCH64
        return
    assert verdict(program(architecture), architecture.audit, at, *arguments) == expected


@BOTH
def test_every_number_has_the_verdict_of_its_name_and_no_other_is_allowed(
    architecture: Architecture,
) -> None:
    code = program(architecture)
    assert len(code) // 8 < MOST_INSTRUCTIONS
    names = {at: name for name in NUMBERS if (at := number(name, architecture)) is not None}
    for at in (*range(1100), 0x3FFFFFFF):
        said, name = verdict(code, architecture.audit, at), names.get(at)
        if name in FREE:
            assert said == ALLOW
        elif name in REFUSED:
            assert said == ERRNO | REFUSED[name]
        elif name is None or name not in bounded(PID, opens=True):
            assert said == UNKNOWN, (at, name)


@BOTH
def test_another_machines_calls_end_the_process(architecture: Architecture) -> None:
    code = program(architecture)
    others = {X86_64.audit, AARCH64.audit, 0x40000003, 0x40000028, 0} - {architecture.audit}
    assert {verdict(code, audit, 0) for audit in others} == {KILL}
    x32 = verdict(code, architecture.audit, 0x40000000 + 39)
    assert x32 == (KILL if architecture is X86_64 else UNKNOWN)
    assert verdict(code, architecture.audit, 0xFFFFFFFF) in (KILL, UNKNOWN)


@BOTH
def test_without_landlock_no_file_is_opened_and_no_link_read(architecture: Architecture) -> None:
    code = program(architecture, opens=False)
    for name in ("open", "openat", "readlinkat", "chdir"):
        if (at := number(name, architecture)) is not None:
            assert verdict(code, architecture.audit, at) == DENIED


def test_each_name_has_one_rule_and_every_rule_a_number() -> None:
    rules = set(bounded(PID, opens=True))
    assert not FREE & rules and not FREE & set(REFUSED) and not rules & set(REFUSED)
    assert FREE | rules | set(REFUSED) | {"clone3"} == set(NUMBERS)


@pytest.mark.parametrize(
    ("architecture", "header"),
    [
        (X86_64, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        (AARCH64, "/usr/include/asm-generic/unistd.h"),
    ],
    ids=["x86_64", "aarch64"],
)
def test_the_numbers_are_the_kernels(architecture: Architecture, header: str) -> None:
    if not Path(header).exists():
        pytest.skip("the kernel's headers are not installed")
    defined = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
    known = {name: int(at) for name, at in defined}
    if architecture is AARCH64:  # it has renameat, and calls fstatat newfstatat
        known["newfstatat"] = known.pop("fstatat")
    for name in NUMBERS:
        ours = number(name, architecture)
        assert ours == known.get(name, 452 if name == "fchmodat2" else None), name
