"""search, grep and locate over real files, against what the decoded text says."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abyme.inside import lines as lines_module
from abyme.inside import ranking as ranking_module
from abyme.inside.documents import Store, UnknownDocument
from abyme.inside.hits import Passages
from abyme.inside.search import Finder
from abyme.inside.terms import terms_of

MakeFinder = Callable[..., Finder]
WORDS = (
    "river stone market letter window garden summer paper silver engine valley "
    "number story winter table forest signal history method value return object"
)


@pytest.fixture
def make_finder(tmp_path: Path) -> MakeFinder:
    """A finder over texts, written in the encoding given; ``bom`` bytes come before each."""

    def make(
        texts: dict[str, str | bytes], encoding: str = "utf-8", *, limit: int = 1 << 30
    ) -> Finder:
        paths, records = [], []
        bom = "\ufeff".encode(encoding) if encoding.startswith("utf-16") else b""
        for number, (name, text) in enumerate(texts.items()):
            data = text if isinstance(text, bytes) else bom + text.encode(encoding)
            paths.append(tmp_path / f"{number}.txt")
            paths[-1].write_bytes(data)
            record = {"name": name, "bytes": len(data), "encoding": encoding, "bom": len(bom)}
            records.append(record | {"errors": "surrogateescape"})
        kind = "text" if len(texts) == 1 else "documents"
        return Finder(
            Store(kind, records, lambda at, count: [os.open(paths[at], os.O_RDONLY)], limit)
        )

    return make


def prose(size: int, seed: int = 1) -> str:
    """Words in lines, the same for the same seed."""
    rng, words, parts = random.Random(seed), WORDS.split(), []
    while size > 0:
        line = " ".join(rng.choices(words, k=12)) + "\n"
        parts.append(line)
        size -= len(line)
    return "".join(parts)


PLANTED = "The heron's nesting place is written on the back of the brass barometer.\n"


def test_a_planted_passage_comes_first(make_finder: MakeFinder) -> None:
    text = prose(1_500_000) + PLANTED + prose(1_500_000, 2)
    found = make_finder({"book": text}).search("Where is the nesting place of the heron?")
    assert "brass barometer" in found[0].text
    assert found[0].score > 2 * found[1].score if len(found) > 1 else True


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "latin-1", "cp1252", "utf-32-be"])
def test_positions_are_characters_of_the_document(make_finder: MakeFinder, encoding: str) -> None:
    text = prose(400_000) + "café über\r\n" * 2000 + PLANTED + prose(200_000, 2)
    finder = make_finder({"a": prose(5000), "b": text, "c": ""}, encoding)
    for query in ("nesting heron", "café", "river signal", "ÜBER"):
        for passage in finder.search(query, k=5, documents="b"):
            assert text[passage.start : passage.end] == passage.text
            assert passage.line == text.count("\n", 0, passage.start) + 1
            assert passage.document == "b"
    assert finder.search("heron nesting")[0].document == "b"
    assert "café" in finder.search("café")[0].text
    assert "über" in finder.search("ÜBER")[0].text


@pytest.mark.parametrize("encoding", ["utf-8", "shift_jis", "utf-16-be"])
def test_cjk_is_found_by_bigrams(make_finder: MakeFinder, encoding: str) -> None:
    text = (
        "今日は天気がいいです。\n" * 5000 + "鷺の巣は灯台の裏にある。\n" + "明日も晴れる。\n" * 5000
    )
    passage = make_finder({"a": text}, encoding).search("灯台の裏")[0]
    assert "灯台の裏" in passage.text
    assert text[passage.start : passage.end] == passage.text


def test_invalid_bytes_do_no_harm(make_finder: MakeFinder) -> None:
    data = b"\xff\xfe\x80 needle \xe6\xbc\n" * 300
    text = data.decode("utf-8", "surrogateescape")
    finder = make_finder({"a": data})
    for passage in finder.search("needle"):
        assert text[passage.start : passage.end] == passage.text
    assert len(finder.grep("needle \udce6")) == 300


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("function", "two functions here", True),
        ("caching", "the cache", True),
        ("running", "it runs", True),
        ("studies", "one study", True),
        ("user", "x = getUserName()", True),
        ("server", "class HTTPServer:", True),
        ("userName", "user_name = 1", True),
        ("max_tokens", "maxTokens = 3", True),
        ("art", "particle", False),
        ("art", "artificial", False),
        ("use", "because", False),
        ("12", "in 2012", False),
        ("12", "chapter 12.", True),
        ("кот", "Кот сидит", True),
        ("кот", "который", True),
        ("кот", "скот", False),
        ("THE", "the end", True),
        ("!!", "what?!!", True),
    ],
)
def test_words_match_in_their_forms(
    make_finder: MakeFinder, query: str, text: str, found: bool
) -> None:
    assert bool(make_finder({"a": f"{text}\n"}).search(query)) == found


def test_terms_of_a_question() -> None:
    words = [term.word for term in terms_of("Which function is a least-recently-used cache?")]
    assert words == ["function", "least", "recently", "used", "cache"]
    assert [term.word for term in terms_of("to be or not to be")] == ["to", "be", "or", "not"]
    assert len(terms_of(" ".join(f"word{n}" for n in range(100)))) <= 24
    assert terms_of(" \n") == []


def test_words_joined_by_a_bar_count_as_one(make_finder: MakeFinder) -> None:
    finder = make_finder({"a": prose(50_000) + "It deletes folders.\n" + prose(50_000, 2)})
    found = finder.search("erase|remove|delete folder|directory|")
    assert "It deletes folders." in found[0].text
    assert list(found.terms) == ["erase|remove|delete", "folder|directory"]
    assert found.terms["erase|remove|delete"] == 1
    assert finder.search("erase|remove") == []


def test_headlines_and_names_of_documents_count(make_finder: MakeFinder) -> None:
    body = "The kettle stands on a shelf.\n"
    headings = ("# The kettle\n", "kettle::\n", "def kettle():\n", "The kettle\n==========\n")
    for heading in headings:
        texts = {"a": prose(9_000) + body, "b": prose(9_000) + heading, "c": prose(9_000) + body}
        assert make_finder(texts).search("kettle")[0].document == "b"
    named = {"x.txt": body * 3, "kettle.txt": body * 3, "y.txt": body * 3, "z.txt": ""}
    assert make_finder(named).search("kettle shelf")[0].document == "kettle.txt"


def test_passages_do_not_overlap_and_come_best_first(make_finder: MakeFinder) -> None:
    found = make_finder({"a": prose(100_000)}).search("river market", k=20)
    assert len(found) == 20
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
    spans = sorted((p.start, p.end) for p in found)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert all(300 < end - start < 1300 for start, end in spans)


def test_a_text_without_line_breaks_gives_passages_too(make_finder: MakeFinder) -> None:
    text = prose(3_000_000).replace("\n", " ") + PLANTED.strip() + prose(90_000).replace("\n", " ")
    passage = make_finder({"a": text}).search("heron nesting barometer")[0]
    assert "brass" in passage.text
    assert text[passage.start : passage.end] == passage.text
    blob = "x" * 3_000_000 + " heron " + "y" * 3000
    assert "heron" in make_finder({"a": blob}).search("heron")[0].text


def test_frequent_words_are_sampled_and_rare_ones_still_lead(
    make_finder: MakeFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking_module, "_MAX_MARKS", 200)
    text = prose(300_000) + PLANTED + prose(300_000, 2)
    found = make_finder({"a": text}).search("river heron market stone", k=3)
    assert "heron" in found[0].text
    assert found.terms["river"] > 500


def test_search_in_some_documents_and_misuse(make_finder: MakeFinder) -> None:
    finder = make_finder({"a.txt": "heron one\n", "b.txt": "heron two\n", "c.txt": "\n"})
    assert {p.document for p in finder.search("heron")} == {"a.txt", "b.txt"}
    assert [p.document for p in finder.search("heron", documents=["b.txt"])] == ["b.txt"]
    assert [p.document for p in finder.search("heron", documents=-3)] == ["a.txt"]
    assert finder.search("heron", k=0) == []
    assert finder.search("absentword") == []
    with pytest.raises(UnknownDocument, match=r"a\.txt"):
        finder.search("heron", documents="a.txt.gz/a.txt")
    with pytest.raises(IndexError):
        finder.grep("heron", documents=7)
    with pytest.raises(ValueError, match="word"):
        finder.search("  ")


def test_results_print_compactly(make_finder: MakeFinder) -> None:
    name = "folder/" * 40 + "end.txt"
    finder = make_finder({name: ("heron " * 2000 + "\n") * 3, "b": prose(50_000)})
    printed = str(finder.search("heron river", k=3))
    assert "#1 folder/folder" in printed
    assert "end.txt:1" in printed
    assert "score" in printed
    assert max(map(len, printed.splitlines())) < 700
    hits = finder.grep("river|heron")
    assert "matching lines (2 documents looked at)" in str(hits)
    assert "more in this list" in str(hits)
    assert len(str(hits)) < 20_000
    assert max(map(len, str(hits).splitlines())) < 300
    assert "stopped at the limit" in str(finder.grep("river", limit=2))
    assert str(Passages([], 1, {"a": 0})).startswith("0 passages")


def naive_grep(pattern: str, text: str, flags: int) -> list[tuple[int, int, int]]:
    """Line, start and end of the first match of each line, the plain way."""
    found, begin = [], 0
    parts = text.split("\n")
    for number, line in enumerate(parts, 1):
        last = number == len(parts)
        match = re.search(pattern, line.removesuffix("\r"), flags)
        if match and not (last and not line):
            found.append((number, begin + match.start(), begin + match.end()))
        begin += len(line) + 1
    return found


GREP_PATTERNS = [
    *["a", "^a", "b$", "^$", r"\s", r"a\s+b", "(?=a)", r"\Aa", r"a\Z", "[^a]+", "a.*b", ".*", ""],
    *[r"\W", r"\bé", r"\B", "(?s)a.*", "(?i)A", r"(a|\n)b", "x|$", r"a++b", r"(?<!a)b", r"\r"],
]


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.sampled_from(["a", "b", "é", "漢", " ", "\n", "\r\n", "\r"]), max_size=40),
    st.sampled_from(GREP_PATTERNS),
    st.booleans(),
    st.sampled_from(["utf-8", "utf-16-le"]),
)
def test_grep_matches_each_line_by_itself(
    make_finder: MakeFinder, parts: list[str], pattern: str, ignore_case: bool, encoding: str
) -> None:
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "_PART", 16)
        hits = make_finder({"a": text}, encoding).grep(pattern, ignore_case=ignore_case)
    found = [(hit.line, hit.start, hit.end) for hit in hits]
    assert found == naive_grep(pattern, text, re.IGNORECASE if ignore_case else 0)
    lines = text.split("\n")
    assert all(hit.text == lines[hit.line - 1].removesuffix("\r") for hit in hits)


def test_grep_limits_and_counts(make_finder: MakeFinder) -> None:
    finder = make_finder({"a": "x\n" * 10, "b": "x\n" * 10, "c": "y\n"})
    assert (len(finder.grep("x", limit=5)), finder.grep("x", limit=5).looked_at) == (5, 1)
    assert finder.grep("x", limit=5).truncated
    assert not finder.grep("x", limit=20).truncated
    assert finder.grep("x").looked_at == 3
    assert [hit.document for hit in finder.grep("X", ["c", "b"], ignore_case=True)] == ["b"] * 10
    assert finder.grep(re.compile("^Y", re.IGNORECASE))[0].document == "c"
    with pytest.raises(re.error):
        finder.grep("(")
    with pytest.raises(TypeError):
        finder.grep(re.compile(b"x"))  # type: ignore[arg-type]


def test_a_long_line_is_cut_around_the_match(make_finder: MakeFinder) -> None:
    text = "first\n" + "x" * 5000 + "needle" + "y" * 5000 + "\nlast\n"
    (hit,) = make_finder({"a": text}).grep("needle")
    assert len(hit.text) == 500
    assert "needle" in hit.text
    assert hit.text in text
    assert text[hit.start : hit.end] == "needle"


def test_grep_goes_through_lazy_documents_without_building_them(make_finder: MakeFinder) -> None:
    text = prose(3_000_000) + PLANTED
    (hit,) = make_finder({"a": text}, limit=1000).grep("brass")
    assert text[hit.start : hit.end] == "brass"
    assert hit.line == text.count("\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "latin-1", "shift_jis"])
def test_locate_gives_bytes_on_disk(make_finder: MakeFinder, tmp_path: Path, encoding: str) -> None:
    text = (
        "one\r\ntwo é\n\nthree, four\n" if encoding != "shift_jis" else "日本\r\n\nthree, four 語\n"
    )
    finder = make_finder({"a": "nothing\n", "b": text}, encoding)
    raw = (tmp_path / "1.txt").read_bytes()
    for quote in (text[4:9], "three,", text[-3:]):
        place = finder.locate(quote)
        assert place is not None
        assert place["document"] == 1
        assert raw[place["start"] : place["end"]].decode(encoding) == quote
        assert place["line"] == text.count("\n", 0, text.index(quote)) + 1
    assert finder.locate("three,", "b") == finder.locate("three,", 1)
    assert finder.locate("three,", "a") is None
    assert finder.locate("three,  four") is None
    assert finder.locate("") is None
    assert finder.locate("三") is None


def test_what_search_and_grep_found_can_be_located(make_finder: MakeFinder) -> None:
    finder = make_finder({"a": prose(9000), "b": "\r\n".join([prose(500), PLANTED.strip(), "end"])})
    (passage,) = finder.search("heron", k=1)
    (hit,) = finder.grep("heron")
    for found in (passage, hit):
        place = finder.locate(found.text, found.document)
        assert place is not None
        assert place["line"] == found.line


def test_speed_is_printed(make_finder: MakeFinder) -> None:
    finder = make_finder({"a": prose(10_000_000)})
    calls: list[tuple[str, Callable[[], object]]] = [
        ("search", lambda: finder.search("the heron in the forest of stone")),
        ("grep", lambda: finder.grep("zebra")),
        ("locate", lambda: finder.locate("zebra")),
    ]
    for name, call in calls:
        started = time.perf_counter()
        call()
        print(f"{name}: {10 / (time.perf_counter() - started):.0f} MB/s")
