"""Bubblewrap: namespaces of its own for each worker, made without root (``bwrap``).

In them are Python's standard library, the system's shared libraries and the worker's code, all for
reading, and nothing else: no home, no other process, no network. The data comes as descriptors
through the socket that is the worker's standard input.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import msgspec

from abyme.errors import SandboxError
from abyme.sandbox.recipes import Launch, Mount
from abyme.sandbox.travel import INSIDE
from abyme.sandbox.zygotes import importable_packages, worker_environment

_MOUNTED_INSIDE = "/abyme/inside"
_INSTALLED = ("site-packages", "dist-packages")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
# What of the whole system a process of root's may write to even without capabilities (it owns the
# files), or may read. The kernel's account of processes is all that is wanted.
_HIDDEN_FOLDERS = ("/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi")
_HIDDEN_FILES = (
    "/proc/sysrq-trigger", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/sched_debug", "/proc/mtrr", "/proc/kmsg", "/proc/cmdline",
)  # fmt: skip
_SMALL = (
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/locale",
)
_MISSING = "bwrap is not installed: apt install bubblewrap, or dnf install bubblewrap"


class Bubblewrap(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe; ``program`` is where ``bwrap`` is, if not in PATH."""

    program: str = "bwrap"

    @property
    def name(self) -> str:
        """``bubblewrap``."""
        return "bubblewrap"

    @property
    def boundary(self) -> str:
        """See :class:`~abyme.sandbox.recipes.Recipe`."""
        return "bubblewrap"

    @property
    def sent(self) -> bool:
        """See :class:`~abyme.sandbox.recipes.Recipe`."""
        return False

    @property
    def packages(self) -> dict[str, list[str]]:
        """See :class:`~abyme.sandbox.recipes.Recipe`."""
        return importable_packages()

    @property
    def environment(self) -> dict[str, str]:
        """See :class:`~abyme.sandbox.recipes.Recipe`: bwrap hands its own on, so this is all."""
        return worker_environment()

    def launch(self, mounts: Sequence[Mount]) -> Launch:
        """See :class:`~abyme.sandbox.recipes.Recipe`."""
        if (program := shutil.which(self.program)) is None:
            raise SandboxError(_MISSING)
        # fmt: off
        return Launch((
            program,
            "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
            *_no_more_namespaces(program),
            *_python(), *_packages(),
            "--ro-bind", str(INSIDE), _MOUNTED_INSIDE,
            *(part for mount in mounts for part in ("--ro-bind", mount.source, mount.target)),
            "--proc", "/proc", *_hidden_of_proc(),
            *(part for device in _DEVICES for part in ("--dev-bind-try", device, device)),
            "--remount-ro", "/", "--chdir", "/",
            "--", _executable(), "-s", "-P", "-S", f"{_MOUNTED_INSIDE}/start.py", "stdio",
        ))
        # fmt: on

    def advice(self, said: str) -> str:
        """See :class:`~abyme.sandbox.recipes.Recipe`."""
        if "namespace" in said or "uid map" in said or "Operation not permitted" in said:
            return (
                "user namespaces are switched off here: see the sysctls "
                "kernel.unprivileged_userns_clone, user.max_user_namespaces and "
                "kernel.apparmor_restrict_unprivileged_userns, and in a container its seccomp "
                "profile; the default sandbox (process) needs none"
            )
        return "try it by hand: bwrap --unshare-all --ro-bind / / true"


@cache
def _no_more_namespaces(program: str) -> tuple[str, ...]:
    """Code makes no user namespaces of its own, where bwrap knows how to forbid it (0.8)."""
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            env=worker_environment(),
        )
        major, minor = (int(part) for part in done.stdout.split()[-1].split(".")[:2])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return ()
    known = (major, minor) >= (0, 8) and not os.stat(program).st_mode & 0o4000
    return ("--unshare-user", "--disable-userns") if known else ()


@cache
def _hidden_of_proc() -> tuple[str, ...]:
    parts: list[str] = []
    for folder in _HIDDEN_FOLDERS:
        if Path(folder).is_dir():
            parts += ("--tmpfs", folder, "--remount-ro", folder)
    for file in _HIDDEN_FILES:
        if Path(file).exists():
            parts += ("--ro-bind", "/dev/null", file)
    return tuple(parts)


def _executable() -> str:
    """The real Python: what a virtual environment links to needs nothing of it."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@cache
def _python() -> tuple[str, ...]:
    """Arguments that show Python, its standard library and the system's libraries."""
    parts: list[str] = []
    for folder in ("/lib", "/lib64", "/usr/lib", "/usr/lib64"):
        if Path(folder).is_symlink():
            parts += ("--symlink", os.readlink(folder), folder)  # noqa: PTH115
            continue
        own = f"{folder}/{os.uname().machine}-linux-gnu"
        if not folder.endswith("64") and Path(own).is_dir():
            parts += ("--ro-bind", own, own)
            parts += _each(file for file in _libraries(folder) if file.startswith(f"{folder}/ld-"))
        else:
            parts += ("--ro-bind-try", folder, folder)
    if Path("/nix/store").is_dir():
        parts += ("--ro-bind", "/nix/store", "/nix/store")
    executable = _executable()
    parts += ("--ro-bind", executable, executable)
    parts += _each(_libraries(f"{sys.base_prefix}/lib"))
    for folder in dict.fromkeys(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")):
        # In a virtual environment platstdlib names a folder of that, which may not exist.
        if not folder.startswith(sys.base_prefix):
            continue
        parts += ("--ro-bind-try", folder, folder)
        for installed in _INSTALLED:
            if Path(folder, installed).is_dir():
                hidden = f"{folder}/{installed}"
                parts += ("--tmpfs", hidden, "--remount-ro", hidden)
    for path in _SMALL:
        parts += ("--ro-bind-try", path, path)
    return tuple(parts)


@cache
def _packages() -> tuple[str, ...]:
    """Arguments that show numpy and pandas, and what these need, where they are installed."""
    parts: list[str] = []
    for name, folders in importable_packages().items():
        for folder in folders:
            found = (f"{folder}/{name}", f"{folder}/{name}.libs", f"{folder}/{name}.py")
            parts += _each(path for path in found if Path(path).exists())
    return tuple(parts)


def _libraries(folder: str) -> list[str]:
    """Shared libraries that lie in a folder."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
    return [entry.path for entry in entries if ".so" in entry.name and entry.is_file()]


def _each(paths: Iterator[str] | Sequence[str]) -> list[str]:
    return [part for path in paths for part in ("--ro-bind", path, path)]
