"""macOS: the profile that holds a worker there, and putting it on. Not run on a Mac yet.

The language is that of ``sandbox-exec(1)``, which only calls ``sandbox_init`` and then starts a
program; here the worker calls it for itself, as it does all else. Both are deprecated, and all that
macOS has for a process that is no app. Everything is denied but what the profile names: files are
read that Landlock would let be read, the process may ask about paths and signal itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable, Iterable

from .landlock import READ, READ_FILE

_LIBRARY = "/usr/lib/libSystem.dylib"
_FOLDERS = (
    "/System/Library",
    "/System/Volumes/Preboot/Cryptexes",
    "/Library/Apple/System/Library",
    "/usr/lib",
    "/usr/share/locale",
    "/private/var/db/dyld",
    "/private/var/db/timezone",
)
_FIRST = """\
(version 1)
(deny default)
(allow file-read-metadata)
(allow sysctl-read)
(allow signal (target self))
"""


def profile(allowed: Iterable[tuple[str, int]]) -> str:
    """The profile that lets these paths be read (:func:`.readable.readable`), and the system's own.

    Raises ValueError for a path that cannot be written in it.
    """
    rules = [f"(allow file-read* (subpath {_quoted(path)}))" for path in _FOLDERS]
    for path, access in allowed:
        real = _quoted(os.path.realpath(path))
        if access == READ:
            rules.append(f"(allow file-read* (subpath {real}))")
        elif access == READ_FILE:
            rules.append(f"(allow file-read* (literal {real}))")
        else:
            rules.append(f"(allow file-read-data (literal {real}))")
    return _FIRST + "\n".join(rules) + "\n"


def confine(text: str, library: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> None:
    """Put a profile on this process, for good. Raises OSError where the system refuses."""
    init = library(_LIBRARY).sandbox_init
    said = ctypes.c_char_p()
    if init(text.encode(), ctypes.c_uint64(0), ctypes.byref(said)) != 0:
        raise OSError(errno.EPERM, (said.value or b"no reason given").decode("utf-8", "replace"))


def open_something() -> None:
    """A trial: what no profile of ours allows."""
    os.close(os.open("/", os.O_RDONLY))


def reach_out() -> None:
    """A trial: a connection to this machine itself, where nobody listens."""
    with socket.socket() as end:
        end.connect(("127.0.0.1", 9))


def start_something() -> None:
    """A trial: a process of its own, which ends at once."""
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _quoted(path: str) -> str:
    if not path.isprintable():
        raise ValueError(f"a path that a profile cannot name: {path!r}")
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
