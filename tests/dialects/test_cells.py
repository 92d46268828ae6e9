"""Cells under hostile and arbitrary replies; what ordinary replies lead to is in the corpus."""

from __future__ import annotations

import time
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from abyme.dialects.cells import cells, parse, quietly, spoken
from abyme.dialects.prose import prose_finish

HOSTILE = {
    "closing fences": "```\n" * 60_000,
    "opening fences": "```python\n" * 25_000,
    "open strings": '```python\nx="""\n' * 15_000,
    "open strings, closed fences": '```python\nx="""\n```\n' * 12_000,
    "open brackets": "```python\nx=(\n```\n" * 15_000,
    "a long program": "```python\n" + "x=1\n" * 250_000 + "```",
    "long broken programs": ("```python\n" + "x=1\n" * 12_000 + "(\n```\n") * 5,
    "bare fences": "```\nf()\n```\n" * 20_000,
    "thoughts on a line": "<think></think>" * 70_000,
    "open thoughts": "<think>\n" * 120_000,
    "a line of tildes": "~" * 1_000_000 + "`",
    "a line of backticks": "`" * 1_000_000 + "x`",
    "a line of spaces": " " * 1_000_000 + "```",
    "a line of list markers": "- " * 500_000,
    "lines": "\n" * 250_000,
    "finals": "FINAL(\n" * 40_000,
    "closed finals": "FINAL(x)\n" * 25_000,
    "finals of quotes": 'FINAL("\n' * 40_000,
    "markdown": "> " * 300_000 + "*" * 300_000,
}
PATIENCE = 5.0
"""Seconds of CPU. Each took less than 0.7 at first; what is quadratic would take minutes."""


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_reply_is_read_in_linear_time(name: str) -> None:
    reply = HOSTILE[name]
    started = time.process_time()
    cells(reply)
    prose_finish(reply)
    assert time.process_time() - started < PATIENCE


def test_a_hundred_thousand_fences_take_about_a_second() -> None:
    started = time.process_time()
    assert len(cells("```python\nx\n```\n" * 50_000)) == 1_000
    assert time.process_time() - started < PATIENCE


@pytest.mark.parametrize(
    "code",
    [
        "(" * 100_000,
        "-" * 100_000 + "1",
        "1+" * 50_000 + "1",
        "a" + ".b" * 50_000,
        "f" + "()" * 50_000,
        "[" * 90 + "]" * 90,
        "x = '\ud800'",
        "x = '\0'",
        "".join(" " * depth + "if 1:\n" for depth in range(150)),
    ],
    ids=lambda code: code[:6],
)
def test_code_that_no_parser_takes_is_a_cell_like_any_other(code: str) -> None:
    assert cells(f"```repl\n{code}\n```") == (code,)
    cells(f"```\n{code}\n```")


def test_a_cell_ends_at_the_first_fence_where_no_fence_completes_it() -> None:
    reply = '```repl\nx = """open\n```\nmore\n```\nand more'
    assert cells(reply)[0] == 'x = """open'


def test_the_model_s_warnings_are_not_the_host_s() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cells('```repl\nx = "\\d"\ny = 1 is 1\n```') == ('x = "\\d"\ny = 1 is 1',)


def test_spoken_leaves_out_thoughts_and_other_languages() -> None:
    reply = "a\n<think>b</think>c\n```json\nd\n```\n```\ne\n```\nf"
    assert [line for line in spoken(reply).split("\n") if line.strip("` ")] == ["a", "c", "e", "f"]


FENCES = ["```", "````", "~~~", "repl", "python", "json", "\n", "\n", "\r\n", "<repl>", "</repl>"]
CODE = [
    '"""',
    "'''",
    "\\",
    "(",
    ")",
    "x = 1",
    "    ",
    "\t",
    ">>> ",
    "\0",
    "\ud800",
    "é",
    "await f()",
]
PROSE = ["<think>", "</think>", "FINAL(", "FINAL_VAR(", "- ", "1. ", "**", "`", '"', "'"]
REPLY_PARTS = st.sampled_from([*FENCES, *CODE, *PROSE])


@settings(deadline=None, max_examples=400)
@given(st.lists(REPLY_PARTS, max_size=40).map("".join) | st.text(max_size=200))
@example("</think>")
def test_no_reply_raises(reply: str) -> None:
    found = cells(reply)
    assert all(code.strip() for code in found)
    assert sum(map(len, found)) <= len(reply)
    prose_finish(reply)


PROGRAMS = st.sampled_from(
    [
        "x = 1",
        'print("""\n```\nfence\n```\n""")',
        "s = '''\n```python\nx\n```'''",
        "for i in range(3):\n\n    print(i)",
        "r = await f()",
        "# only a comment",
        "print('``` inline')",
        "def f():\n    '''\n    ```\n    doc\n    '''\n    return 1",
    ]
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(PROGRAMS, min_size=1, max_size=5),
    st.sampled_from(["```", "````", "~~~"]),
    st.sampled_from(["repl", "python", "py", "Python", "REPL "]),
    st.sampled_from(["", "Then I look.\n", "1. a list\n\n", "```json\n{}\n```\n"]),
)
def test_programs_come_out_as_they_went_in(
    programs: list[str], mark: str, tag: str, between: str
) -> None:
    reply = "".join(f"{between}{mark}{tag}\n{code}\n{mark}\n" for code in programs)
    assert cells(reply) == tuple(programs)
    assert cells(reply.replace("\n", "\r\n")) == tuple(programs)
    with quietly():
        assert all(parse(code) is not None for code in programs)
