"""A text that is too large for a ``str``, as code in a real worker has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from abyme.sandbox.process import ProcessSandbox
from support.repl import run_cell, run_cells

LINE = "line {} holds some words, é and 漢字\n"
SMALL = ProcessSandbox(text_bytes=1_000, grace_seconds=10)


WORDS = b"some words stand here\n"


def with_holes(path: Path, size: int) -> Path:
    """A text of ``size`` bytes that takes few of the disk: NUL bytes, and 32 islands of words.

    They lie also where a text is looked at to learn its encoding. A newline begins each island,
    its number ends it.
    """
    with path.open("wb") as file:
        file.write(WORDS * 4_000)
        for number in range(1, 32):
            file.seek(number * size // 32)
            file.write(b"\n" + WORDS * 1_000 + b"island %02d\n" % number)
        file.seek(size - 22_000)
        file.write(WORDS * 1_000)
    assert path.stat().st_blocks * 512 < size // 20
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(LINE.format(number) for number in range(5_000)), encoding="utf-8")
    return path


def test_the_functions_of_re_take_it_like_a_str(tmp_path: Path, text: Path) -> None:
    code = f"""\
import re
from re import findall, finditer, sub
text = "".join({LINE!r}.format(number) for number in range(5_000))
assert type(context).__name__ == "LazyText" and len(context) == len(text)
p, c = r"line (\\d+)7 (holds)", re.compile(r"(?P<number>\\d+)7")
assert findall(p, context) == findall(p, text) == re.findall(p, string=context)
assert [m.span() for m in finditer(c, context)] == [m.span() for m in finditer(c, text)]
assert [m[0] for m in re.finditer("LINE 99+ ", context, re.I)] == ["line 99 ", "line 999 "]
assert re.search(c, context).span() == re.search(c, text).span()
assert re.search("nothing", context) is re.match("x", context) is None
assert re.match("line 0", context).end() == 6 and re.fullmatch("x", context) is None
assert re.split("\\n", context)[4_000] == text.split("\\n")[4_000]
assert sub(r"line (\\d+) .*\\n", r"\\1 ", context) == sub(r"line (\\d+) .*\\n", r"\\1 ", text)
assert re.subn("é", "e", context, count=3) == re.subn("é", "e", text, count=3)
assert re.sub("é", "e", string=context, count=2, flags=0) == text.replace("é", "e", 2)
assert context.splitlines()[-1] == text.splitlines()[-1]
assert [x.upper() for x in context.split("\\n")[:2]] == text.upper().split("\\n")[:2]
assert c.findall(text) == context.findall(c) and re.findall("a", "banana") == ["a"] * 3
lines = context.splitlines()
print("all of it", c.findall.__self__ is c)"""
    result = run_cell(tmp_path, code, context=text, sandbox=SMALL)
    assert result.error is None, result.error
    assert "all of it" in result.output
    assert ("lines", "lazy") in [(each.name, each.size) for each in result.variables]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("print(context)", "print slices"),
        ("x = f'{context}'", "format slices"),
        ("str(context)", "LazyText"),
        ("context + 'x'", "join slices"),
        ("'x' + context", "join slices"),
        ("context.lower()", "IGNORECASE"),
        ("context.replace('a', 'b')", "slice first"),
        ("llm_query(context)", "slices t[a:b]"),
        ("llm_query_batched([context])", "slices t[a:b]"),
        ("FINAL(context)", "slices"),
        ("import re; re.compile('a').finditer(context)", "t.finditer(p)"),
        ("import json; json.loads(context)", "slices t[a:b]"),
        ("import io; io.StringIO(context)", "lines"),
        ("{context: 1}", "no str"),
        ("''.join([context])", "no str"),
        ("context.splitlines().sort()", "LazyList"),
        ("context.splitlines() + ['x']", r"list(pieces[a:b])"),
        ("print(context.splitlines())", "pieces[a:b]"),
        ("FINAL(context.split())", "pieces[a:b]"),
        ("context.split('\\n', 1)", "find"),
        ("context[:]", "pieces"),
        ("import re; re.sub('x', 'y', context)", "in pieces"),
        ("import re; re.fullmatch('(?s).*', context)", "slices"),
    ],
)
def test_what_would_copy_it_says_what_to_do(tmp_path: Path, code: str, advice: str) -> None:
    path = with_holes(tmp_path / "large.txt", 80 << 20)
    result = run_cell(tmp_path, code, context=path, sandbox=SMALL)
    assert result.error is not None
    assert advice in result.error.message
    assert advice in result.error.traceback


def test_the_functions_of_re_are_untouched_where_every_text_fits(tmp_path: Path) -> None:
    code = "import re\nprint(hasattr(re.search, '__wrapped__'))"
    assert run_cell(tmp_path, code).output == "False\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "endless",
    [
        "context.count('needle')",
        "context.count('aa')",
        "context.find('needle')",
        "context.rfind('needle')",
        "'needle' in context",
        "context.search('needle')",
        "context.findall('(?i)needle')",
        "len(context.splitlines())",
        "len(context.split())",
        "sum(1 for line in context)",
        "context.lines(10**9)",
    ],
)
def test_nothing_goes_on_after_an_interrupt(tmp_path: Path, endless: str) -> None:
    path = with_holes(tmp_path / "large.txt", 2 << 30)
    cells = ["kept = 1", f"while True:\n    {endless}", "print(kept, context[5:10])"]
    results = run_cells(tmp_path, cells[:1] + cells[2:], context=path, sandbox=SMALL)
    assert results[1].output == "1 words\n"
    stopped = run_cells(tmp_path, cells, context=path, sandbox=SMALL, seconds=1.5)
    assert stopped[1].ended == "interrupted"
    assert stopped[2].output == "1 words\n"


@pytest.mark.slow
def test_five_gigabytes_take_little_memory(tmp_path: Path) -> None:
    """A file with holes: shows that positions, index and memory hold, not how fast a disk is.

    What is looked for lies behind 4 GiB, the last place that 32 bits can count.
    """
    size = 5 << 30
    path = with_holes(tmp_path / "large.txt", size)
    last = 31 * size // 32 + 1 + 22_000
    code = f"""\
assert context.find("island 31") == {last}
assert len(context) == {size} and context[-5:] == "here\\n"
assert context.rfind("island 31") == {last}
assert context.search("island 31\\n", pos={last} - (1 << 30)).start() == {last}
assert context[{last} - 5 : {last} + 9] == "here\\nisland 31" """
    result = run_cell(tmp_path, code, context=path, sandbox=SMALL, seconds=300)
    assert result.error is None, result.error
    assert result.peak_bytes is not None
    assert result.peak_bytes < 250 << 20


@pytest.mark.slow
def test_thousands_of_documents_take_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(4_000):
        (folder / f"{number:04}.txt").write_text(f"document {number}\n" * 6_000)
    code = """\
total = 0
for name, text in context.items():
    total += text.count("document")
print(total)"""
    result = run_cell(tmp_path, code, context=folder, seconds=300)
    assert result.output == f"{4_000 * 6_000}\n"
    assert result.peak_bytes is not None
    assert result.peak_bytes < 200 << 20
    assert (folder / "3999.txt").stat().st_size * 4_000 > 300 << 20
