"""What is data and what is the question, in any order; and what a typo is told."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from abyme.cli.ask.arguments import Asked, sort_arguments
from abyme.context import matching
from abyme.context.matching import Pattern
from abyme.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with some data, which is the current one."""
    for name in ("contracts/a.txt", "contracts/old/b.txt", "app.log", "my notes.txt", "src/m.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pipe() -> Iterator[io.TextIOWrapper]:
    """Standard input with something piped into it."""
    reading, writing = os.pipe()
    os.write(writing, b"piped\n")
    os.close(writing)
    with io.TextIOWrapper(os.fdopen(reading, "rb")) as stream:
        yield stream


def sort(*words: str, question: str | None = None, stdin: io.TextIOWrapper | None = None) -> Asked:
    return sort_arguments(words, question, stdin)


@pytest.mark.parametrize(
    "words",
    [
        ("Who signed first?", "contracts/"),
        ("contracts/", "Who signed first?"),
        ("contracts/", "app.log", "Who signed first?"),
        ("app.log", "Who signed first?", "contracts/"),
    ],
)
def test_what_exists_is_data_and_the_rest_is_the_question(words: tuple[str, ...]) -> None:
    asked = sort(*words)
    assert asked.question == "Who signed first?"
    pieces = asked.context if isinstance(asked.context, list) else [asked.context]
    assert pieces == [Path(word) for word in words if word != "Who signed first?"]


@pytest.mark.parametrize(
    "question",
    [
        "errors",
        "why?",
        "what is in contracts/a.txt?",
        "what does 3.14 stand for",
        "¿qué falló?",
        "wer?",
        "how many **bold** words?",
        "[urgent] what broke?",
        "-v or -q?",
        "list the contracts",
    ],
)
def test_questions_are_not_taken_for_paths(question: str) -> None:
    assert sort(question, "contracts").question == question


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("contrcts/", "contracts/"),
        ("contrcts", "contracts"),
        ("Contracts", "contracts"),
        ("app.logg", "app.log"),
        ("ap.log", "app.log"),
        ("contracts/a.tx", "contracts/a.txt"),
        ("contrcts/old/b.txt", "contracts/old/b.txt"),
        ("scr/m.py", "src/m.py"),
        ("my notes.txtt", "my notes.txt"),
        ("./contrcts", "contracts"),
    ],
)
def test_a_typo_is_an_error_that_names_the_nearest_path(typo: str, meant: str) -> None:
    for words in ((typo, "Who signed first?"), ("Who signed first?", typo), (typo, "app.log")):
        with pytest.raises(DataError) as raised:
            sort(*words)
        assert f"{typo} does not exist: did you mean {meant}?" in str(raised.value)
        assert "\n" not in str(raised.value)


def test_beside_a_sentence_a_single_word_is_a_path() -> None:
    with pytest.raises(DataError, match="quarterly does not exist: check the path"):
        sort("Who signed first?", "quarterly")


@pytest.mark.parametrize("word", ["nowhere/at/all", "zzz.qqq", "/zzz/qqq"])
def test_a_path_unlike_any_other_is_an_error_too(word: str) -> None:
    with pytest.raises(DataError, match="does not exist"):
        sort(word, "Who signed first?")


def test_an_address_is_not_fetched() -> None:
    with pytest.raises(DataError, match="download it"):
        sort("https://example.com/a.txt", "Who signed first?")


def test_patterns() -> None:
    for pattern in ("contracts/*.txt", "contracts/**", "**/*.txt", "*/", "./*.log", "app.l?g"):
        assert sort("q q", pattern).context == Pattern(pattern)
        assert sort(pattern, "app.log", "what is it?").context == [
            Pattern(pattern),
            Path("app.log"),
        ]
    with pytest.raises(DataError, match=r"no file matches \*\.csv"):
        sort("q q", "*.csv")


