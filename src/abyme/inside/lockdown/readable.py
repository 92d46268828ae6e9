"""Which files a worker may read once it is held: the standard library and what that needs.

Nothing here holds anybody's data. Installed packages are left out, but for those that the host
names; a folder that holds more than it should is opened entry by entry.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from .landlock import LIST, READ, READ_FILE

_INSTALLED = frozenset(("site-packages", "dist-packages"))
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120

_FOLDERS = (
    "/usr/share/zoneinfo",
    "/usr/lib/zoneinfo",
    "/usr/share/lib/zoneinfo",
    "/etc/zoneinfo",
    "/usr/lib/locale",
    "/sys/devices/system/cpu",
)
_FILES = (
    "/etc/localtime",
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
    "/dev/null",
    "/dev/urandom",
    "/dev/random",
    "/proc/cpuinfo",
    "/proc/meminfo",
)
_LIBRARIES = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/nix/store")


def readable(packages: dict[str, list[str]]) -> Iterator[tuple[str, int]]:
    """Paths and the access to each; ``packages``: names of packages to the folders they lie in."""
    yield _HERE, READ
    for path in sys.path:
        yield from _standard(path)
    yield from _shared_libraries()
    yield from ((path, READ) for path in _FOLDERS)
    yield from ((path, READ_FILE) for path in _FILES)
    for name, folders in packages.items():
        for folder in folders:
            yield folder, LIST
            yield f"{folder}/{name}", READ
            yield f"{folder}/{name}.libs", READ
            yield f"{folder}/{name}.py", READ_FILE


def _standard(path: str) -> Iterator[tuple[str, int]]:
    """A folder of the standard library, or its archive, without what is installed in it."""
    try:
        entries = list(os.scandir(path))
    except NotADirectoryError:
        yield path, READ_FILE
        return
    except OSError:
        return
    if not any(entry.name in _INSTALLED for entry in entries):
        yield path, READ
        return
    yield path, LIST
    for entry in entries:
        if entry.name not in _INSTALLED:
            yield entry.path, READ if entry.is_dir() else READ_FILE


def _shared_libraries() -> Iterator[tuple[str, int]]:
    """Those of the system, by its folders, and those that came with this Python, one by one."""
    for folder in _LIBRARIES:
        yield from _of_system(folder)
    own = os.path.join(sys.base_prefix, "lib")  # noqa: PTH118
    if own not in _LIBRARIES:
        yield from _in_folder(own)


def _of_system(folder: str) -> Iterator[tuple[str, int]]:
    """``/lib`` holds far more than libraries; they lie in a folder named for the architecture."""
    if folder in ("/lib", "/usr/lib"):
        machine = os.uname().machine
        yield f"{folder}/{machine}-linux-gnu", READ
        yield from _in_folder(folder)
    else:
        yield folder, READ


def _in_folder(folder: str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if ".so" in entry.name and entry.is_file():
            yield entry.path, READ_FILE
