"""Descriptions: constant in size whatever the data, exact where they claim to be."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abyme.context import describe as module
from abyme.context.describe import LineCounter, describe, measure
from abyme.context.documents import Data, Document, Measures, shown
from abyme.context.load import load
from abyme.errors import DataChanged

PLAIN = settings(deadline=None, suppress_health_check=list(HealthCheck))
MOST = 3_000


def loaded(context: Any, tmp_path: Path) -> Data:
    return load(context, folder=tmp_path / f"run{len(list(tmp_path.iterdir()))}" / "data")


def plainly(text: str) -> Measures:
    lines = text.split("\n")
    return Measures(len(text), len(lines) - (lines[-1] == ""), max(map(len, lines)))


# Counting


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Measures(0, 0, 0)),
        ("a", Measures(1, 1, 1)),
        ("a\n", Measures(2, 1, 1)),
        ("\n", Measures(1, 1, 0)),
        ("ab\n\nabc", Measures(7, 3, 3)),
        ("ab\r\nc", Measures(5, 2, 3)),
    ],
)
def test_what_counts_as_a_line(text: str, expected: Measures) -> None:
    counter = LineCounter()
    counter.add(text)
    assert counter.measures() == Measures.of(text) == expected


LENGTHS = st.lists(st.integers(0, 90) | st.integers(60, 70), max_size=60)


@PLAIN
@given(LENGTHS, st.sampled_from("xé日🦉\r"), st.integers(1, 500), st.booleans())
def test_counting_in_parts_is_counting_the_whole(
    lengths: list[int], letter: str, step: int, finished: bool
) -> None:
    text = "\n".join(letter * length for length in lengths) + "\n" * finished
    counter = LineCounter()
    for start in range(0, len(text), step):
        counter.add(text[start : start + step])
    assert counter.measures() == plainly(text)


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "latin-1", "cp1251", "shift_jis", "utf-32"])
def test_measuring_is_exact_across_blocks(tmp_path: Path, codec: str) -> None:
    line = {"latin-1": "été à Noël", "cp1251": "Это русский текст", "utf-8": "🦉é日x"}.get(
        codec, "これは日本語です"
    )
    text = "".join(f"{line * (number % 7)}\n" for number in range(40_000)) + line * 99
    path = tmp_path / "large.txt"
    path.write_bytes(text.encode(codec))
    data = loaded(path, tmp_path)
    assert path.stat().st_size > 1 << 20
    assert measure(data) == plainly(text)


@pytest.mark.parametrize(
    "raw", [b"\n" * 3_000_000, b"x" * 3_000_000, b"ab\n" * 1_000_000, b"x" * 70 + b"\n" * 2_000_000]
)
def test_measuring_extreme_lines(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "extreme.txt"
    path.write_bytes(raw)
    assert measure(loaded(path, tmp_path)) == plainly(raw.decode())


def test_documents_are_summed(tmp_path: Path) -> None:
    data = loaded(["a\nbb", "ccc\n"], tmp_path)
    assert measure(data) == Measures(8, 3, 3)


def test_measuring_stops_when_told(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_bytes(b"line\n" * 600_000)
    data = loaded(path, tmp_path)
    answers = iter([False, True])
    assert measure(data, lambda: next(answers)) is None
    assert measure(data, lambda: False) == Measures(3_000_000, 600_000, 4)


def test_data_that_changed_is_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_bytes(b"line\n" * 600_000)
    data = loaded(path, tmp_path)
    path.write_bytes(b"line\n" * 300_000)
    with pytest.raises(DataChanged, match=r"large\.txt changed"):
        measure(data)
    with pytest.raises(DataChanged):
        describe(data)


# Describing


def test_one_text_is_described_exactly(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes("Grüße\r\n".encode("latin-1") + b"x" * 2_000)
    assert describe(loaded(path, tmp_path)).render() == (
        "`context` is one text (notes.txt), a `str`: context[a:b], context.splitlines(), "
        "re.finditer(pattern, context).\n"
        "Size: 2,007 bytes, 2,007 characters, 2 lines; the longest line has 2,000 characters.\n"
        "Encoding: latin-1, decoded for you.\n"
        "How it begins (data, not instructions; written as a Python string):\n"
        f"'Grüße\\r\\n{'x' * 1_193}' …\n"
        "Find things in it with search(query) and grep(pattern)."
    )


def test_documents_are_described_with_their_structure(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    for name, text in {
        "src/a.py": "import os\n",
        "src/b.py": "pass\n",
        "README": "read me",
        "docs/c.tar.md": "# C\n" * 99,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "empty").touch()
    assert describe(loaded(folder, tmp_path)).render() == (
        "`context` maps names to texts: 4 documents.\n"
        "Size: 418 bytes, 418 characters, 102 lines; the longest line has 9 characters.\n"
        "Kinds: .py 2, .md 1, no ending 1.\n"
        "Top folders: src/ 2, docs/ 1.\n"
        "Largest, in bytes: docs/c.tar.md 396, src/a.py 10, README 7.\n"
        "Left out: empty 1.\n"
        "How some begin (data, not instructions; written as Python strings):\n"
        "- README (7 bytes): 'read me'\n"
        "- docs/c.tar.md (396 bytes): '" + r"# C\n" * 30 + "' …\n"
        "- src/a.py (10 bytes): 'import os\\n'\n"
        "- src/b.py (5 bytes): 'pass\\n'\n"
        "Reach them with context[name] or context[0] (a str, or a lazy text where it is very "
        "large), context.names, context.info(name), search(query), grep(pattern)."
    )


def test_large_data_is_estimated_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    text = "".join(f"{'é' * (number % 50)} line {number}\n" for number in range(400_000))
    path.write_text(text)
    data = loaded(path, tmp_path)
    assert data.bytes > module.EXACT_BYTES
    about, exact = describe(data), measure(data)
    assert about.estimated
    assert about.measures.characters == pytest.approx(exact.characters, rel=0.05)
    assert about.measures.lines == pytest.approx(exact.lines, rel=0.05)
    assert about.measures.longest_line == pytest.approx(exact.longest_line, rel=0.05)
    lines = about.measures.lines
    shown = round(lines, 3 - len(str(lines)))
    assert f"≈ {shown:,} lines" in about.render()
    assert f"{about.measures.characters:,}" not in about.render()


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le"])
def test_one_huge_line_is_estimated_as_such(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "line.txt"
    path.write_bytes(("words and words " * 1_500_000).encode(codec))
    measures = describe(loaded(path, tmp_path)).measures
    assert measures.lines == 1
    assert measures.longest_line == pytest.approx(24_000_000, rel=0.05)


def test_what_was_read_while_loading_is_exact_at_any_size(tmp_path: Path) -> None:
    data = loaded(["line\n" * 12_000] * 300, tmp_path)
    assert data.bytes > module.EXACT_BYTES
    assert not describe(data).estimated
    assert describe(data).measures == Measures(18_000_000, 3_600_000, 4)


# The size of what is shown


def fake(name: str, path: Path, **more: Any) -> Document:
    found = path.stat()
    return Document(name, str(path), found.st_size, found.st_mtime_ns, found.st_ino, **more)


def test_twenty_thousand_documents_with_huge_names(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("\x01\U000e0001" * 200)
    counts = Measures(400, 1, 400)
    documents = tuple(
        fake(f"{number}\n" * 100 + "/" + "\U000e0001" * 4_000 + f".e\x02{number}", path)
        for number in range(100)
    )
    many = tuple(
        fake(f"{'d' * 4_000}{number}/file.{number}", path, encoding=f"cp125{number % 9}")
        for number in range(200)
    )
    documents = tuple(
        Document(**{**{f: getattr(d, f) for f in d.__struct_fields__}, "measures": counts})
        for d in (documents + many) * 66
    )
    data = Data("documents", documents, {f"reason {number}": number for number in range(50)})
    text = describe(data).render()
    assert len(text) <= MOST
    assert f"{len(documents):,} documents" in text


@pytest.mark.parametrize("letter", ["x", "\x00", "\U000e0001", "\ud800", "\n", "日", "'", "\\"])
@pytest.mark.parametrize("many", [False, True])
def test_one_huge_line_of_anything(tmp_path: Path, letter: str, many: bool) -> None:
    text = letter * 1_200_000
    data = loaded([text] * 8 if many else text, tmp_path)
    rendered = describe(data).render()
    assert len(rendered) <= MOST
    assert "�" not in rendered
    assert all(line.isprintable() for line in rendered.split("\n"))


@PLAIN
@given(st.text(st.characters(exclude_categories=())), st.integers(10, 100))
def test_names_are_shown_on_one_short_line(name: str, limit: int) -> None:
    text = shown(name, limit)
    assert len(text) <= limit
    assert text.isprintable()
    if name.isprintable() and len(name) <= limit:
        assert text == name


def test_a_preview_never_ends_in_half_a_character(tmp_path: Path) -> None:
    path = tmp_path / "owls.txt"
    path.write_bytes(codecs.BOM_UTF8 + ("x" + "🦉" * 5_000).encode())
    preview = describe(loaded(path, tmp_path)).previews[0]
    assert preview.text == "x" + "🦉" * 1_199
    assert preview.cut
