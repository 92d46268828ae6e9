"""What a user writes becomes a model, or one line that says what to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abyme.errors import ConfigError
from abyme.models.base import Model
from abyme.models.openai import OpenAIModel
from abyme.models.registry import resolve
from abyme.models.scripted import Scripted

LOCAL = "http://localhost:8000/v1"
OPENAI = "https://api.openai.com/v1"
KEY = {"OPENAI_API_KEY": "sk-of-environment"}


def find(spec: str | Model, environ: dict[str, str] | None = None, **more: Any) -> Model:
    return resolve(spec, environ=environ or {}, **more)


def sent_key(model: Model) -> str | None:
    """The key that the model would send."""
    assert isinstance(model, OpenAIModel)
    header = model._headers.get("Authorization")
    return None if header is None else header.removeprefix("Bearer ")


@pytest.mark.parametrize("name", ["gpt-5-mini", "o3", "o4-mini", "chatgpt-4o-latest", "gpt-4o"])
def test_a_name_that_looks_like_openais_is_asked_there(name: str) -> None:
    model = find(name, KEY)
    assert (model.name, model.endpoint) == (f"openai:{name}", OPENAI)
    assert sent_key(model) == "sk-of-environment"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("openai:gpt-5-mini", "openai:gpt-5-mini"),
        ("llama3:8b", "openai:llama3:8b"),
        ("deepseek/deepseek-chat:free", "openai:deepseek/deepseek-chat:free"),
        (" qwen3 ", "openai:qwen3"),
    ],
)
def test_a_base_url_serves_any_name(spec: str, name: str) -> None:
    model = find(spec, base_url=LOCAL + "/")
    assert (model.name, model.endpoint) == (name, LOCAL)
    assert sent_key(model) is None
    assert find(spec, {"OPENAI_BASE_URL": LOCAL}).endpoint == LOCAL


def test_the_argument_goes_before_the_environment() -> None:
    environ = {**KEY, "OPENAI_BASE_URL": "https://example.org/v1"}
    model = find("m", environ, base_url=LOCAL, api_key="sk-given")
    assert (model.endpoint, sent_key(model)) == (LOCAL, "sk-given")
    assert sent_key(find("m", environ)) == "sk-of-environment"
    assert sent_key(find("m", environ, base_url=LOCAL)) == "sk-of-environment"
    assert sent_key(find("m", environ, base_url=LOCAL, api_key="")) is None


def test_openai_without_a_key_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError) as caught:
        find("gpt-5-mini")
    assert str(caught.value) == (
        "no key for api.openai.com: set OPENAI_API_KEY, or pass --base-url for a server "
        "that needs none"
    )
    with pytest.raises(ConfigError, match="no key"):
        find("m", {"OPENAI_API_KEY": "  "}, base_url=OPENAI)


@pytest.mark.parametrize("key", ["sk-a b", "sk-\nX: y", "sk-é", "sk-\x00"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="copied whole") as caught:
        find("m", base_url=LOCAL, api_key=key)
    assert key not in str(caught.value)


def test_a_script_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "replies.txt"
    file.write_text("hello", encoding="utf-8")
    model = find(f"scripted:{file}", base_url=LOCAL)
    assert isinstance(model, Scripted)
    with pytest.raises(ConfigError, match="cannot read the script"):
        find("scripted:no-such-file")
    with pytest.raises(ConfigError, match="scripted:FILE"):
        find("scripted:")


def test_a_model_object_passes_through() -> None:
    model = Scripted(["a"])
    assert find(model) is model


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("gtp-5-mini", "unknown model 'gtp-5-mini': did you mean gpt-5-mini? Else give one of op"),
        ("raeder", "unknown model 'raeder': did you mean reader? Else give one of openai:"),
        ("opnai:gpt-5", "unknown model 'opnai:gpt-5': did you mean openai:gpt-5? Else give one of"),
        (
            "script:file",
            "unknown model 'script:file': did you mean scripted:file? Else give one of",
        ),
        ("scripted", "unknown model 'scripted': did you mean scripted:FILE? Else give one of open"),
        ("foo", "unknown model 'foo': give one of openai:NAME, NAME with a base_url, scripted:FI"),
        ("scrap", "unknown model 'scrap': give one of openai:NAME"),
        ("", "no model: give one of openai:NAME"),
        ("openai:", "'openai:' is no model name"),
        ("gpt 5", "'gpt 5' is no model name"),
        ("gpt-5\n", "no key for"),
        ("gpt-5\nx", "is no model name"),
    ],
)
def test_what_is_no_model_is_refused_with_what_there_is(spec: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find(spec)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["sk-FAKE123456", "sk-FAKE123456 x", "opnai:sk-FAKE123456"])
def test_a_key_in_place_of_a_model_is_not_shown(spec: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find(spec)
    assert "FAKE" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host/v1",
        "http://",
        "http://h:port/",
        "http://[/",
        "http://a b/",
    ],
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        find("m", base_url=url)
