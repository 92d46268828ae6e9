"""How an answer shows itself in Python: as text, in one line, and as HTML that can do no harm."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme import Answer, Quote, Usage
from abyme.display import cost_text, printable
from support.runs import ask, cell

ANSWER = Answer(
    text="Two of them:\n  a.txt\n  b.txt",
    value=["a.txt", "b.txt"],
    status="complete",
    quotes=(
        Quote("renews by itself", "a.txt", 12, 0, 16, verified=True),
        Quote("b.txt", "b.txt", None, 0, 5),
    ),
    usage=Usage(1_200, 34, calls=5),
    cost=0.01234,
    seconds=2.14,
    turns=1,
    run="20261123-091350-75a966",
)
HOSTILE = "<script>alert('x')</script> ]]> --> \" ' & </pre></div> \x1b[31m \x00 \u202e \ud800 &lt;"


class Page(HTMLParser):
    """What a browser would make of some HTML: its elements, their attributes, its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[str] = set()
        self.styles = ""
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self._open.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.styles += "".join(value or "" for name, value in attrs if name == "style")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(answer: Answer) -> Page:
    """The answer's HTML, which must be harmless whatever the answer holds."""
    html = answer._repr_html_()
    html.encode("utf-8")
    page = Page(html)
    assert set(page.elements) <= {"div", "strong", "pre", "ul", "li", "code"}
    assert page.attributes <= {"class", "style"}
    assert "url(" not in page.styles and "#" not in page.styles, "nothing is loaded, no own colour"
    assert printable(page.text) == page.text
    return page


def test_as_text_and_in_one_line() -> None:
    assert str(ANSWER) == ANSWER.text
    assert repr(ANSWER) == (
        "Answer(status='complete', text='Two of them:\\n  a.txt\\n  b.txt', quotes=2, "
        "cost=$0.0123, turns=1, seconds=2.1, run='20261123-091350-75a966')"
    )
    long = msgspec.structs.replace(
        ANSWER, text="x" * 500, cost=None, status="partial", reason="max_turns: " + "y" * 500
    )
    assert repr(long).startswith("Answer(status='partial', reason='max_turns: yyy")
    assert f"text='{'x' * 80}…'" in repr(long) and "cost=None" in repr(long)
    assert len(repr(long)) < 320


@given(st.text(st.characters(exclude_categories=())))
def test_one_line_and_harmless_html_whatever_it_holds(text: str) -> None:
    quote = Quote(text[::-1] + "q", text, 1)
    answer = Answer(text, text, "partial", text, (quote, quote), run=text)
    assert "\n" not in repr(answer) and repr(answer).isprintable()
    page_of(answer)


def test_html_says_all_that_matters() -> None:
    page = page_of(ANSWER)
    for part in (
        "complete",
        ANSWER.text,
        "a.txt:12 ✓ verified",
        "renews by itself",
        "b.txt ✗ not verified",
        "1 turn · 5 calls · 1,234 tokens · $0.0123 · 2.1 s · run 20261123-091350-75a966",
    ):
        assert part in page.text, part
    assert "white-space:pre-wrap" in page.styles
    assert page.text.count("b.txt") == 2, "a quote that the answer holds is not shown twice"


def test_html_of_hostile_text() -> None:
    quote = Quote(HOSTILE + "!", HOSTILE, 1)
    answer = Answer(HOSTILE, None, "failed", HOSTILE, (quote,), run=HOSTILE)
    page = page_of(answer)
    assert "script" not in page.elements
    shown = (
        "<script>alert('x')</script> ]]> --> \" ' & </pre></div> \\x1b[31m \\x00 \\u202e \\ud800"
    )
    assert page.text.count(shown) == 5


def test_html_of_big_answers_is_cut_and_says_so() -> None:
    quotes = tuple(Quote(f"{n} " * 1_000, "a.txt", n) for n in range(1_000))
    answer = Answer("z" * 3_000_000, None, "complete", quotes=quotes)
    html = answer._repr_html_()
    assert len(html) < 100_000
    assert "(2,980,000 more of 3,000,000 characters)" in html
    assert "… 950 more quotes" in html


def test_an_answer_of_a_run(runs: Path) -> None:
    answer = ask(runs, [cell("FINAL('it is', quotes=['some text'])")])
    assert repr(answer).startswith("Answer(status='complete', text='it is', quotes=1, cost=$0, ")
    assert "text:1 ✓ verified" in page_of(answer).text


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (None, "cost unknown"),
        (0.0, "$0"),
        (0.00001, "<$0.0001"),
        (0.00005, "$0.0001"),
        (0.1, "$0.1"),
        (10.0, "$10"),
        (1234.5, "$1,234.5"),
    ],
)
def test_costs(cost: float | None, text: str) -> None:
    assert cost_text(cost) == text


def test_printable_keeps_what_people_write() -> None:
    family = "\U0001f468\u200d\U0001f469"
    kept = f"a\tb\nc d\u00a0: \u202f{family} 漢字 עברית"
    assert printable(kept) == kept
    assert printable("a\r\nb\x1b\x9b\u202e\u2066\u2028\ufeff\x7f") == (
        "a\nb\\x1b\\x9b\\u202e\\u2066\\u2028\\ufeff\\x7f"
    )
