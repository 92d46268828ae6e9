"""Runs in a folder that --runs names: the command that is printed gives the same run again."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from abyme import RLM, ConfigError
from abyme.events import CallEnded, Event, NodeEnded, NodeStarted, RunResumed, Terms, cell_of
from abyme.journal.format import SEAL
from abyme.journal.reader import read
from abyme.journal.seal import is_sealed
from support.command import abyme
from support.runs import cell, of_kind
from support.stub import Reply, Stub, StubRequest

CHILDREN = 5
ROOT = (
    cell(
        f"r = rlm_query_batched([f'CHILD {{i}}' for i in range({CHILDREN})], "
        f"[context[i * 6000:i * 6000 + 6000] for i in range({CHILDREN})])\nprint(list(r))"
    ),
    cell("FINAL(', '.join(r))"),
)
ANSWER = ", ".join(f"CHILD {i} has 0 1 2 3" for i in range(CHILDREN))
CHILD_OF = re.compile(r"Question:\n(CHILD \d)")


def script(request: StubRequest) -> Any:
    """Root and children by how far their conversation is; leaves by what they are asked."""
    if request.messages[0]["role"] != "system":
        return Reply(request.prompt[-1], latency=0.1)
    turn = sum(message["role"] == "assistant" for message in request.messages)
    if found := CHILD_OF.search(request.messages[1]["content"]):
        asks = f"x = llm_query_batched([f'{found[1]}: {{i}}' for i in range(4)])\nprint(x)"
        return Reply(cell((asks, f"FINAL('{found[1]} has ' + ' '.join(x))")[turn]))
    return Reply(ROOT[turn])


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub(script) as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("".join(f"{i}: a kettle\n" for i in range(4000)))
    return path


def begin(stub: Stub, data: Path, where: Path, runs: Path, *more: str) -> subprocess.Popen[str]:
    words = ["ask", "what?", str(data), "--model", "m", "--base-url", stub.url, "--max-depth", "2"]
    words += ["--price", "1,4", "--max-width", "3", "--runs", str(where), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "abyme", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ABYME_RUNS": str(runs)},
    )


def stopped(process: subprocess.Popen[str], stub: Stub, after: int, how: int) -> str:
    """Send the signal once so many requests were made; what stands on stderr."""
    until = time.monotonic() + 60
    while len(stub.requests) < after and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(how)
    return process.communicate(timeout=60)[1]


def events_in(where: Path) -> list[Event]:
    (folder,) = where.glob("2*")
    return [record.event for record in read(folder)]


def terms_of(events: list[Event]) -> Terms:
    return of_kind(events, RunResumed)[-1].terms


def answered(events: list[Event]) -> set[str]:
    return {e.key for e in of_kind(events, CallEnded) if cell_of(e.key) and not e.error}


@pytest.mark.slow
@pytest.mark.parametrize("after", [9, 20])
def test_a_tree_that_was_killed_goes_on_as_it_was(
    stub: Stub, data: Path, tmp_path: Path, runs: Path, after: int
) -> None:
    where = tmp_path / "elsewhere"
    stopped(begin(stub, data, where, runs), stub, after, signal.SIGKILL)
    before = events_in(where)
    done_before, asked_before = answered(before), len(stub.requests)
    assert any(e.depth for e in of_kind(before, NodeStarted))
    done = abyme("resume", "--runs", where, runs=runs)
    assert (done.returncode, done.stdout) == (0, f"{ANSWER}\n"), done.stderr
    assert "depth 2" in done.stderr and "may spend: $5," in done.stderr
    events = events_in(where)
    assert terms_of(events).limits["max_depth"] == 2
    assert terms_of(events).prices == {"openai:m": (1.0, 4.0)}
    children = [e.node for e in of_kind(events, NodeStarted) if e.depth]
    assert len(children) == len(set(children)) == CHILDREN
    assert [e.status for e in of_kind(events, NodeEnded)] == ["complete"] * CHILDREN
    ended = Counter(e.key for e in of_kind(events, CallEnded) if not e.error)
    assert set(ended.values()) == {1} and done_before < set(ended)
    in_flight = len(of_kind(events, RunResumed)[0].in_flight)
    assert len(stub.requests) <= 1 + 1 + CHILDREN * 6 + in_flight
    assert len(stub.requests) > asked_before


@pytest.mark.slow
@pytest.mark.parametrize("with_key", [True, False])
def test_the_printed_command_gives_the_same_run(
    stub: Stub, data: Path, tmp_path: Path, runs: Path, monkeypatch: Any, with_key: bool
) -> None:
    """With a seal, and where none can be made."""
    if not with_key:
        monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    where = tmp_path / "else where"
    process = begin(stub, data, where, runs, "--child-turns", "7", "--max-calls", "2000")
    said = stopped(process, stub, 12, signal.SIGINT)
    command = said.splitlines()[-1].removeprefix("to go on: abyme ")
    run = next(where.glob("2*")).name
    flags = ["--price", "1,4", "--max-calls", "2000", "--max-depth", "2", "--max-width", "3",
             "--child-turns", "7"]  # fmt: skip
    assert shlex.split(command) == [
        "resume",
        run,
        "--runs",
        str(where),
        *flags[: 99 * (not with_key)],
    ]
    done = abyme(*shlex.split(command), runs=runs)
    assert (done.returncode, done.stdout) == (0, f"{ANSWER}\n"), done.stderr
    limits = terms_of(events_in(where)).limits
    assert (limits["max_depth"], limits["max_calls"]) == (2, 2000)
    assert [child["max_turns"] for child in limits["children"]] == [7]
    assert terms_of(events_in(where)).prices == {"openai:m": (1.0, 4.0)}


@pytest.mark.slow
def test_a_strangers_tree_is_not_turned_into_another(
    stub: Stub, data: Path, tmp_path: Path, runs: Path
) -> None:
    """It is refused with the whole command; a depth that is asked for leaves children, as told."""
    where = tmp_path / "theirs"
    stopped(begin(stub, data, where, runs), stub, 14, signal.SIGKILL)
    (folder,) = where.glob("2*")
    (folder / SEAL).unlink()
    asked, size = len(stub.requests), (folder / "journal.jsonl").stat().st_size
    done = abyme("resume", "--base-url", stub.url, "--runs", where, runs=runs)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "this run is not known to be yours: its depth of 2 does not count" in done.stderr
    assert "its prices do not count, so $5 would not bind" in done.stderr
    command = f"abyme resume {folder.name} --base-url {stub.url} --runs {where} --max-depth 2"
    assert f"{command} --price 1,4 goes on as it was" in done.stderr
    assert len(stub.requests) == asked and (folder / "journal.jsonl").stat().st_size == size
    plain = abyme("resume", "--runs", where, "--max-depth", "1", "--price", "1,4", runs=runs)
    assert plain.returncode == 0, plain.stderr
    events = events_in(where)
    over = {e.node for e in of_kind(events, NodeEnded)}
    left = [e.node for e in of_kind(events, NodeStarted) if e.depth and e.node not in over]
    assert left
    shown = abyme("show", folder.name, "--node", left[0], "--runs", where, runs=runs).stdout
    assert "killed, no process" not in shown
    assert "The run went on without this child, and has ended" in shown
    tree = abyme("show", folder.name, "--runs", where, runs=runs).stdout
    assert f"{left[0]} left ·" in tree and "never ended" not in tree


@pytest.mark.slow
def test_the_command_for_a_strangers_tree(
    stub: Stub, data: Path, tmp_path: Path, runs: Path
) -> None:
    where = tmp_path / "theirs"
    stopped(begin(stub, data, where, runs), stub, 14, signal.SIGKILL)
    (folder,) = where.glob("2*")
    (folder / SEAL).unlink()
    refused = abyme("resume", "--runs", where, runs=runs)
    found = re.search(r"abyme (resume .*) goes on as it was", refused.stderr)
    assert found, refused.stderr
    done = abyme(*shlex.split(found[1]), runs=runs)
    assert (done.returncode, done.stdout) == (0, f"{ANSWER}\n"), done.stderr
    assert "its journal has it read" in done.stderr
    assert is_sealed(folder, list(read(folder))), "it went on on this user's own terms"


def test_a_sealed_address_is_asked_again_without_a_key(
    stub: Stub, data: Path, tmp_path: Path, runs: Path
) -> None:
    """One that is not configured, and not written as those of this machine are."""
    where, url = tmp_path / "elsewhere", stub.url.replace("127.0.0.1", "LOCALHOST")
    words = ["--model", "m", "--base-url", url, "--runs", str(where), "--max-turns", "1"]
    key = {"OPENAI_API_KEY": "mine"}
    first = abyme("ask", "q?", data, *words, runs=runs, **key)
    hint = first.stderr.splitlines()[-1]
    assert hint.startswith("to go on: abyme resume") and f"--base-url {url}" in hint, first.stderr
    asked = len(stub.requests)
    done = abyme("resume", "--max-turns", "9", "--runs", where, runs=runs, **key)
    assert f"no key goes to {url}, which the run's journal names" in done.stderr
    assert done.returncode == 0, done.stderr
    assert len(stub.requests) > asked
    assert not any("authorization" in request.headers for request in stub.requests[asked:])
    (folder,) = where.glob("2*")
    fork = ("fork", folder.name, "--turn", "1", "--runs", where)
    assert abyme(*fork, runs=runs, **key).returncode == 3, "that turn's terms are one turn"
    (folder / SEAL).unlink()
    done = abyme(*fork, runs=runs, **key)
    assert done.returncode == 2 and "which only its journal names" in done.stderr
    with pytest.raises(ConfigError, match="which only its journal names"):
        RLM.of_run(folder.name, runs=where)
    (other,) = set(where.glob("2*")) - {folder}
    assert RLM.of_run(other.name, runs=where)._base_url == url
