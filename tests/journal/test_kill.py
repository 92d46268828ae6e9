"""kill -9 at each event of a run: the journal is whole up to that event and no process is left."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from abyme.events import PASSING, Event, WorkerStarted
from abyme.journal.reader import read
from support.runs import cell, scripted_rlm

REPLIES = (
    cell("r = llm_query_batched(['a', 'b'])\nn = note(1)\nimport time; time.sleep(0.02)"),
    cell("print(r[0])\nFINAL('held')"),
    cell("FINAL(r[1], quotes=['text'])"),
)


def root(request: Any) -> str:
    turn = sum(message.role == "assistant" for message in request.messages)
    return REPLIES[turn]


def note(x: int) -> int:
    """Add one."""
    return x + 1


def run_killed_at(runs: Path, number: int) -> int:
    """Fork a process that does the run and kills itself at its event ``number``; how it ended.

    The engine is started in the child, so no thread is forked.
    """
    pid = os.fork()
    if pid == 0:
        seen = 0

        def listener(event: Event) -> None:
            nonlocal seen
            if isinstance(event, PASSING):
                return
            if seen == number:
                children = Path("/proc/self/task").glob("*/children")
                (runs / "children").write_text(" ".join(path.read_text() for path in children))
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

        try:
            rlm = scripted_rlm(runs, root, sub=lambda request: "sub", tools=[note])
            rlm.start("q", "some text", listener).future.result()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def gone(pid: int) -> bool:
    """Whether a process is no longer there, or is a zombie that nobody has reaped yet."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.005)
    return False


def test_kill_at_every_event(tmp_path: Path) -> None:
    number, ended = 0, -signal.SIGKILL
    kinds: set[str] = set()
    workers: list[int] = []
    while ended == -signal.SIGKILL:
        runs = tmp_path / str(number)
        ended = run_killed_at(runs, number)
        (folder,) = runs.glob("2*")
        children = runs / "children"
        for child in children.read_text().split() if children.exists() else ():
            assert gone(int(child)), "a worker outlived its host"
        events = [record.event for record in read(folder)]
        kinds |= {type(event).__name__ for event in events}
        if ended == -signal.SIGKILL:
            assert len(events) > number, "an event is journalled before anybody is told"
        workers += [event.pid for event in events if isinstance(event, WorkerStarted)]
        number += 1
    assert ended == 0 and number > 25
    assert len(workers) > 15 and all(map(gone, workers))
    assert {"CallEnded", "HostAnswered", "FinishHeld", "CellEnded", "RunEnded"} <= kinds
