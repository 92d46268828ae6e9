"""A dry run: what would be sent first, and what it could cost."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from abyme import RLM, ConfigError, DataError, Limits
from abyme.cli.ask.dry_run import preview_lines
from abyme.events import CallStarted, MessageAdded
from support.runs import cell, events_of, of_kind, scripted_rlm


def test_it_is_what_a_run_sends_first(runs: Path, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("some text\n" * 100)
    rlm = scripted_rlm(runs, [cell("FINAL('x')")], limits=Limits())
    preview = rlm.preview("what is it?", [tmp_path / "a.txt", tmp_path / "b.txt"])
    assert not runs.exists()  # nothing is kept
    answer = rlm.completion("what is it?", [tmp_path / "a.txt", tmp_path / "b.txt"])
    sent = of_kind(events_of(runs, answer), MessageAdded)
    said = [_timeless(message.text) for message in preview.messages]
    assert said == [_timeless(message.text) for message in sent[:2]]
    started = of_kind(events_of(runs, answer), CallStarted)[0]
    assert started.messages in (0, 2)
    assert (preview.documents, preview.bytes) == (2, 2000)
    assert 0 < preview.first_tokens < preview.window


def _timeless(text: str) -> str:
    return re.sub(r"\d+ (s|min) (used|left)", "", text)


def test_costs_are_estimated_where_prices_are_known(runs: Path) -> None:
    def rlm(
        price: tuple[float, float] | None = None, sub_price: tuple[float, float] | None = None
    ) -> RLM:
        url = "http://127.0.0.1:9/v1"
        return RLM(
            *("m", "s"), base_url=url, api_key="", runs=runs, price=price, sub_price=sub_price
        )

    preview = rlm().preview("q", "text " * 700)
    assert (preview.first_cost, preview.reading_cost, preview.priced) == (None, None, False)
    preview = rlm(price=(2.0, 8.0)).preview("q", "text " * 700)
    assert preview.first_cost == pytest.approx(preview.first_tokens * 2e-6)
    assert preview.reading_cost is None and not preview.priced  # "s" may cost anything
    preview = rlm(price=(2.0, 8.0), sub_price=(0.5, 1.0)).preview("q", "text " * 700)
    assert preview.reading_cost == pytest.approx(1000 * 0.5e-6)


def test_a_given_price_never_replaces_a_known_one(runs: Path) -> None:
    rlm = RLM("openai:gpt-4o", api_key="sk-x", runs=runs, price=(0.0, 0.0))
    assert (rlm.preview("q", "text").first_cost or 0) > 0


def test_a_script_costs_what_is_given_for_it_and_else_nothing(runs: Path) -> None:
    assert scripted_rlm(runs, ["x"]).preview("q", "text").first_cost == 0
    preview = scripted_rlm(runs, ["x"], price=(1.0, 4.0)).preview("q", "text")
    assert preview.first_cost == pytest.approx(preview.first_tokens * 1e-6)


@pytest.mark.parametrize("price", [(-1.0, 2.0), (1.0, float("nan")), (1.0, float("inf")), (1.0,)])
def test_what_is_no_price(runs: Path, price: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="price must be two prices"):
        RLM("reader", runs=runs, price=price)  # type: ignore[arg-type]


def test_a_stream_is_spooled_and_forgotten(runs: Path) -> None:
    preview = scripted_rlm(runs, ["x"]).preview("q", io.BytesIO(b"from a pipe\n"))
    assert preview.bytes == 12 and "from a pipe" in preview.messages[1].text


def test_what_cannot_be_loaded_is_said(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        scripted_rlm(runs, ["x"]).preview("q", tmp_path / "none.txt")


def test_recursion_and_who_drives_children_are_said(runs: Path) -> None:
    def rlm(depth: int) -> RLM:
        limits = Limits(max_depth=depth)
        return RLM("reader", child_models=["reader"], runs=runs, limits=limits)

    off, on = (rlm(depth).preview("q", "text " * 700) for depth in (1, 3))
    assert (off.recursion, on.recursion, on.child_models) == (False, True, ("reader",))
    said = ["recursion is off" in preview.messages[0].text for preview in (off, on)]
    assert said == [True, False]
    told = "\n".join(preview_lines(on))
    assert "recursion  on: 2 levels of children with a REPL of their own" in told
    assert "depth 3" in told and "recursion  on" not in "\n".join(preview_lines(off))
