"""Runs that go on by the command: resumed, forked, asked on; and what is said where they cannot."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from abyme.cli.text import resumed_text
from abyme.events import RunResumed, Terms
from abyme.journal.format import SEAL
from abyme.journal.reader import read
from support.command import abyme, replies
from support.runs import cell, of_kind
from support.stub import Reply, Stub, StubRequest

TURNS = (
    cell("names = llm_query_batched([f'who is {i}?' for i in range(4)])\nprint(names)"),
    cell("n = len(names)\nprint(n)"),
    cell("FINAL(f'{n} names: ' + ', '.join(names))"),
)
FURTHER = (cell("FINAL(names[-1] + ' of ' + str(len(history)))"),)


def script(request: StubRequest) -> Any:
    """The root's turns by how far its conversation is; a sub-call gets its request's number."""
    if request.messages[0]["role"] == "system":
        said = sum(message["role"] == "assistant" for message in request.messages)
        turns = FURTHER if "And the last?" in json.dumps(request.messages) else TURNS
        return turns[said]
    return Reply(f"number {request.index}", latency=0.01)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub(script) as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("alpha\nbeta says 42\n")
    return path


def ask(stub: Stub, data: Path, runs: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return abyme(
        "ask", "who?", data, "--model", "openai:m", "--base-url", stub.url, *more, runs=runs
    )


def run_of(done: subprocess.CompletedProcess[str]) -> str:
    found = re.search(r"^run (\S+) · head [0-9a-f]{32}$", done.stderr, re.M)
    assert found, done.stderr
    return found[1]


def killed(stub: Stub, data: Path, runs: Path, when: Callable[[], bool]) -> str:
    """Kill ``abyme ask`` at a moment; the run that it leaves."""
    words = ["ask", "who?", str(data), "--model", "openai:m", "--base-url", stub.url]
    process = subprocess.Popen(
        [sys.executable, "-m", "abyme", *words, "--max-width", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "ABYME_RUNS": str(runs)},
    )
    until = time.monotonic() + 60
    while not when() and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    (folder,) = runs.glob("2*")
    return folder.name


def test_a_run_that_was_killed_in_a_batch_goes_on(stub: Stub, data: Path, runs: Path) -> None:
    run = killed(stub, data, runs, lambda: len(stub.requests) == 3)
    before = [request.prompt for request in stub.requests]
    done = abyme("resume", runs=runs)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == f"run {run} · openai:m"
    assert lines[2].startswith("data: 1 document, 19 bytes")
    assert any(
        re.match(r"goes on in turn 1: 1 turn · \d calls? · .* tokens", line) for line in lines
    )
    resumed = of_kind([record.event for record in read(runs / run)], RunResumed)[0]
    if resumed.in_flight:
        count = len(resumed.in_flight)
        assert any(f"perhaps billed twice: {count} call" in line for line in lines)
    assert done.stdout.startswith("4 names: number ")
    assert run_of(done) == run
    asked_again = [request.prompt for request in stub.requests[len(before) :]]
    assert "who is 0?" not in asked_again and asked_again[-1] not in before[:1]
    shown = abyme("show", run, runs=runs).stdout
    assert shown.count("resumed here") == 1
    answer = abyme("resume", run, runs=runs)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "this run is complete" in answer.stderr


def test_a_run_that_is_still_going_is_left_alone(stub: Stub, data: Path, runs: Path) -> None:
    run = run_of(ask(stub, data, runs, "--max-turns", "1"))
    with (runs / run / "journal.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for words in (["resume", run], ["ask", "--continue", run, "q?"]):
            done = abyme(*words, runs=runs)
            assert (done.returncode, done.stdout) == (2, "")
            assert f"run {run} is still going, here or in another process" in done.stderr
        assert "was left without its answer" in abyme("resume", runs=runs).stderr


def test_a_limit_is_raised_by_its_flag(stub: Stub, data: Path, runs: Path) -> None:
    done = ask(stub, data, runs, "--max-turns", "1")
    assert done.returncode == 3
    run = run_of(done)
    assert done.stderr.splitlines()[-1] == f"to go on: abyme resume {run} --max-turns 2"
    asked = len(stub.requests)
    same = abyme("resume", run, runs=runs)
    assert same.returncode == 2
    assert "max_turns ended this run and is no higher now: --max-turns 2 would" in same.stderr
    assert len(stub.requests) == asked
    more = abyme("resume", run, "--max-turns", "9", "--json", runs=runs)
    assert more.returncode == 0, more.stderr
    answer = json.loads(more.stdout)
    assert answer["text"].startswith("4 names") and answer["run"] == run
    assert re.fullmatch(r"[0-9a-f]{32}", answer["head"])
    assert "may spend: no limit of cost" in more.stderr and "9 turns" in more.stderr


def test_a_fork_goes_another_way(stub: Stub, data: Path, runs: Path) -> None:
    run = run_of(ask(stub, data, runs))
    asked = len(stub.requests)
    done = abyme("fork", run, "--turn", "2", runs=runs)
    assert done.returncode == 0, done.stderr
    assert f"goes on from run {run} after turn 2" in done.stderr
    assert len(stub.requests) == asked + 1 and run_of(done) != run
    other = abyme("fork", run, "--turn", "3", "--question", "And the last?", runs=runs)
    assert other.returncode == 0 and other.stdout.endswith(" of 1\n"), other.stderr
    wrong = abyme("fork", run, "--turn", "7", runs=runs)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "no turn 7" in wrong.stderr
    assert f"forked from {run} after turn 2" in abyme("show", run_of(done), runs=runs).stdout


def test_a_further_question(stub: Stub, data: Path, runs: Path) -> None:
    first = ask(stub, data, runs)
    run = run_of(first)
    done = abyme("ask", "--continue", run, "And the last?", runs=runs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" of 1\n") and run_of(done) == run
    assert "question 2: And the last?" in done.stderr
    assert "so far: 3 turns · 7 calls" in done.stderr
    shown = abyme("show", run, runs=runs).stdout
    assert shown.index("question 2") > shown.index("4 names")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--continue", "RUN", "q?", "DATA"], "2 arguments, and with --continue the data is that"),
        (["--continue", "RUN", "DATA"], "is a path: with --continue the data is that of the run"),
        (["--continue", "RUN"], "no question: abyme ask --continue RUN"),
        (["--continue", "2019", "q?"], "there is no run '2019'"),
        (["--continue", "RUN", "q?", "--hidden"], "--hidden is not for it"),
        (["--continue", "RUN", "q?", "--dry-run"], "--dry-run is not for it"),
        (["q?", "DATA", "--accept-changed"], "--accept-changed is for a run that goes on"),
    ],
)
def test_what_continue_takes(
    tmp_path: Path, runs: Path, data: Path, words: list[str], said: str
) -> None:
    model = replies(tmp_path, cell("FINAL(1)"))
    run = run_of(abyme("ask", "q?", data, "--model", model, runs=runs))
    named = {"RUN": run, "DATA": str(data)}
    done = abyme("ask", *(named.get(word, word) for word in words), runs=runs)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_what_cannot_go_on_is_said_in_one_line(
    tmp_path: Path, stub: Stub, data: Path, runs: Path
) -> None:
    none = abyme("resume", runs=runs)
    assert (none.returncode, "there are no runs" in none.stderr) == (2, True)
    redacted = run_of(ask(stub, data, runs, "--redact", "--max-turns", "1"))
    done = abyme("resume", redacted, runs=runs)
    assert done.returncode == 2 and "without its texts (--redact)" in done.stderr
    newest = abyme("resume", runs=runs)
    assert newest.returncode == 2 and "was left without its answer" in newest.stderr
    run = run_of(ask(stub, data, runs, "--max-turns", "1"))
    asked = len(stub.requests)
    data.write_text("something else entirely\n")
    changed = abyme("resume", run, "--max-turns", "9", runs=runs)
    assert changed.returncode == 2
    assert "notes.txt" in changed.stderr and "--accept-changed" in changed.stderr
    data.unlink()
    gone = abyme("resume", run, "--max-turns", "9", runs=runs)
    assert gone.returncode == 2 and "notes.txt" in gone.stderr
    assert len(stub.requests) == asked
    data.write_text("something else entirely\n")
    accepted = abyme("resume", run, "--max-turns", "9", "--accept-changed", runs=runs)
    assert accepted.returncode == 0, accepted.stderr
    assert "changed since, and accepted: notes.txt" in accepted.stderr


def test_a_key_and_data_go_only_where_the_user_said(
    tmp_path: Path, stub: Stub, data: Path, runs: Path
) -> None:
    run = run_of(ask(stub, data, runs, "--max-turns", "1"))
    asked = len(stub.requests)
    key = {"OPENAI_API_KEY": "mine"}
    done = abyme("resume", run, "--max-turns", "2", runs=runs, **key)
    assert f"no key goes to {stub.url}, which the run's journal names" in done.stderr
    assert not any("authorization" in request.headers for request in stub.requests[asked:])
    more = ("--max-turns", "9", "--base-url", stub.url)
    done = abyme("resume", run, *more, runs=runs, **key)
    assert done.returncode == 0, done.stderr
    assert stub.requests[-1].headers["authorization"] == "Bearer mine"
    theirs = tmp_path / "theirs" / run
    theirs.parent.mkdir()
    (runs / run).rename(theirs)
    (theirs / SEAL).unlink()
    journal = theirs / "journal.jsonl"
    first, _, _ = journal.read_text().partition("\n")
    journal.write_text(first.replace(stub.url, "http://192.0.2.1/v1") + "\n")
    done = abyme("fork", str(theirs), "--turn", "0", runs=runs, **key)
    assert done.returncode == 2


def test_limits_of_a_run_from_elsewhere_are_not_above_ones_own(
    tmp_path: Path, stub: Stub, data: Path, runs: Path
) -> None:
    run = run_of(ask(stub, data, runs, "--max-turns", "1", "--max-calls", "5000"))
    theirs = tmp_path / "theirs" / run
    theirs.parent.mkdir()
    (runs / run).rename(theirs)
    (theirs / SEAL).unlink()
    done = abyme("resume", str(theirs), "--max-turns", "9", runs=runs)
    assert done.returncode == 2 and "if you trust whoever made it" in done.stderr
    done = abyme("resume", run, "--max-turns", "9", "--runs", str(theirs.parent), runs=runs)
    assert "the journal's max_calls is above your own, which binds" in done.stderr
    assert "1,000 calls" in done.stderr
    assert f"its journal has it read {data}\n" in done.stderr


def test_a_price_of_a_run_from_elsewhere_does_not_count(
    tmp_path: Path, stub: Stub, data: Path, runs: Path
) -> None:
    run = run_of(ask(stub, data, runs, "--max-turns", "1", "--price", "0,0"))
    again = abyme("fork", run, "--turn", "0", "--max-turns", "1", runs=runs)
    assert "may spend: $5" in again.stderr
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (runs / run).rename(theirs / run)
    same = abyme("fork", run, "--turn", "0", "--runs", str(theirs), "--max-turns", "1", runs=runs)
    assert "may spend: $5" in same.stderr, "it is sealed"
    (theirs / run / SEAL).unlink()
    words = ("--runs", str(theirs), "--max-turns", "9")
    done = abyme("fork", run, "--turn", "0", *words, runs=runs)
    assert "no limit of cost (the price of openai:m is not known" in done.stderr
    done = abyme("resume", run, *words, runs=runs)
    assert done.returncode == 2 and "--price 0,0 goes on as it was" in done.stderr
    done = abyme("resume", run, *words, "--max-cost", "none", runs=runs)
    assert done.returncode == 0, done.stderr


def test_unconfined_code_has_to_be_asked_for_again(stub: Stub, data: Path, runs: Path) -> None:
    run = run_of(ask(stub, data, runs, "--max-turns", "1", "--unsafe-local"))
    done = abyme("resume", run, "--max-turns", "9", runs=runs)
    assert done.returncode == 2 and "--unsafe-local runs it so again" in done.stderr
    again = abyme("resume", run, "--max-turns", "9", "--unsafe-local", runs=runs)
    assert again.returncode == 0 and "code is not confined" in again.stderr


def test_a_model_that_no_journal_may_name(tmp_path: Path, data: Path, runs: Path) -> None:
    model = replies(tmp_path, cell("x = 1\nprint(x)"), cell("FINAL(x)"))
    first = abyme("ask", "q?", data, "--model", model, "--max-turns", "1", runs=runs)
    last = first.stderr.splitlines()[-1]
    assert last == f"to go on: abyme resume {run_of(first)} --max-turns 2 --model {model}"
    done = abyme("resume", "--max-turns", "2", runs=runs)
    assert done.returncode == 2 and "which only you can name: give --model" in done.stderr
    done = abyme("resume", "--max-turns", "2", "--model", model, "-q", runs=runs)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_the_reader_is_asked_on(tmp_path: Path, runs: Path) -> None:
    """Its questions are found behind what was asked before; nothing piped in is passed over."""
    log = tmp_path / "log.txt"
    log.write_text("an apple\na banana\nno fruit\n" * 40 + "the word is kettle\n")
    first = abyme("ask", "How many lines contain apple?", log, "--model", "reader", runs=runs)
    assert "40" in first.stdout, first.stderr
    run = run_of(first)
    again = abyme("ask", "--continue", run, "How many lines contain banana?", runs=runs)
    assert again.returncode == 0 and "40" in again.stdout and "banana" in again.stdout, again.stdout
    with log.open() as piped:
        done = abyme("ask", "--continue", run, "How many?", runs=runs, stdin=piped)
    assert done.returncode == 2 and "piped in is not for it" in done.stderr


@pytest.mark.parametrize(
    ("cost", "said"), [(0.0328, "$0.0328 at most"), (None, "their price is not known")]
)
def test_what_was_in_flight_is_told_with_what_it_may_cost(cost: float | None, said: str) -> None:
    terms = Terms(version="1", model="m", sub_model="m", base_url="", limits={})
    resumed = RunResumed(terms=terms, in_flight=("a", "b"), charged_cost=cost)
    assert resumed_text(resumed) == f"asked again, perhaps billed twice: 2 calls ({said})"


def test_models_of_children_are_the_runs_own(stub: Stub, data: Path, runs: Path) -> None:
    more = ("--max-turns", "1", "--max-depth", "2", "--child-model", "c", "--child-model", "d")
    first = ask(stub, data, runs, *more)
    assert "openai:m · children openai:c, then openai:d" in first.stderr
    assert "1 turn, depth 2" in first.stderr
    run = run_of(first)
    done = abyme("resume", run, "--max-turns", "9", runs=runs, ABYME_CHILD_MODEL="mine")
    assert done.returncode == 0 and "children openai:c, then openai:d" in done.stderr, done.stderr
    fork = abyme("fork", run, "--turn", "0", "--max-turns", "9", "--child-model", "e", runs=runs)
    assert fork.returncode == 0 and "children openai:e" in fork.stderr
    terms = [r.event.terms for r in read(runs / run) if isinstance(r.event, RunResumed)]
    assert [each.child_models for each in terms] == [("openai:c", "openai:d")]
    found = abyme("runs", "--model", "openai:d", "--json", runs=runs)
    assert run in [json.loads(line)["run"] for line in found.stdout.splitlines()]
    assert abyme("runs", "--model", "openai:x", "--json", runs=runs).stdout == ""
