"""`abyme runs` with filters: what is asked for is listed, and what is wrongly asked is said."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from abyme.cli.main import app
from abyme.cli.runs import show_runs
from abyme.cli.when import moment
from abyme.errors import ModelError
from abyme.journal.wanted import Wanted
from support.runs import scripted_rlm
from support.terminal import on_terminal


def made(runs: Path, question: str, reply: Any = "```repl\nFINAL(1)\n```") -> str:
    """A run with this question; its id."""
    return scripted_rlm(runs, [reply]).completion(question, "some text").run


@pytest.fixture
def listed(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., set[str]]:
    """The runs that the command lists with these arguments."""
    monkeypatch.setenv("ABYME_RUNS", str(runs))

    def listed(*arguments: str) -> set[str]:
        done = CliRunner().invoke(app, ["runs", "--json", *arguments])
        assert done.exit_code == 0, done.output
        return {json.loads(line)["run"] for line in done.stdout.splitlines()}

    return listed


def test_filters(runs: Path, listed: Callable[..., set[str]]) -> None:
    good, bad = made(runs, "Who signed the contracts?"), made(runs, "gc?", ModelError("no"))
    assert listed("--status", "complete") == listed("--status", "partial, COMPLETE") == {good}
    assert listed("--status", "failed", "--status", "complete,going") == {good, bad}
    assert listed("CONTRACTS", "signed") == listed("signed  the") == listed("ntract") == {good}
    assert listed("--", "gc") == {bad} and listed("contracts", "gc") == set()
    assert listed("--model", "SCRIPT") == {good, bad} and listed("--model", "gpt") == set()
    assert listed("--since", "1h") == listed("--since", "yesterday") == {good, bad}
    assert listed("--since", "2999-01-01") == set()
    assert listed("--status", "failed", "contracts") == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--status", "complte"),
            "--status: 'complte' is none of complete, partial, failed, going",
        ),
        (("--status", ""), "'' is none of"),
        (("--since", "soon"), "--since: 'soon' is no time: write 30min, 12h, 3d, 2w, today"),
        (("--since", ""), "'' is no time"),
        (("--since", "9" * 400 + "d"), "is no time"),
        (("--since", "2026-02-30"), "is no time"),
    ],
)
def test_what_is_wrongly_asked_is_said(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(app, ["runs", *arguments])
    assert done.exit_code == 2 and said in done.output


def test_moments() -> None:
    now = datetime(2026, 11, 23, 16, 38, 22).timestamp()
    midnight = datetime(2026, 11, 23)
    expected = {
        "3d": now - 3 * 86_400,
        " 1.5 h ago ": now - 5_400,
        "30min": now - 1_800,
        "2W": now - 14 * 86_400,
        "today": midnight.timestamp(),
        "Yesterday": (midnight - timedelta(days=1)).timestamp(),
        "2026-11-01": datetime(2026, 11, 1).timestamp(),
        "2026-11-01 14:30": datetime(2026, 11, 1, 14, 30).timestamp(),
        "2026-11-01T14:30:00Z": 1_793_543_400.0,
        "1960-01-01": 0.0,
        "999999999w": 0.0,
    }
    assert {text: moment(text, now) for text in expected} == expected
    for text in ("3", "d", "3m", "-3d", "2026-13-01", "١٢h", "\x1b[31m", "now"):
        with pytest.raises(ValueError, match="is no time: write 30min"):
            moment(text, now)


def test_what_is_said_beside_the_list(runs: Path) -> None:
    for n in range(3):
        made(runs, f"question {n}")
    said: list[str] = []
    out: list[str] = []
    show_runs(runs, out.append, said.append, wanted=Wanted(words=("question",)), limit=2)
    assert said == ["older runs match, too: --limit 4 lists more"] and len(out) == 2
    show_runs(runs, out.append, said.append, wanted=Wanted(words=("else",)))
    assert said[1:] == [f"none of 3 runs in {runs} is of that kind"] and len(out) == 2


def test_a_fork_says_of_what(runs: Path) -> None:
    run = made(runs, "q?")
    fork = time.strftime("%Y%m%d-%H%M%S-ffffff", time.localtime(time.time() + 1))
    (runs / run).rename(runs / fork)
    for width in (None, 80, 200):
        out: list[str] = []
        show_runs(runs, out.append, out.append, width=width)
        assert f"fork of {run}" in "\n".join(out)
    (runs / fork).rename(runs / "kept")
    out = []
    show_runs(runs, out.append, out.append)
    assert "fork of" not in out[0]


def test_a_long_model_fits_the_terminal(runs: Path) -> None:
    run = made(runs, "what \x1b[31m" + "long " * 20_000)
    journal = runs / run / "journal.jsonl"
    model = "some-provider/" + "a-very-long-name-" * 10
    journal.write_text(journal.read_text().replace('"model":"scripted"', f'"model":"{model}"'))
    shown = on_terminal("runs", "some-provider", runs=runs)
    assert shown.code == 0 and len(shown.screen.splitlines()) == 2
    assert all(len(line) <= 80 for line in shown.screen.splitlines())
    out: list[str] = []
    show_runs(runs, out.append, out.append)
    assert model[:70] in out[0] and " kB  what \\x1b[31m" in out[0] and out[0].isprintable()


def test_the_shell_completes_statuses_and_gc(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "_ABYME_COMPLETE", "bash_complete")

    def completed(*words: str) -> list[str]:
        env = {"COMP_WORDS": " ".join(["abyme", *words]), "COMP_CWORD": str(len(words))}
        done = CliRunner().invoke(app, env=env, prog_name="abyme")
        return [line.split(",", 1)[1] for line in done.output.splitlines()]

    assert completed("runs", "g") == ["gc"]
    assert completed("runs", "--status", "failed,un") == ["failed,unfinished", "failed,unreadable"]
    assert "--apply" in completed("runs", "gc", "--")
