"""The docs say what is so: pages made from the command are the command's, links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from abyme.journal.verify import verify

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def make_docs() -> ModuleType:
    return load_script("make_docs")


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_made_from_the_command_are_up_to_date(make_docs: ModuleType) -> None:
    advice = "run: python scripts/make_docs.py"
    assert make_docs.COMMANDS.read_text() == make_docs.commands(), advice
    assert make_docs.CONFIGURATION.read_text() == make_docs.configuration(), advice


def test_the_table_of_attempts_is_up_to_date() -> None:
    script = load_script("make_threat_table")
    advice = "run: python scripts/make_threat_table.py"
    assert script.PAGE.read_text() == script.page(), advice


def test_the_events_of_the_journal_are_up_to_date() -> None:
    script = load_script("make_journal_docs")
    assert script.PAGE.read_text() == script.page(), "run: python scripts/make_journal_docs.py"


def test_the_program_that_checks_a_journal_does(tmp_path: Path) -> None:
    (folder,) = (ROOT / "tests" / "journal" / "fixtures" / "v1").iterdir()
    (code,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "journal.md").read_text(), re.M | re.S
    )
    journal = folder / "journal.jsonl"

    def check(path: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert check(journal).stdout == f"48 lines, head {verify(folder).head}\n"
    (tmp_path / "changed").write_bytes(journal.read_bytes().replace(b"kettle", b"Kettle", 1))
    assert "line 2 does not follow" in check(tmp_path / "changed").stderr


def test_help_fits_80_columns(make_docs: ModuleType) -> None:
    assert max(map(len, make_docs.commands().split("\n"))) <= 100
    blocks = re.findall(r"^```\n(.*?)^```", make_docs.commands(), re.M | re.S)
    assert max(len(line) for block in blocks for line in block.split("\n")) <= 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def _commands() -> Iterator[list[str]]:
    """The command lines of the README that begin with abyme, comments and pipes cut off."""
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    for block in re.findall(r"^```\n(.*?)^```", text, re.M | re.S):
        for line in block.split("\n"):
            if found := re.search(r"(?:^|[|] |KEY )(abyme .*)", line):
                words = shlex.split(found[1], comments=True)
                yield words[: words.index("|")] if "|" in words else words


def test_the_readmes_commands_have_only_options_that_exist() -> None:
    from abyme.cli.main import app

    help_pages = (ROOT / "docs" / "commands.md").read_text()
    lines = list(_commands())
    assert len(lines) > 10
    for words in lines:
        assert words[1] in app.commands, words
        section = help_pages.partition(f"## abyme {words[1]}\n")[2].partition("\n## ")[0]
        for word in words[2:]:
            if word.startswith("-") and word != "-":
                assert f"{word} " in section, words


def test_the_readmes_python_is_python() -> None:
    for code in re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S):
        ast.parse(code)
