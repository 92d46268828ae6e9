"""A seal shows that a journal is this user's own: no other's, no changed one has a good one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abyme import Limits
from abyme.context.load import load
from abyme.errors import DataError
from abyme.journal.format import FIRST_PREV, JOURNAL, SEAL, line_hash
from abyme.journal.reader import read
from abyme.journal.seal import is_sealed, put_seal
from support.runs import ask, cell, scripted_rlm, settled

Lines = list[dict[str, Any]]


def sealed(folder: Path) -> bool:
    return is_sealed(folder, list(read(folder)))


def rewritten(folder: Path, change: Callable[[Lines], object]) -> None:
    """Change the lines of a journal as somebody would who makes a right chain of them."""
    path = folder / JOURNAL
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    change(lines)
    previous, raw = FIRST_PREV, b""
    for number, line in enumerate(lines):
        line["seq"], line["prev"] = number, previous
        text = json.dumps(line, separators=(",", ":")).encode()
        previous, raw = line_hash(text), raw + text + b"\n"
    path.write_bytes(raw)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this user's key."""
    folder = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder / "abyme"


@pytest.fixture
def told(tmp_path: Path, runs: Path, state: Path) -> Path:
    """A run over a file."""
    data = tmp_path / "notes.txt"
    data.write_text("some text")
    answer = ask(runs, [cell("x = len(context)\nprint(x)"), cell("FINAL(x)")], context=data)
    settled()
    return runs / answer.run


def test_a_run_is_known_wherever_it_lies(told: Path, tmp_path: Path) -> None:
    assert sealed(told)
    assert [stat & 0o777 for stat in [(told / SEAL).stat().st_mode]] == [0o600]
    shutil.copytree(told, tmp_path / "elsewhere")
    assert sealed(tmp_path / "elsewhere")
    beginning = list(read(told))[:5]
    assert is_sealed(told, beginning) and not is_sealed(told, [])


def first(lines: Lines, event: str) -> dict[str, Any]:
    return next(line for line in lines if line["event"] == event)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[0].update(base_url="http://192.0.2.1/v1"),
        lambda lines: lines[0]["limits"].update(max_cost=None),
        lambda lines: lines[0].update(prices={"openai:m": [0, 0]}),
        lambda lines: first(lines, "DocumentLoaded").update(path="/home/you/.ssh/id_rsa"),
        lambda lines: lines.insert(2, {**first(lines, "DocumentLoaded"), "index": 1}),
        lambda lines: lines.append({**first(lines, "DocumentLoaded"), "path": "/etc/passwd"}),
        lambda lines: lines.append(
            {"at": 0, "event": "RunResumed", "terms": resumed_terms(lines[0])}
        ),
    ],
)
def test_a_changed_journal_is_nobodys(told: Path, change: Callable[[Lines], object]) -> None:
    rewritten(told, change)
    assert not sealed(told)


def resumed_terms(started: dict[str, Any]) -> dict[str, Any]:
    names = ("version", "model", "sub_model", "base_url", "limits")
    return {name: started[name] for name in names}


def test_what_decides_nothing_may_stand_behind_the_seal(told: Path) -> None:
    lines = (told / JOURNAL).read_bytes().splitlines()
    extra = {"seq": len(lines), "at": 1e9, "prev": line_hash(lines[-1]), "event": "TurnEnded"}
    with (told / JOURNAL).open("ab") as file:
        file.write(json.dumps({**extra, "node": "0", "turn": 9}).encode() + b"\n")
    assert sealed(told)


def test_another_users_seal_is_none(told: Path, state: Path) -> None:
    shutil.rmtree(state)
    assert not sealed(told)
    last = len((told / JOURNAL).read_bytes().splitlines()) - 1
    for seal in ("", "x", f"{last} {'0' * 64}\n", "99 \n" * 9, f"{last}\n", "-1 0\n"):
        (told / SEAL).write_text(seal)
        assert not sealed(told)
    put_seal(told, last, line_hash((told / JOURNAL).read_bytes().splitlines()[-1]))
    assert sealed(told), "with a key of one's own"
    shutil.copy(told / SEAL, told / "other")
    (told / SEAL).unlink()
    assert not sealed(told)


def test_a_folder_that_others_can_write_to_is_not_known(told: Path) -> None:
    for path in (told, told / JOURNAL):
        before = path.stat().st_mode
        path.chmod(0o777)
        assert not sealed(told)
        path.chmod(before & 0o7777)
    assert sealed(told)


def test_a_seal_that_is_no_file(told: Path) -> None:
    (told / SEAL).unlink()
    os.mkfifo(told / SEAL)
    assert not sealed(told)
    put_seal(told, 0, "0" * 32)
    (told / SEAL).unlink()
    (told / SEAL).symlink_to(told / "victim")
    put_seal(told, 0, "0" * 32)
    assert not (told / "victim").exists()


def test_a_key_is_made_once_and_others_cannot_read_it(told: Path, state: Path) -> None:
    key = state / "key"
    assert key.stat().st_mode & 0o777 == 0o600 and [path.name for path in state.iterdir()] == [
        "key"
    ]
    before = key.read_bytes()
    assert len(before) == 45
    put_seal(told, 0, "0" * 32)
    assert key.read_bytes() == before
    for mode in (0o640, 0o604):
        key.chmod(mode)
        assert not sealed(told)
    key.chmod(0o600)
    assert sealed(told)
    key.write_bytes(before[:-1])
    assert not sealed(told)
    key.unlink()
    os.mkfifo(key)
    assert not sealed(told)


def test_a_key_is_no_text_for_a_model(told: Path, state: Path) -> None:
    with pytest.raises(DataError, match="left out: 1 binary"):
        load(state, folder=told / "copies")


def test_without_a_key_a_run_is_as_ever(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    answer = ask(runs, [cell("FINAL(1)")])
    assert answer.status == "complete" and not (runs / answer.run / SEAL).exists()
    assert not sealed(runs / answer.run)


def test_what_goes_on_is_sealed_again(told: Path, runs: Path) -> None:
    """Also a run that was somebody else's: its new terms are those that this user went on with."""
    (told / SEAL).unlink()
    rlm = scripted_rlm(runs, [cell("FINAL(2)")], limits=Limits(max_turns=9))
    fork = runs / rlm.fork(told.name, 1).run
    assert sealed(fork) and not sealed(told)
    with rlm.session(run=told.name) as session:
        session.ask("and now?")
    assert sealed(told)


def test_a_run_is_known_at_whatever_line_it_was_killed(told: Path, runs: Path) -> None:
    rlm = scripted_rlm(runs, [cell("FINAL(2)")])
    with rlm.session(run=told.name) as session:
        session.ask("and now?")
    settled()
    lines = (told / JOURNAL).read_bytes().splitlines(keepends=True)
    loaded = next(n for n, line in enumerate(lines) if b'"event":"DataLoaded"' in line)
    for count in range(1, len(lines) + 1):
        (told / JOURNAL).write_bytes(b"".join(lines[:count]))
        assert sealed(told) == (count > loaded), count


def test_no_run_without_texts_is_sealed(runs: Path) -> None:
    answer = ask(runs, [cell("FINAL(1)")], redact=True)
    assert not (runs / answer.run / SEAL).exists()
