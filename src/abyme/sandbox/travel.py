"""The worker's code on its way to where nothing of Abyme is installed.

The command that leads there ends with a Python that is given :data:`BOOT` to run. It takes the rest
from standard input: two parcels, each a length of four bytes and that many, ``inside/unpack.py``
and the sources of all of ``inside/``.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

INSIDE = Path(__file__).parent.parent / "inside"

# What comes by the environment of the command is not for the code: the process starts again
# without it, which also clears what the kernel shows of it, and with a hash seed by which re-run
# cells repeat themselves.
BOOT = """\
import os, signal, sys
signal.pthread_sigmask(signal.SIG_SETMASK, [])
sys.path = [place for place in sys.path if place]
if sys.version_info < (3, 11):
    sys.exit("the worker needs Python 3.11 or newer, and this is %d.%d" % sys.version_info[:2])
if os.environ.get("ABYME_WORKER") != "1":
    clean = {"ABYME_WORKER": "1", "PATH": os.defpath, "LANG": "C.UTF-8"}
    clean.update(PYTHONHASHSEED="0", PYTHONUTF8="1")
    os.execve(sys.executable or "/proc/self/exe", sys.orig_argv, clean)
def take(size):
    taken = b""
    while len(taken) < size:
        part = os.read(0, size - len(taken))
        if not part:
            os._exit(0)
        taken += part
    return taken
scope = {"__name__": "abyme_unpack"}
exec(compile(take(int.from_bytes(take(4), "big")), "unpack.py", "exec"), scope)
scope["run"](take)
"""
PYTHON_FLAGS = ("-s", "-S")
"""No folder of the user's and nothing that is installed: the standard library alone."""


@cache
def parcels() -> bytes:
    """What :data:`BOOT` takes before the first frame."""
    sources = {}
    for path in sorted(INSIDE.rglob("*.py")):
        name = ".".join(path.relative_to(INSIDE).with_suffix("").parts)
        sources[name.removesuffix("__init__").removesuffix(".")] = path.read_text("utf-8")
    first = sources.pop("unpack").encode()
    second = json.dumps(sources).encode()
    return b"".join(len(part).to_bytes(4, "big") + part for part in (first, second))
