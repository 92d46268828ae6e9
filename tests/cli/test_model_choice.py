"""What is asked where no model is configured, and the line that says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from abyme.cli.model_choice import READER_NOTE, Choice, default_model
from abyme.errors import ConfigError
from abyme.models.local import LocalServer
from abyme.settings import Loaded, load_settings
from support.runs import cell
from support.stub import Status, Stub, StubRequest

KEY = {"OPENAI_API_KEY": "sk-exported"}
OLLAMA = LocalServer("Ollama", "http://127.0.0.1:11434/v1", ("bge-m3", "qwen3:8b"))


def load(tmp_path: Path, user: str = "", **environ: str) -> Loaded:
    file = tmp_path / "user.toml"
    file.write_text(user)
    return load_settings({"ABYME_LOCAL_SERVERS": "", **environ}, tmp_path / "folder", file)


@pytest.fixture
def endpoint() -> Iterator[list[str]]:
    """The names that a stub serves; its URL is the last of them."""
    names: list[str] = []

    def script(request: object) -> Status:
        listed = {"data": [{"id": name} for name in names[:-1]]}
        return Status(200, json.dumps(listed))

    with Stub(script) as stub:
        names.append(stub.url)
        yield names


def test_what_is_configured_is_taken_without_a_word(tmp_path: Path) -> None:
    loaded = load(tmp_path, ABYME_MODEL="m", ABYME_BASE_URL="http://h/v1", ABYME_SUB_MODEL="s")
    choice = default_model(loaded, KEY)
    assert (choice.model, choice.sub_model, choice.base_url) == ("m", "s", "http://h/v1")
    assert (choice.api_key, choice.key_from, choice.note) == ("sk-exported", "OPENAI_API_KEY", "")
    assert "sk-exported" not in repr(choice)
    assert default_model(load(tmp_path).over(model="openai:gpt-5"), KEY).base_url is None


def test_the_reader_needs_no_key_and_takes_no_weaker_sub_model(tmp_path: Path) -> None:
    user = 'base_url = "http://h/v1"\napi_key_env = "UNSET"\nsub_model = "costly"\n'
    for model in ("reader", "scripted:x"):
        assert default_model(load(tmp_path, user).over(model=model), {}) == Choice(model=model)
    both = load(tmp_path, user).over(model="reader", sub_model="costly")
    with pytest.raises(ConfigError, match="UNSET is not set"):
        default_model(both, {})
    assert default_model(both, {"UNSET": "k"}).sub_model == "costly"


def test_a_local_server_is_used_without_a_key(tmp_path: Path) -> None:
    choice = default_model(load(tmp_path), KEY, [OLLAMA])
    assert choice == Choice(
        model="openai:qwen3:8b",
        base_url="http://127.0.0.1:11434/v1",
        api_key="",
        note="no model is configured: using qwen3:8b at http://127.0.0.1:11434/v1 (Ollama); "
        "--model chooses another",
    )


def test_a_server_cannot_name_a_file_or_the_reader(tmp_path: Path) -> None:
    for name in ("scripted:/etc/passwd", "reader", "openai:m"):
        server = LocalServer("h:1", "http://h:1/v1", (name,))
        assert default_model(load(tmp_path), {}, [server]).model == f"openai:{name}"


def test_where_a_server_is_looked_for_is_a_setting(tmp_path: Path) -> None:
    with Stub(lambda request: Status(200, '{"data": [{"id": "m"}]}')) as stub:
        choice = default_model(load(tmp_path, ABYME_LOCAL_SERVERS=stub.url), KEY)
        assert (choice.model, choice.base_url) == ("openai:m", stub.url)
        assert "authorization" not in stub.requests[0].headers


def test_else_there_is_the_reader(tmp_path: Path) -> None:
    for servers in ([], [LocalServer("a", "http://h/v1", ("bge-m3",))], None):
        choice = default_model(load(tmp_path), {}, servers)
        assert choice == Choice(model="reader", note=READER_NOTE)


def test_a_key_alone_spends_nothing_and_is_mentioned(tmp_path: Path) -> None:
    choice = default_model(load(tmp_path), KEY, [])
    assert choice.model == "reader" and choice.api_key is None
    hint = "OPENAI_API_KEY is set: --model openai:gpt-5-mini would use it"
    assert choice.note == f"{READER_NOTE}; {hint}"
    kept = load(tmp_path, 'api_key = "sk-kept"')
    note = default_model(kept, {}, []).note
    assert f"api_key in {tmp_path}/user.toml is set: --model openai" in note
    unset = load(tmp_path, 'api_key_env = "UNSET"')
    assert default_model(unset, {}, []).note == READER_NOTE


def test_a_sub_model_alone_is_a_question(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sub_model is set \(ABYME_SUB_MODEL\) and no model is"):
        default_model(load(tmp_path, ABYME_SUB_MODEL="s"), KEY, [OLLAMA])


def test_an_endpoint_with_one_model_is_asked_for_it(tmp_path: Path, endpoint: list[str]) -> None:
    endpoint[:0] = ["bge-m3", "only"]
    loaded = load(tmp_path, OPENAI_BASE_URL=endpoint[-1], ABYME_SUB_MODEL="s")
    choice = default_model(loaded, {**KEY, "OPENAI_BASE_URL": endpoint[-1]})
    assert choice == Choice(
        model="openai:only",
        sub_model="s",
        base_url=endpoint[-1],
        api_key="sk-exported",
        key_from="OPENAI_API_KEY",
        note=f"no model is configured: using only, the only one at {endpoint[-1]} "
        "(OPENAI_BASE_URL); --model chooses another",
    )


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ([], "lists none"),
        (["bge-m3"], "lists none"),
        (["a", "b"], "serves 2: a, b"),
        ([f"m{number}" for number in range(9)], "serves 9: m0, m1, m2, m3, m4, …"),
        (["x" * 200, "y" * 200, "z" * 200], "serves 3: xxx"),
    ],
)
def test_else_the_user_chooses(
    tmp_path: Path, endpoint: list[str], names: list[str], line: str
) -> None:
    endpoint[:0] = names
    with pytest.raises(ConfigError) as caught:
        default_model(load(tmp_path).over(base_url=endpoint[-1]), {})
    said = str(caught.value)
    assert said.startswith(f"no model: give --model; {endpoint[-1]} (--base-url) {line}")
    assert len(said) <= 300


def test_an_endpoint_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with Stub(lambda request: Status(401, "no")) as stub:
        url = stub.url.replace("http://", "http://us:er@")
        with pytest.raises(ConfigError) as caught:
            default_model(load(tmp_path).over(base_url=url), KEY)
    assert str(caught.value) == (
        f"no model: give --model, the name of one at {stub.url} "
        f"({stub.url} does not accept the key (401))"
    )


@pytest.mark.parametrize("url", ["ftp://h/v1", "http://[h/v1", "http://h:x", "localhost:8000"])
def test_an_address_that_is_none_is_said(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        default_model(load(tmp_path, ABYME_BASE_URL=url), KEY)


def test_the_command_asks_a_local_server_and_says_so(tmp_path: Path, runs: Path) -> None:
    def script(request: StubRequest) -> Status | str:
        if request.path.endswith("/models"):
            return Status(200, '{"data": [{"id": "m"}]}')
        return cell("FINAL(6 * 7)")

    (tmp_path / "notes.txt").write_text("alpha\n")
    with Stub(script) as stub:
        done = subprocess.run(
            [sys.executable, "-m", "abyme", "ask", "how many?", "notes.txt"],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={
                **os.environ,
                **KEY,
                "ABYME_RUNS": str(runs),
                "ABYME_LOCAL_SERVERS": stub.url,
            },
        )
        assert all("authorization" not in request.headers for request in stub.requests)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert f"no model is configured: using m at {stub.url}" in done.stderr


def test_models_of_children_go_with_the_model(tmp_path: Path) -> None:
    user = 'base_url = "http://h/v1"\napi_key_env = "UNSET"\nchild_model = ["costly"]\n'
    loaded = load(tmp_path, user)
    assert default_model(loaded.over(model="reader"), {}) == Choice(model="reader")
    with pytest.raises(ConfigError, match="UNSET is not set"):
        default_model(loaded.over(model="reader", child_model=["c"]), {})
    choice = default_model(loaded.over(model="m"), {"UNSET": "k"})
    assert (choice.child_models, choice.base_url) == (("costly",), "http://h/v1")
    with pytest.raises(ConfigError, match=r"child_model is set .* and no model is"):
        default_model(load(tmp_path, 'child_model = ["c"]'), {})
