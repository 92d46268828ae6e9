"""What attacks on the sandbox found, each as it was found."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from abyme.context.load import load
from abyme.errors import DataChanged, SandboxError
from abyme.events import Checkpointed
from abyme.journal.reader import read
from abyme.sandbox.process import ProcessSandbox
from abyme.sandbox.shared_text import SHARED_FROM
from support.repl import TestHost, opened
from support.runs import ask, cell, events_of, of_kind

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")


def test_a_checkpoint_that_is_a_text_of_the_journal_takes_none_away(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints are dropped; one with the content of a cell's code must not drop that."""
    monkeypatch.setattr("abyme.checkpoints.DUE_SECONDS", 0.0)
    forging = (
        "import gc, linecache\n"
        "own = ''.join(linecache.getlines('<cell 1>'))[:-1].encode()\n"
        "saving = next(o for o in gc.get_objects() if type(o).__name__ == 'Saving')\n"
        "def forged(*given): saving._data = bytearray(own)\n"
        f"saving._dump = forged  # {'long ' * 600}"
    )

    def patient(request: Any) -> str:
        time.sleep(1.0)
        return cell("FINAL('done')")

    answer = ask(runs, [cell(forging), patient])
    events = events_of(runs, answer)
    assert answer.status == "complete"
    taken = of_kind(events, Checkpointed)
    assert taken, "the forged one was taken"
    assert len(list(read(runs / answer.run))) == len(events), "and the journal is whole"


def test_a_text_that_changes_after_it_was_built_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a" * (SHARED_FROM + 1))

    async def work() -> None:
        async with opened(load(path, folder=tmp_path / "data")) as repl:
            assert (await repl.run(1, "len(context)", 30)).ok
            path.write_bytes(b"b" * (SHARED_FROM + 2))
            with pytest.raises(DataChanged):
                await repl.run(2, "context.count('b')", 30)

    asyncio.run(asyncio.wait_for(work(), 60))


def test_a_worker_that_grows_between_cells_is_the_one_that_goes(tmp_path: Path) -> None:
    growing = (
        "import threading, time\n"
        "def grow():\n"
        "    global held\n"
        "    time.sleep(0.5)\n"
        "    held = bytearray(b'x') * 500_000_000\n"
        "threading.Thread(target=grow, daemon=True).start()"
    )

    async def work() -> None:
        data = load("text", folder=tmp_path)
        box = ProcessSandbox(tree_bytes=300_000_000)
        async with (
            box.workers() as workers,
            workers.open(data, TestHost(), ()) as idle,
            workers.open(data, TestHost(), ()) as honest,
        ):
            assert (await idle.run(1, growing, 30)).ok
            result = await honest.run(1, "import time; time.sleep(4); 'fine'", 30)
            assert result.output == "'fine'\n" and not idle.alive

    asyncio.run(asyncio.wait_for(work(), 60))


def test_names_that_fit_no_frame_are_an_error_that_says_so(tmp_path: Path) -> None:
    names = {f"{'x' * 4000}{number}": "t" for number in range(18_000)}

    async def work() -> None:
        data = await asyncio.to_thread(load, names, folder=tmp_path)
        with pytest.raises(SandboxError, match="too many documents, or their names"):
            async with opened(data):
                pass

    before = _descriptors()
    asyncio.run(asyncio.wait_for(work(), 100))
    assert _descriptors() == before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
