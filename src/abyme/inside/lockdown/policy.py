"""What a worker may ask the kernel for: every other system call does not exist for it (ENOSYS).

The list is what CPython needs for ordinary work: memory, threads, waiting, reading files that
Landlock lets it open, pipes and socket pairs of its own. Three kinds of rule:

- :data:`FREE`: allowed whatever the arguments are.
- :func:`bounded`: allowed where the arguments are harmless. A filter sees registers, not memory:
  where an argument is a pointer it can only be asked whether it is NULL.
- :data:`REFUSED`: an error that Python tells as what it is ("not permitted") instead of ENOSYS.

``clone3`` is not there because its flags lie in memory; the C library then uses ``clone``. Nor is
``openat2``, for the same reason.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from .bpf import ALL_BITS


class Check(NamedTuple):
    """``(argument & mask) == value``, on its low 32 bits; the high ones must be 0 if ``wide``."""

    argument: int
    mask: int
    value: int
    wide: bool = False
    negated: bool = False


class Rule(NamedTuple):
    """Allowed where all checks of any way hold; otherwise the error ``refusal``."""

    ways: tuple[tuple[Check, ...], ...]
    refusal: int


def _is(argument: int, value: int) -> Check:
    return Check(argument, ALL_BITS, value)


def _null(argument: int) -> Check:
    return Check(argument, ALL_BITS, 0, wide=True)


def _without(argument: int, bits: int) -> Check:
    return Check(argument, bits, 0)


def _not_all(argument: int, bits: int) -> Check:
    return Check(argument, bits, bits, negated=True)


def _one_of(argument: int, *values: int) -> tuple[tuple[Check, ...], ...]:
    return tuple((_is(argument, value),) for value in values)


def _only(*checks: Check, refusal: int = errno.EPERM) -> Rule:
    return Rule((checks,), refusal)


# fmt: off
FREE = frozenset((
    # What is open already: documents, the socket to the host, pipes. None of it is a path.
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2",
    "pwritev2", "lseek", "close", "close_range", "dup", "dup2", "dup3", "fadvise64", "getdents64",
    # Asking about paths, which tells that they exist and their sizes.
    "stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat",
    "faccessat2", "getcwd", "chdir", "fchdir", "umask",
    # Waiting.
    "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait",
    "epoll_pwait", "epoll_pwait2", "eventfd2", "pipe", "pipe2", "pause", "alarm", "setitimer",
    "getitimer", "restart_syscall", "clock_nanosleep", "nanosleep", "sched_yield",
    # Its own ends of what is connected already.
    "getsockopt", "getsockname", "getpeername", "shutdown",
    # Threads and memory.
    "futex", "futex_waitv", "set_robust_list", "rseq", "set_tid_address", "membarrier", "exit",
    "exit_group", "brk", "munmap", "mremap", "madvise", "msync",
    # Handlers of its own signals.
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigsuspend",
    "rt_sigpending", "sigaltstack",
    # What time it is, who it is, chance.
    "clock_gettime", "clock_getres", "gettimeofday", "time", "times", "getrandom", "uname",
    "sysinfo", "getrusage", "getrlimit", "getcpu", "getpid", "gettid", "getppid", "getuid",
    "geteuid", "getgid", "getegid", "getgroups", "getresuid", "getresgid", "getpgrp",
    "sched_get_priority_max", "sched_get_priority_min",
))

REFUSED: dict[str, int] = dict.fromkeys((
    # Files: written, made, named, owned.
    "creat", "truncate", "ftruncate", "fallocate", "rename", "renameat", "renameat2", "unlink",
    "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "symlink", "symlinkat", "mknod",
    "mknodat", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat",
    "utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr",
    "removexattr", "lremovexattr", "fremovexattr", "flock",
    # What a link says is somebody's data.
    "readlink", "readlinkat",
), errno.EACCES) | dict.fromkeys((
    # The network, other processes, other rights than it has. Descriptors that sendmsg has put into
    # a socket are counted by user: in a pair of its own, a worker could use up those of all runs.
    "sendmsg", "socket", "connect", "bind", "listen", "accept", "accept4", "setsockopt", "fork",
    "vfork", "execve", "execveat", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "ptrace",
    "process_vm_readv", "process_vm_writev", "setrlimit", "setpriority", "setuid", "setgid",
    "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setsid", "setpgid", "chroot",
    "mount", "umount2", "unshare", "setns", "seccomp",
), errno.EPERM)
# fmt: on

# asm-generic's values, which both architectures share.
_ACCESS_MODE, _CREATE, _TRUNCATE, _PATH_ONLY, _UNNAMED = 3, 0o100, 0o1000, 0o10000000, 0o20000000
_ASYNC = 0o20000
_WRITE, _EXECUTE = 2, 4
_SHARED, _PRIVATE, _SHARING, _ANONYMOUS, _GROWS_DOWN = 1, 2, 3, 0x20, 0x100
_AF_UNIX, _SOCK_STREAM, _SOCK_FLAGS = 1, 1, 0o2004000
_OUT_OF_BAND = 1
_THREAD = 0x10F00
"""CLONE_VM, _FS, _FILES, _SIGHAND and _THREAD: what makes a thread and not a process."""
_THREAD_MORE = 0x7D0F00
"""What C libraries add: SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID, DETACHED."""
_FCNTL = (0, 1, 2, 3, 1030, 1032)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ: no owner, signal or lock."""
_F_SETFL = 4
_IOCTL = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TCGETS2, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: no owner, no device."""
_PRCTL = (15, 16, 3, 39, 21, 0x53564D41)
"""PR_SET_NAME, PR_GET_NAME, _DUMPABLE, _NO_NEW_PRIVS, _SECCOMP, PR_SET_VMA (malloc's names)."""


def bounded(pid: int, *, opens: bool) -> dict[str, Rule]:
    """The calls whose arguments decide, for the process ``pid``; without ``opens``, no file."""
    itself = _one_of(0, 0, pid)
    reads = _without(0, _ACCESS_MODE | _CREATE | _TRUNCATE | _PATH_ONLY | _UNNAMED)
    private = (_is_kind(_PRIVATE), _without(3, _GROWS_DOWN), _not_all(2, _WRITE | _EXECUTE))
    # Writable shared memory would not count under RLIMIT_DATA, nor would a second stack.
    shared = (_without(2, _WRITE), _without(3, _GROWS_DOWN | _ANONYMOUS))
    rules = {
        "open": _only(reads._replace(argument=1), refusal=errno.EACCES),
        "openat": _only(reads._replace(argument=2), refusal=errno.EACCES),
        "mmap": Rule((private, shared), errno.EACCES),
        "mprotect": _only(_not_all(2, _WRITE | _EXECUTE), refusal=errno.EACCES),
        "clone": _only(
            Check(0, _THREAD, _THREAD), _without(0, ALL_BITS & ~_THREAD_MORE), refusal=errno.EPERM
        ),
        # Only streams: from one end of a datagram pair, any socket can be written to.
        "socketpair": _only(
            _is(0, _AF_UNIX), Check(1, ALL_BITS & ~_SOCK_FLAGS, _SOCK_STREAM), _is(2, 0)
        ),
        "sendto": _only(_null(4), _without(3, _OUT_OF_BAND)),
        "recvfrom": _only(_without(3, _OUT_OF_BAND)),
        "recvmsg": _only(_without(2, _OUT_OF_BAND)),
        "kill": _only(_is(0, pid)),
        "tgkill": _only(_is(0, pid)),
        "fcntl": Rule((*_one_of(1, *_FCNTL), (_is(1, _F_SETFL), _without(2, _ASYNC))), errno.EPERM),
        "ioctl": Rule(_one_of(1, *_IOCTL), errno.EPERM),
        "prctl": Rule(_one_of(0, *_PRCTL), errno.EPERM),
        # Asked, not set: whoever may raise limits (root) could lift its own.
        "prlimit64": Rule(tuple((*way, _null(2)) for way in itself), errno.EPERM),
        "getpriority": _only(_is(0, 0), _is(1, 0)),
    }
    # fmt: off
    for name in (
        "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_getscheduler",
        "getpgid", "getsid",
    ):
        rules[name] = Rule(itself, errno.EPERM)
    # fmt: on
    if not opens:
        refused = Rule((), errno.EACCES)
        rules |= dict.fromkeys(("open", "openat", "chdir"), refused)
    return rules


def _is_kind(kind: int) -> Check:
    return Check(3, _SHARING, kind)
