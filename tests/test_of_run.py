"""An RLM made of a run's journal asks what that run asked; a journal alone gets no data sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from abyme import RLM, ChildLimits, ConfigError, JournalError, Limits
from abyme.events import Terms
from abyme.journal.reader import read
from abyme.models.openai import OpenAIModel
from abyme.recorded import address_named, children_named, is_asked, limits_named, lowered
from abyme.sandbox.process import ProcessSandbox
from support.runs import ask, cell, scripted_rlm
from support.stub import Stub


def a_run(runs: Path, url: str, **options: Any) -> str:
    """A run that asked at ``url`` and was answered, or not."""
    rlm = RLM("openai:m", base_url=url, api_key="k", runs=runs, **options)
    return rlm.completion("q", "some text").run


def at(runs: Path, run: str, **options: Any) -> OpenAIModel:
    model = RLM.of_run(run, runs=runs, **options)._model
    assert isinstance(model, OpenAIModel)
    return model


def key_of(model: OpenAIModel) -> str:
    return model._headers.get("Authorization", "")


def test_models_limits_and_prices_are_the_runs(runs: Path) -> None:
    with Stub([cell("FINAL(1)")]) as stub:
        run = a_run(
            runs,
            stub.url,
            sub_model="openai:s",
            price=(1, 2),
            sub_price=(3, 4),
            limits=Limits(max_turns=3, max_cost=None),
        )
        rlm = RLM.of_run(run, runs=runs)
    assert (rlm._model.name, rlm._sub_model.name) == ("openai:m", "openai:s")
    assert rlm._limits == Limits(max_turns=3, max_cost=None)
    assert rlm._prices == {"openai:m": (1.0, 2.0), "openai:s": (3.0, 4.0)}
    assert rlm._base_url == stub.url
    other = RLM.of_run(run, runs=runs, model="openai:o", base_url="http://h/v1", limits=Limits())
    assert (other._model.name, other._base_url) == ("openai:o", "http://h/v1")
    assert other._limits == Limits() and other._prices == {"openai:s": (3.0, 4.0)}


def test_a_key_goes_only_where_the_user_said(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with Stub([cell("FINAL(1)")]) as stub:
        run = a_run(runs, stub.url)
        url = stub.url
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    assert key_of(at(runs, run)) == ""
    assert key_of(at(runs, run, api_key="given")) == "Bearer given"
    assert key_of(at(runs, run, base_url=url)) == "Bearer mine"
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    assert key_of(at(runs, run)) == "Bearer mine"


def test_the_address_that_the_environment_named_is_in_the_journal(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stub([cell("FINAL(1)")]) as stub:
        monkeypatch.setenv("OPENAI_BASE_URL", stub.url)
        run = RLM("m", runs=runs).completion("q", "some text").run
        assert next(read(runs / run)).event.base_url == stub.url  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/v1",
        "https://api.openai.com.evil.example/v1",
        "https://api.openai.com@evil.example/v1",
        "https://api.openai.com\\@evil.example/v1",
        "http://api.openai.com/v1",
        "https://own.example/v2",
        "http://127.0.0.1@evil.example/v1",
        "http://127.0.0.1.evil.example/v1",
        "http://localhost#@evil.example/v1",
        "http://localhost\\.evil.example/v1",
        "ftp://localhost/v1",
        "nonsense",
    ],
)
def test_a_strangers_address_is_not_asked(url: str) -> None:
    with pytest.raises(ConfigError, match="only its journal names"):
        address_named(url, ("https://own.example/v1",), "--base-url")


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://OWN.example:443/v1/", "https://me:pass@own.example/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://localhost/v1", "http://localhost/v1"),
    ],
)
def test_the_users_own_addresses_are_asked_as_he_wrote_them(url: str, asked: str) -> None:
    assert address_named(url, ("https://me:pass@own.example/v1",), "--base-url") == asked


def test_what_only_a_program_can_make_is_asked_for(runs: Path) -> None:
    run = ask(runs, [cell("FINAL(1)")]).run
    with pytest.raises(ConfigError, match="give model="):
        RLM.of_run(run, runs=runs)
    sandbox = ProcessSandbox(unsafe_local=True)
    rlm = scripted_rlm(runs, [cell("FINAL(1)")], sandbox=sandbox)
    unsafe = rlm.completion("q", "some text").run
    with pytest.raises(ConfigError, match="give sandbox= again"):
        RLM.of_run(unsafe, runs=runs, model="reader")
    assert RLM.of_run(unsafe, runs=runs, model="reader", sandbox=sandbox)._sandbox == sandbox
    with pytest.raises(JournalError, match="there is no run"):
        RLM.of_run("nothing", runs=runs)


def test_limits_that_make_no_sense_are_those_by_default() -> None:
    terms = Terms(
        version="1", model="m", sub_model="m", base_url="",
        limits={"max_turns": -1, "max_calls": "x", "of_later": 3, "max_cost": None},
    )  # fmt: skip
    assert limits_named(terms.limits) == Limits(max_cost=None)


@pytest.mark.parametrize(
    "children", [5, "x", [5], [{"max_turns": 0}], [{"of_later": 1}], [{}] * 9, {"max_turns": 2}]
)
def test_limits_of_children_that_make_no_sense_are_those_by_default(children: Any) -> None:
    assert limits_named({"children": children, "max_turns": 3}) == Limits(max_turns=3)


def test_limits_of_children_come_back_from_a_journal() -> None:
    limits = Limits(children=(ChildLimits(max_cost=0.5), ChildLimits(max_turns=2)))
    assert limits_named(msgspec.json.decode(msgspec.json.encode(limits))) == limits


def test_limits_are_lowered_to_the_users_own() -> None:
    asked = Limits(max_cost=None, max_turns=3, max_seconds=7200)
    assert lowered(asked, Limits()) == Limits(max_turns=3)
    assert lowered(asked, Limits(max_cost=None)) == Limits(max_turns=3, max_cost=None)
    low, high = (ChildLimits(max_turns=2),), (ChildLimits(max_turns=20),)
    assert lowered(Limits(children=low), Limits()).children == low
    assert lowered(Limits(children=high), Limits()).children == ()
    assert lowered(Limits(children=()), Limits(children=low)).children == low


def test_the_models_of_children_are_the_runs(runs: Path) -> None:
    with Stub([cell("FINAL(1)")]) as stub:
        run = a_run(
            runs,
            stub.url,
            child_models=["openai:c", "openai:d"],
            price=(1, 2),
            child_price=(3, 4),
            limits=Limits(max_depth=3),
        )
        rlm = RLM.of_run(run, runs=runs)
        assert [model.name for model in rlm._child_models] == ["openai:c", "openai:d"]
        assert rlm._prices["openai:c"] == rlm._prices["openai:d"] == (3.0, 4.0)
        assert rlm._limits == Limits(max_depth=3)
        other = RLM.of_run(run, runs=runs, child_models=["reader"])
        assert [model.name for model in other._child_models] == ["reader"]
    terms = next(iter(read(runs / run))).event
    assert getattr(terms, "child_models", None) == ("openai:c", "openai:d")


def test_a_journal_names_no_script_for_children_and_no_address_by_them() -> None:
    terms = Terms(
        version="1",
        model="reader",
        sub_model="reader",
        base_url="http://192.0.2.1/v1",
        limits={},
        child_models=("scripted:x",),
    )
    assert not is_asked(terms)
    with pytest.raises(ConfigError, match="which only you can name: give --child-model"):
        children_named(terms, "give --child-model")
    assert is_asked(msgspec.structs.replace(terms, child_models=("openai:c",)))


def test_a_limit_of_cost_needs_the_prices_of_childrens_models(runs: Path) -> None:
    options: dict[str, Any] = {"base_url": "http://127.0.0.1:9/v1", "api_key": "", "runs": runs}
    limits = Limits(max_cost=1.0, max_depth=2)
    with pytest.raises(ConfigError, match=r"openai:c is not known.*--child-price 1,4"):
        RLM("openai:m", price=(1, 2), child_models=["c"], limits=limits, **options)
    RLM("openai:m", price=(1, 2), child_models=["c"], child_price=(1, 1), limits=limits, **options)
    with pytest.raises(ConfigError, match="a list of models"):
        RLM("openai:m", child_models="c", **options)
