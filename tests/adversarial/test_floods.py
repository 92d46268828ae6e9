"""What floods of output cost the host: measured in a process of its own, against one quiet cell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FLOODS = {
    "200 MB printed": "for _ in range(200): print('x' * 1_000_000)",
    "a million short prints": "for n in range(1_000_000): print(n)",
    "a repr of 1 GB": "class R:\n    def __repr__(self): return 'x' * 1_000_000_000\nR()",
    "an exception of 200 MB": "raise ValueError('x' * 200_000_000)",
    "200 MB to descriptors 1 and 2": "import os\n"
    "for n in range(3200): os.write(1 + n % 2, b'x' * 65_536)",
    "200 MB of variables' names": "for n in range(200): globals()['x' * 1_000_000 + str(n)] = n",
    "200 MB printed by threads": "import threading\n"
    "def flood():\n    for _ in range(50): print('x' * 1_000_000)\n"
    "threads = [threading.Thread(target=flood) for _ in range(4)]\n"
    "for each in threads: each.start()\nfor each in threads: each.join()",
}
_HOST = """
import sys
from pathlib import Path
from support.repl import run_cells
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
folder, code = Path(sys.argv[1]), sys.argv[2]
run_cells(folder / "quiet", ["print('quiet')"])
before = peak()
flood, after = run_cells(folder / "loud", [code, "print('alive')"], seconds=60)
assert flood.ended in ("done", "raised"), flood.ended
assert after.output == "alive\\n", after
print(peak() - before)
"""
MOST = 20_000_000


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("code", FLOODS.values(), ids=FLOODS)
def test_a_flood_costs_the_host_less_than_20_mb(tmp_path: Path, code: str) -> None:
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", _HOST, str(tmp_path), code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tests,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < MOST
