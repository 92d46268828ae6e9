"""--sandbox and --image: what is chosen, what does not go together, what doctor says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from abyme.cli import doctor
from abyme.cli.sandboxes import chosen_sandbox
from abyme.errors import ConfigError
from abyme.sandbox.command import CommandSandbox
from abyme.sandbox.containers import IMAGE, Container
from abyme.sandbox.process import ProcessSandbox
from abyme.settings import Loaded, Settings, load_settings
from support.boxes import why_no_bubblewrap
from support.command import abyme


def chosen(**flags: str) -> Loaded:
    return Loaded().over(**flags)


def test_each_name_is_its_sandbox() -> None:
    assert chosen_sandbox(Loaded()) == ProcessSandbox()
    assert chosen_sandbox(chosen(sandbox="process")) == ProcessSandbox()
    for name in ("bubblewrap", "docker", "podman"):
        found = chosen_sandbox(chosen(sandbox=name))
        assert isinstance(found, CommandSandbox) and found.name == name
    for image in ("", "mine:1"):
        found = chosen_sandbox(chosen(sandbox="docker", image=image))
        assert isinstance(found, CommandSandbox) and isinstance(found.recipe, Container)
        assert found.recipe.image == (image or IMAGE)


def test_what_does_not_go_together_is_said() -> None:
    with pytest.raises(ConfigError, match="--unsafe-local is for the sandbox process, and --sand"):
        chosen_sandbox(chosen(sandbox="bubblewrap"), unsafe_local=True)
    with pytest.raises(ConfigError, match="--image is for --sandbox docker or podman, not process"):
        chosen_sandbox(chosen(image="x"))
    with pytest.raises(ConfigError, match="--sandbox must be one of process, bubblewrap, docker"):
        chosen(sandbox="chroot")
    # In a file it may stand there for when it is needed.
    in_file = Loaded(settings=Settings(image="x"), origins={"image": "abyme.toml"})
    assert chosen_sandbox(in_file) == ProcessSandbox()


def test_the_environment_chooses_too(tmp_path: Path) -> None:
    loaded = load_settings(
        {"ABYME_SANDBOX": "podman", "ABYME_IMAGE": "i"}, tmp_path, tmp_path / "-"
    )
    found = chosen_sandbox(loaded)
    assert isinstance(found, CommandSandbox) and found.name == "podman"


def test_doctor_says_why_the_chosen_one_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, why in (("bubblewrap", "apt install bubblewrap"), ("docker", "docker is not inst")):
        report = doctor.examine({"ABYME_SANDBOX": name, "ABYME_LOCAL_SERVERS": ""}, tmp_path)
        (items,) = (part.items for part in report.sections if part.name == "sandbox")
        said = {item.name: item.text for item in items}
        assert said["kind"] == name and why in said["worker"]
        assert "not installed: " in said["others"]
        assert not report.ready


def test_a_question_is_answered_in_bubblewrap(tmp_path: Path) -> None:
    if why := why_no_bubblewrap():
        pytest.skip(why)
    data = tmp_path / "log"
    data.write_text("fine\nERROR\n")
    asked = ("ask", "How many lines contain ERROR?", str(data), "--model", "reader")
    done = abyme(*asked, "--sandbox", "bubblewrap", "--json", runs=tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert '"bubblewrap"' in done.stdout and "1 line contains" in done.stdout