def test_a_pattern_over_links_that_go_round_and_out_is_at_once_a_pattern_or_none(
    here: Path,
) -> None:
    (here / "rootlink").symlink_to("/")
    (here / "round").symlink_to(".")
    (here / "contracts" / "self").symlink_to("self")
    began = time.monotonic()
    assert sort("q q", "**/*.py").context == Pattern("**/*.py")
    for nothing in ("**/hostname*", "*/etc/*", "round/*/app.log"):
        with pytest.raises(DataError, match="no file matches"):
            sort("q q", nothing)
    assert time.monotonic() - began < 30


def test_a_pattern_that_takes_long_to_look_for_is_one(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "_MOST_ENTRIES", 3)
    assert sort("q q", "**/nowhere").context == Pattern("**/nowhere")
    # What asks for something here alone does not look further.
    assert sort("*who* is it?", "contracts/old").question == "*who* is it?"


def test_what_ends_like_a_question_is_one_where_nothing_else_is(here: Path) -> None:
    (here / "part1").write_text("one")
    assert sort("part?", "app.log") == Asked("part?", Path("app.log"))
    assert sort("part?", question="q").context == Pattern("part?")
    assert sort("part?", "who is it?").context == Pattern("part?")
    (here / "errors").mkdir()
    assert sort("errors?", "app.log").question == "errors?"


@pytest.mark.parametrize("word", ["[signed]", "who?*", "and/or?"])
def test_a_question_that_looks_like_a_pattern_is_told_the_way(word: str) -> None:
    with pytest.raises(DataError, match=r"no file matches .* \(--question takes"):
        sort(word, "contracts")
    assert sort("contracts", question=word).question == word


@pytest.mark.parametrize("word", ["", " ", "\t"])
def test_an_empty_argument_is_said(word: str) -> None:
    for words in ((word, "app.log"), ("q q", "app.log", word), (word,)):
        with pytest.raises(ConfigError, match="an argument is empty: is a variable"):
            sort(*words)


def test_the_same_path_twice_is_read_once() -> None:
    assert sort("q q", "app.log", "app.log").context == Path("app.log")


def test_no_question_and_too_many() -> None:
    with pytest.raises(ConfigError, match="no question: all arguments name data"):
        sort("contracts", "app.log")
    with pytest.raises(ConfigError, match="no question: abyme ask"):
        sort()
    with pytest.raises(ConfigError, match="3 arguments are no files"):
        sort("who", "signed", "first?", "contracts")
    with pytest.raises(ConfigError, match="2 arguments are no files"):
        sort("who signed?", "and where is it?", "contracts")


def test_a_question_by_its_own_option() -> None:
    assert sort("app.log", question="contracts") == Asked("contracts", Path("app.log"))
    with pytest.raises(DataError, match="zzz does not exist"):
        sort("zzz", question="who?")


def test_standard_input(pipe: io.TextIOWrapper) -> None:
    assert sort("how many?", stdin=pipe).context is pipe.buffer
    assert sort("how many?", "-", stdin=pipe).context is pipe.buffer
    assert sort("how many?", "-", "app.log", stdin=pipe).context == [pipe.buffer, Path("app.log")]
    # In a loop over lines (`while read`), what is piped in belongs to the loop.
    assert sort("how many?", "app.log", stdin=pipe).context == Path("app.log")


def test_nothing_is_piped_in() -> None:
    with Path(os.devnull).open() as nothing, pytest.raises(ConfigError, match="no data"):
        sort_arguments(["how many?"], None, nothing)
    with pytest.raises(ConfigError, match="no data"):
        sort("how many?", stdin=None)
    with pytest.raises(DataError, match="standard input is closed"):
        sort("how many?", "-", stdin=None)


@pytest.mark.parametrize("word", ["\0", "a\0b.txt", "x" * 5000, "x" * 5000 + ".txt", "\udcff", ""])
def test_strange_words_are_no_crash(word: str) -> None:
    try:
        sort(word, "contracts")
    except (ConfigError, DataError) as error:
        assert "\n" not in str(error) and "\0" not in str(error)
