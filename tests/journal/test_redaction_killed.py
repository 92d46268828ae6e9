"""kill -9 of a run without texts, at every moment: nothing of what it was given is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, Limits
from abyme.events import Checkpointed, DocumentLoaded, Event, WorkerRestored
from abyme.journal.reader import read
from support.command import replies
from support.runs import ask, cell, events_of, of_kind, scripted_rlm
from support.stub import Stub, StubRequest

SECRET = "Kettlewell"
LONG = f"the long data of {SECRET}\n" * 200_000
DATA: dict[str, str | bytes] = {
    "long": LONG,
    "short": f"short data of {SECRET}",
    "bytes": f"bytes of {SECRET}".encode(),
}
REPLIES = (
    cell(f"kept = '{SECRET}' * 9\nr = llm_query(context['short'])\nprint(len(context['long']), r)"),
    cell("import os; os._exit(1)"),
    cell("print(kept[:20], context['bytes'][:9])\nFINAL(r, quotes=[context['short']])"),
    cell("FINAL(kept)"),
)


def root(request: Any) -> str:
    return REPLIES[sum(message.role == "assistant" for message in request.messages)]


@pytest.fixture(autouse=True)
def checkpoints_are_always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abyme.checkpoints.DUE_SECONDS", 0.0)
    monkeypatch.setattr("abyme.checkpoints.AFTER_SECONDS", 0.0)


def found_in(folder: Path) -> list[str]:
    """The files below ``folder`` that hold the secret."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.name for path in files if SECRET.encode() in path.read_bytes())


def only_a_journal(runs: Path) -> bool:
    """Whether the one run there has nothing more; a file that has a name yet is empty."""
    (folder,) = runs.glob("2*")
    files = [path.name for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    return files == ["journal.jsonl"]


def killed_at(runs: Path, number: int, *, redact: bool) -> int:
    """Do a run in a process that kills itself at its event ``number``; how it ended."""
    pid = os.fork()
    if pid == 0:
        seen = 0

        def listener(event: Event) -> None:
            nonlocal seen
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

        try:
            rlm = scripted_rlm(runs, root, sub=lambda _: SECRET, redact=redact)
            rlm.start(f"what of {SECRET}?", DATA, listener).future.result()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.slow
def test_kill_at_every_event(tmp_path: Path) -> None:
    number, ended = 0, -signal.SIGKILL
    while ended == -signal.SIGKILL:
        ended = killed_at(tmp_path / f"{number}", number, redact=True)
        assert found_in(tmp_path / f"{number}") == []
        assert only_a_journal(tmp_path / f"{number}")
        number += 1
    assert number > 20


def test_what_is_looked_for_would_be_found(tmp_path: Path) -> None:
    assert killed_at(tmp_path, 9, redact=False) == -signal.SIGKILL
    assert {"journal.jsonl", "000001.txt", "000002.txt"} <= set(found_in(tmp_path))


@pytest.mark.parametrize("megabytes", [1, 3, 6])
@pytest.mark.parametrize("redact", [True, False])
def test_killed_while_it_is_piped_to(tmp_path: Path, redact: bool, megabytes: int) -> None:
    """Up to 1 MiB is in the pipe, and as much in hand; what is beyond that was written."""
    runs = tmp_path / "runs"
    words = ["ask", "what is it?", "-", "--model", replies(tmp_path, cell("FINAL(1)"))]
    process = subprocess.Popen(
        [sys.executable, "-m", "abyme", *words, *(["--redact"] if redact else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "ABYME_RUNS": str(runs)},
    )
    with process:
        assert process.stdin is not None
        for _ in range(megabytes + 2):
            process.stdin.write(f"{SECRET}\n".encode() * 100_000)
        process.stdin.flush()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(list(runs.glob("2*"))) == 1
    assert found_in(runs) == ([] if redact else ["000001.txt"])


def test_a_dead_worker_is_restored_without_a_checkpoint(runs: Path) -> None:
    answer = ask(runs, REPLIES, [SECRET], DATA, redact=True)
    assert (answer.status, answer.value) == ("complete", SECRET)
    assert answer.quotes[0].verified
    events = events_of(runs, answer)
    assert of_kind(events, Checkpointed) == []
    (restored,) = of_kind(events, WorkerRestored)
    assert (restored.cells, restored.saved) == ((1,), ())
    assert found_in(runs) == []


def test_a_session_has_its_data_until_it_is_closed(runs: Path) -> None:
    told = cell("FINAL(f\"{len(context['long'])} {context['short'][-10:]}\")")
    rlm = scripted_rlm(runs, [cell("import os; os._exit(1)"), told, told], redact=True)
    with rlm.session(DATA) as session:
        for question in ("first?", "second?"):
            assert session.ask(question).value == f"{len(LONG)} {SECRET}"
        assert found_in(runs) == []
        folder = runs / session.run
    assert sum(1 for _ in read(folder)) > 10
    assert only_a_journal(runs)


def test_children_have_it_in_parts_and_what_code_makes_for_them(runs: Path) -> None:
    hands = "[context['long'][-40_000:], made, made, context['short'], made * 100]"
    root = [
        cell(f"made = 'made of {SECRET} ' * 900\nr = rlm_query_batched('count', {hands})"),
        cell("FINAL(r)"),
    ]
    count = cell(f"FINAL(str(context.count('{SECRET}')))")

    def answer(request: StubRequest) -> str:
        turn = sum(message["role"] == "assistant" for message in request.messages)
        opened = request.messages[1]["content"]
        return root[turn] if "Question:\nroot" in opened else count

    seen: list[str] = []
    with Stub(answer) as stub:
        limits = Limits(max_depth=2, max_seconds=100)
        rlm = RLM("m", base_url=stub.url, api_key="k", runs=runs, limits=limits, redact=True)
        handle = rlm.start("root", DATA, lambda _: seen.extend(found_in(runs)))
        result = handle.future.result(100)
    assert result.value == [str(LONG[-40_000:].count(SECRET)), "900", "900", "1", "90000"]
    loaded = of_kind(events_of(runs, result), DocumentLoaded)
    assert [event.index for event in loaded] == [0, 1, 2, 3, 4, 5], "equal ones are one"
    assert seen == [] and found_in(runs) == [] and only_a_journal(runs)
