"""Mapped documents: the same bytes, and little resident memory however much is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from abyme.inside import mapped
from abyme.inside.mapped import Mapped


def test_it_reads_and_finds_as_bytes_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "_KEPT", 10)
    content = b"abcabcab-needle-" * 20 + b"the end"
    path = tmp_path / "file"
    path.write_bytes(content)
    descriptor = os.open(path, os.O_RDONLY)
    data = Mapped.of(descriptor, len(content))
    os.close(descriptor)
    assert (data[3], data[5:40], data[:], data[::3]) == (
        content[3],
        content[5:40],
        content,
        content[::3],
    )
    for needle in (b"needle", b"abc", b"nowhere", b"the end", b"a", content, b""):
        for start, end in ((0, None), (7, 200), (40, 45), (300, 320)):
            assert data.find(needle, start, end) == content.find(needle, start, end)
            assert data.rfind(needle, start, end) == content.rfind(needle, start, end)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc")
def test_resident_memory_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "file"
    line = b"0123456789 some text in a line that is long enough to be one\n"
    with path.open("wb") as file:
        for _ in range(300):
            file.write(line * (1_000_000 // len(line)))
    code = (
        "import os, resource, sys\n"
        "from abyme.inside.mapped import Mapped; from abyme.inside.text import LazyText\n"
        "d = os.open(sys.argv[1], os.O_RDONLY)\n"
        "text = LazyText(Mapped.of(d, os.fstat(d).st_size))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert text.find('nowhere') == text.rfind('nowhere') == -1\n"
        "assert text.count('nowhere') == 0 and sum(1 for _ in text) > 1_000_000 and len(text)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=True, stdout=subprocess.PIPE)
    path.unlink()
    assert int(done.stdout) < 120_000  # KiB; all of the file would be 300,000
