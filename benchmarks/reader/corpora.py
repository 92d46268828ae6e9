"""The corpora of the reader's benchmark: Python's standard library and one Debian package."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path

PACKAGE = "git-doc"
HOW_TO_FETCH = (
    f"{PACKAGE} is not here: `python benchmarks/reader/run.py --fetch` gets it with apt-get "
    f"download (on Debian or a relative), or unpack the package and set ABYME_BENCH_CORPORA to "
    f"the folder above {PACKAGE}/"
)
_CACHE = Path(__file__).parent / "corpora"


def corpora() -> dict[str, list[Path]]:
    """The files of each corpus that is on this machine."""
    found = {"stdlib": _library(), PACKAGE: sorted((_folder() / PACKAGE).rglob("*.txt"))}
    return {name: files for name, files in found.items() if files}


def fetch() -> None:
    """Download the Debian package with apt-get and unpack it; nothing is installed."""
    target = _folder() / PACKAGE
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True, timeout=300)
        (archive,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg", "-x", archive, target], check=True, timeout=300)


def _folder() -> Path:
    return Path(os.environ.get("ABYME_BENCH_CORPORA") or _CACHE)


def _library() -> list[Path]:
    """What `abyme ask … LIB --exclude site-packages` reads of it: texts, no caches."""
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(
        path
        for path in root.rglob("*.py")
        if "site-packages" not in path.parts and path.stat().st_size
    )
