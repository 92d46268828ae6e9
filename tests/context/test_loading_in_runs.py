"""Loading as a part of a run: it can be ended, shows that it moves, and takes its options."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from abyme import Limits
from abyme.events import DataLoaded, DataLoading, Event, RunStarted
from support.runs import cell, scripted_rlm


def test_a_pipe_that_sends_nothing_does_not_keep_a_run(runs: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"begun")
    seen: list[Event] = []
    moving = threading.Event()

    def listen(event: Event) -> None:
        seen.append(event)
        if isinstance(event, DataLoading):
            moving.set()

    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb"):
        handle = scripted_rlm(runs, []).start("what?", stream, listen)
        assert moving.wait(60)
        began = time.monotonic()
        handle.interrupt()
        answer = handle.future.result(timeout=60)
        assert time.monotonic() - began < 10
    assert (answer.status, answer.reason) == ("failed", "interrupted")
    assert DataLoading(0, 5) in seen


def test_time_ends_the_wait_for_a_pipe(runs: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb"):
        rlm = scripted_rlm(runs, [], limits=Limits(max_seconds=0.5))
        answer = rlm.start("what?", stream).future.result(timeout=60)
    assert answer.status == "failed"
    assert answer.reason.startswith("max_seconds: 0 documents were loaded")


def test_what_is_piped_in_can_be_asked(runs: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(b"one\ntwo\n")
    with os.fdopen(reader, "rb") as stream:
        answer = scripted_rlm(runs, [cell("FINAL(context)")]).completion("what?", stream)
    assert answer.value == "one\ntwo\n"


def test_options_for_folders_reach_the_loader(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.txt", "a.log", ".env"):
        (folder / name).write_text("x")
    (folder / ".gitignore").write_text("*.log\n")

    def loaded(**options: Any) -> list[int]:
        seen: list[Event] = []
        rlm = scripted_rlm(runs, [cell("FINAL(1)")])
        rlm.start("what?", folder, seen.append, **options).future.result(timeout=60)
        assert isinstance(seen[0], RunStarted)
        return [event.documents for event in seen if isinstance(event, DataLoaded)]

    assert loaded() == [1]
    assert loaded(ignore_files=False) == [2]
    assert loaded(hidden=True) == [3]
    assert scripted_rlm(runs, []).preview("what?", folder, ignore_files=False).documents == 2
