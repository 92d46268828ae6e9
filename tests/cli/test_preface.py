"""What is said before a run: a folder's file that takes part, variables that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from abyme.cli.ask.notices import limits_text, unpriced_text
from abyme.cli.ask.preface import preface
from abyme.cli.model_choice import Choice
from abyme.settings import load_settings
from support.command import abyme, replies
from support.runs import cell
from support.stub import Stub


def said(
    tmp_path: Path,
    folder: str,
    user: str = "",
    *,
    quiet: bool = False,
    sub_model: str | None = "s",
    flags: dict[str, str] | None = None,
    **environ: str,
) -> list[str]:
    """The lines before a run in a folder with this abyme.toml."""
    (tmp_path / "abyme.toml").write_text(folder)
    (tmp_path / "user.toml").write_text(user)
    loaded = load_settings(environ, tmp_path, tmp_path / "user.toml").over(**flags or {})
    return list(preface(loaded, Choice(model="m", sub_model=sub_model), quiet=quiet))


@pytest.mark.parametrize("quiet", [False, True])
def test_what_a_folder_sets_is_said_as_its_file_has_it(tmp_path: Path, quiet: bool) -> None:
    text = 'exclude = ["*"]\nsub_model = "s"\nmodel = "m"\n[limits]\nmax_cost = 2.0\nmax_tokens = 9'
    (line,) = said(tmp_path, text, quiet=quiet)
    assert line == (
        './abyme.toml sets model = "m", sub_model = "s", max_tokens = 9, max_cost = 2, '
        'exclude = ["*"]'
    )
    assert said(tmp_path, 'exclude = ["*"]', quiet=quiet) == (
        [] if quiet else ['./abyme.toml sets exclude = ["*"]']
    )


def test_a_limit_that_a_folder_may_not_raise_is_said_with_the_flag(tmp_path: Path) -> None:
    text = "[limits]\nmax_cost = 50"
    assert said(tmp_path, text) == [
        "./abyme.toml asks for max_cost = 50, more than your own 5: give --max-cost 50 to allow it"
    ]
    assert said(tmp_path, text, quiet=True) == [], "it took no part"
    assert said(tmp_path, text, flags={"max_cost": "9"}) == []
    assert said(tmp_path, text, ABYME_MAX_COST="9") == []
    children = "[limits]\nchildren = [{max_turns = 30, max_cost = 1}, {}]"
    assert said(tmp_path, children, "[limits]\nchildren = [{max_cost = 2}]") == [
        "./abyme.toml asks for children = [{max_turns = 30, max_cost = 1}, {}], more than your own "
        "[{max_cost = 2}]: give --child-turns 30 --child-cost none to allow it"
    ]
    both = '[limits]\nmax_turns = 7\nmax_cost = 50\nmax_calls = "NONE"'
    assert said(tmp_path, both, "[limits]\nmax_calls = 20") == [
        './abyme.toml sets max_turns = 7; it asks for max_calls = "none" and max_cost = 50, more '
        "than your own 20 and 5: give --max-calls none --max-cost 50 to allow it"
    ]


def test_what_was_dropped_or_replaced_is_not_listed(tmp_path: Path) -> None:
    text = 'model = "m"\nsub_model = "s"\n[limits]\nmax_turns = 3'
    flags = {"model": "reader", "max_turns": "5"}
    assert said(tmp_path, text, sub_model=None, flags=flags) == []


def test_a_long_list_does_not_push_the_rest_out_of_sight(tmp_path: Path) -> None:
    patterns = ",\n".join(f'"{number}"' for number in range(5000))
    (line,) = said(tmp_path, f'model = "sk-FAKE123456"\nexclude = [{patterns}]')
    assert line.startswith('./abyme.toml sets model = "[key]", exclude = [') and len(line) < 200


def test_a_variable_that_means_nothing_is_said(tmp_path: Path) -> None:
    strange = {"ABYME_MAX_COTS": "1", "ABYME_QQQQQQ": "1"}
    assert said(tmp_path, "", **strange) == [  # type: ignore[arg-type]
        "ABYME_MAX_COTS means nothing: did you mean ABYME_MAX_COST?",
        "ABYME_QQQQQQ means nothing",
    ]
    assert said(tmp_path, "", quiet=True, **strange) == []  # type: ignore[arg-type]


def test_the_command_says_it_even_where_it_is_quiet(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("alpha\n")
    (tmp_path / "abyme.toml").write_text("[limits]\nmax_turns = 3\nmax_cost = 'none'\n")
    model = replies(tmp_path, cell("FINAL(1)"))
    line = (
        './abyme.toml sets max_turns = 3; it asks for max_cost = "none", more than your own 5: '
        "give --max-cost none to allow it"
    )
    for more in (["-q"], ["-q", "--dry-run"]):
        done = abyme("ask", "q?", "a.txt", "--model", model, *more, runs=runs)
        assert (done.returncode, done.stderr) == (0, f"{line}\n")
    (tmp_path / "abyme.toml").write_text('model = "scripted:a.txt"')
    refused = abyme("ask", "q?", "a.txt", runs=runs)
    assert refused.returncode == 2 and "may not be a script in a folder's file" in refused.stderr


def test_a_limit_of_cost_that_cannot_bind_is_not_shown_as_one(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "a.txt").write_text("alpha\n")
    with Stub(lambda request: cell("FINAL(1)")) as stub:
        ask = ("ask", "q?", tmp_path / "a.txt", "--model", "m", "--base-url", stub.url)
        unknown = abyme(*ask, runs=runs).stderr
        dry = abyme(*ask, "--dry-run", runs=runs).stdout
        known = abyme(*ask, "--price", "1,2", runs=runs).stderr
    text = "no limit of cost (the price of openai:m is not known: --price IN,OUT), 30 min, "
    assert f"may spend: {text}" in unknown and f"may spend  {text}" in dry
    assert "may spend: $5, 30 min, " in known


def test_of_two_models_either_may_be_unknown() -> None:
    unpriced = unpriced_text(False, "m", "s")
    assert limits_text({"max_cost": 5.0, "max_turns": 30}, unpriced) == (
        "no limit of cost (the price of m or s is not known: --price IN,OUT, --sub-price IN,OUT), "
        "30 turns"
    )
    assert limits_text({"max_cost": None, "max_turns": 1}, unpriced) == "1 turn"


def test_flags_for_children_where_there_are_none_are_told(tmp_path: Path) -> None:
    flags = {"child_turns": "3", "child_cost": "1"}
    (line,) = said(tmp_path, "", flags=flags)
    assert line.startswith("there are no children below --max-depth 2: --child-")
    assert said(tmp_path, "", flags={**flags, "max_depth": "2"}) == []
    assert said(tmp_path, "", flags=flags, quiet=True) == []
