"""Loading as a part of a run: it can be ended, shows that it moves, and takes its options."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from abyme import Limits
from abyme.cli.ask.live import LiveTree
from abyme.context.load import load
from abyme.errors import DataChanged
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


class Pipeline:
    """``sender | abyme ask …`` as a terminal has it: one group of processes, one Ctrl-C for all."""

    def __init__(self, sender: list[str], runs: Path, *words: str) -> None:
        self.sender = subprocess.Popen(sender, stdout=subprocess.PIPE, process_group=0)
        self.asked = subprocess.Popen(
            [sys.executable, "-m", "abyme", "ask", "hello", "--model", "reader", *words],
            stdin=self.sender.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=self.sender.pid,
            env={**os.environ, "ABYME_RUNS": str(runs)},
        )
        assert self.sender.stdout is not None
        self.sender.stdout.close()

    def press_ctrl_c(self) -> tuple[int, str]:
        os.killpg(self.sender.pid, signal.SIGINT)
        _, err = self.asked.communicate(timeout=60)
        return self.asked.returncode, err

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.sender.pid, signal.SIGKILL)
        self.asked.communicate(timeout=60)
        self.sender.wait(timeout=60)


@pytest.mark.parametrize(
    ("sender", "words"), [(["sleep", "100"], ()), (["yes", "hello"], ()), (["yes"], ("-q",))]
)
def test_ctrl_c_that_ends_the_sender_too_is_an_interruption(
    runs: Path, sender: list[str], words: tuple[str, ...]
) -> None:
    with Pipeline(sender, runs, *words) as pipeline:
        deadline = time.monotonic() + 60
        while not list(runs.glob("*/data/*")):
            assert pipeline.asked.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)  # for the signals' handlers
        code, err = pipeline.press_ctrl_c()
    assert code == 130
    assert "failed: interrupted" in err and "empty" not in err
    assert not list(runs.glob("*/data")), "what was piped in is of no use any more"


def test_what_was_piped_in_before_an_interruption_is_not_kept(runs: Path) -> None:
    reader, writer = os.pipe()
    moving = threading.Event()

    def listen(event: Event) -> None:
        if isinstance(event, DataLoading):
            moving.set()

    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb"):
        handle = scripted_rlm(runs, []).start("what?", ["a text", stream], listen)
        assert moving.wait(60)
        assert list(runs.glob("*/data/*"))
        handle.interrupt()
        assert handle.future.result(timeout=60).reason == "interrupted"
    assert not list(runs.glob("*/data"))


def test_bytes_are_shown_before_the_first_document_is_whole() -> None:
    for width in (80, 40):
        drawn = io.StringIO()
        tree = LiveTree(Console(file=drawn, force_terminal=True, width=width))
        tree.take(DataLoading(0, 781_000_000))
        tree.tick()
        tree.close()
        assert "loading: 781.0 MB so far" in drawn.getvalue()


def test_a_log_that_grows_while_it_is_read_is_to_be_piped_in(runs: Path, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("one\n")
    document = load(log, folder=tmp_path / "run" / "data").documents[0]
    with log.open("a") as file:
        file.write("two\n")
    with pytest.raises(DataChanged, match=r"tail -n 1000000 app\.log \| abyme ask …"):
        document.open()
    with pytest.raises(DataChanged, match="a file that grows"):
        document.check()
    log.write_text("")
    with pytest.raises(DataChanged, match=r"run it again$"):
        document.check()
