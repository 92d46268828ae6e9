"""The file that ``abyme init`` writes: it changes nothing, and every line of it is known."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from abyme.cli import init
from abyme.config import Limits
from abyme.errors import ConfigError
from abyme.models.local import DEFAULT
from abyme.settings import Settings, load_settings


def uncommented(text: str) -> str:
    """The template with the # taken off every setting."""
    return re.sub(r"^#(?=[a-z])", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("user", [False, True])
def test_as_written_it_sets_nothing(tmp_path: Path, user: bool) -> None:
    file = tmp_path / "home" / "abyme.toml"
    init.run({"ABYME_CONFIG": str(file)}, tmp_path, user=user)
    loaded = load_settings({}, tmp_path, file)
    assert len(loaded.files) == 1
    assert loaded.settings == Settings() and loaded.origins == {}


@pytest.mark.parametrize("user", [False, True])
def test_every_setting_is_there_with_its_default(tmp_path: Path, user: bool) -> None:
    text = uncommented(init.template(user=user))
    table = tomllib.loads(text)
    not_for_folders = {"base_url", "api_key", "api_key_env", "local_servers", "runs"}
    not_for_folders |= {"price", "sub_price", "child_price"}
    not_for_folders |= {"sandbox", "image", "cache", "redact", "durable"}
    known = set(Settings.__struct_fields__)
    assert set(table) == (known if user else known - not_for_folders)
    assert list(table["limits"]) == list(Limits.__struct_fields__)
    (tmp_path / "abyme.toml").write_text(text)
    file = tmp_path / "abyme.toml" if user else tmp_path / "none"
    loaded = load_settings({}, tmp_path / "none" if user else tmp_path, file)
    expected = Settings(exclude=(), child_model=(), local_servers=DEFAULT if user else None)
    assert loaded.settings == expected, "what is written there is the default"
    explanations = text.count("\n# ")
    assert explanations >= len(table) - 1 + len(table["limits"])


def test_a_folders_file_is_not_written_over(tmp_path: Path) -> None:
    said = init.run({}, tmp_path)
    assert said.startswith("wrote ./abyme.toml: ") and "\nnext: " in said
    file = tmp_path / "abyme.toml"
    file.write_text("model = 'm'")
    with pytest.raises(ConfigError, match=r"^./abyme.toml is there already: --force writes over"):
        init.run({}, tmp_path)
    assert file.read_text() == "model = 'm'"
    init.run({}, tmp_path, force=True)
    assert file.read_text() == init.template(user=False)
    assert [path.name for path in tmp_path.iterdir()] == ["abyme.toml"]


def test_the_users_file_is_private(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "abyme.toml"
    said = init.run({"ABYME_CONFIG": str(file)}, tmp_path, user=True)
    assert str(file) in said and file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0
    file.chmod(0o644)
    init.run({"ABYME_CONFIG": str(file)}, tmp_path, user=True, force=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "abyme.toml").exists()


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    for target in ("precious", "not-there"):
        link = tmp_path / "abyme.toml"
        link.symlink_to(tmp_path / target)
        with pytest.raises(ConfigError, match="is there already"):
            init.run({}, tmp_path)
        init.run({}, tmp_path, force=True)
        assert not link.is_symlink() and (tmp_path / "precious").read_text() == "mine"
        link.unlink()
    assert not (tmp_path / "not-there").exists()


def test_where_it_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cannot write ./abyme.toml: No such file"):
        init.run({}, tmp_path / "nowhere")
    (tmp_path / "abyme.toml").mkdir()
    with pytest.raises(ConfigError, match=r"^cannot write ./abyme.toml: "):
        init.run({}, tmp_path, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["abyme.toml"]


def test_the_command_writes_it(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "abyme", "init", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, "ABYME_CONFIG": str(tmp_path / "user.toml")},
        )

    done = run()
    assert (done.returncode, done.stderr) == (0, "") and "wrote ./abyme.toml" in done.stdout
    again = run()
    assert again.returncode == 2 and again.stdout == ""
    assert again.stderr == "abyme: ./abyme.toml is there already: --force writes over it\n"
    assert run("--force").returncode == run("--user").returncode == 0
    assert (tmp_path / "user.toml").exists()
