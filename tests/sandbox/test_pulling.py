"""What a hostile worker asks of the data, and sends beside it, over a stream."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from support.boxes import alone, box, needs_bubblewrap
from support.repl import run_cell

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")


FORGE = (
    "import gc\n"
    "kinds = ('Channel', 'PipeChannel')\n"
    "channel = next(o for o in gc.get_objects() if type(o).__name__ in kinds)\n"
)


@pytest.mark.parametrize(
    "frames",
    [
        [{"parts": [[0, 0, 11]]}],
        [{"parts": [[0, 11, 0]]}],
        [{"parts": [[1, 0, 1]]}],
        [{"parts": [[-1, 0, 1]]}],
        [{"parts": [[0, -5, 5]]}],
        [{"parts": [[0, 0, 1 << 60]]}],
        [{"parts": []}],
        [{"parts": [[0, 0, 1]] * 65}],
        [{"parts": [["0", 0, 1]]}],
        [{"parts": "everything"}],
        [{}],
        [{"id": "one", "parts": [[0, 0, 1]]}],
        [{"parts": [[0, 0, 10]]}] * 5000,
    ],
)
def test_pulls_that_no_worker_makes_end_it(frames: list[dict[str, Any]], tmp_path: Path) -> None:
    frames = [{"t": "pull", "id": 1 << 20, **frame} for frame in frames]
    code = f"{FORGE}for frame in {frames[:1]} * {len(frames)}: channel.send(frame)\n"
    result = run_cell(tmp_path, f"{code}import time; time.sleep(20)", sandbox=box("argv", tmp_path))
    assert result.ended == "died" and result.error is not None
    assert "broke the protocol" in result.error.message


def test_pulled_bytes_that_nobody_reads_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"x" * (4 << 20))
    frame = {"t": "pull", "id": 1 << 20, "parts": [[0, 0, 4 << 20]]}
    code = f"{FORGE}import signal, os\nfor _ in range(60): channel.send({frame})\nsum(iter(int, 1))"
    result = run_cell(tmp_path, code, context=path, sandbox=box("argv", tmp_path), seconds=1)
    assert result.ended == "died"


@needs_bubblewrap
def test_descriptors_are_not_taken_from_a_hostile_worker(tmp_path: Path) -> None:
    """Its own filter would not let it send one."""
    code = (
        f"{FORGE}import socket, os\n"
        'socket.send_fds(channel._socket, [b\'\\x00\\x00\\x00\\x0b{"t":"out"}\'], [0])\n'
        "import time; time.sleep(5)"
    )
    before = len(list(Path("/proc/self/fd").iterdir()))
    result = run_cell(tmp_path, code, sandbox=alone())
    assert result.ended == "died", result.error
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
