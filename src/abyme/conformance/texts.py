"""The data as code has it: a text, a text too large to be one, a thousand of them; and quotes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from abyme.conformance.trial import (
    SECONDS,
    Broken,
    Trial,
    Untried,
    holds,
    output_of,
    prints,
    raises,
    same,
    within,
)
from abyme.context.documents import Data, Document
from abyme.types import CellResult, Quote

_LINES = "first line\nsecond: café — 字 opens at 9\nthird\nfourth: café — 字 again\n"
ENCODINGS: dict[str, tuple[str, str, str, int, str]] = {
    "ascii.txt": ("utf-8", "surrogateescape", "", 0, "first line\nsecond: opens at 9\n"),
    "utf-8.txt": ("utf-8", "surrogateescape", "", 0, _LINES),
    "bom.txt": ("utf-8", "surrogateescape", "\ufeff", 3, _LINES),
    "wide.txt": ("utf-8", "surrogateescape", "", 0, _LINES.replace("third", "\U0001f600" * 99)),
    "dos.txt": ("utf-8", "surrogateescape", "", 0, _LINES.replace("\n", "\r\n")),
    "bytes.txt": ("utf-8", "surrogateescape", "", 0, "a\udcff\udc80b\nsecond: café\udce9\nc"),
    "str.txt": ("utf-8", "surrogatepass", "", 0, "a\ud800b\nsecond: \udfff café\n"),
    "le.txt": ("utf-16-le", "surrogatepass", "\ufeff", 2, _LINES),
    "be.txt": ("utf-16-be", "surrogatepass", "\ufeff", 2, _LINES),
    "latin.txt": ("latin-1", "strict", "", 0, "first line\nsecond: café £9\n"),
    "windows.txt": ("cp1252", "strict", "", 0, "first line\nsecond: “café” €9\n"),
    "japan.txt": ("shift_jis", "strict", "", 0, "first line\nsecond: 日本語のテキスト\nthird\n"),
    "china.txt": ("gb18030", "strict", "", 0, "first line\nsecond: 中文 \U0001f600 café\n"),
}
"""By name: encoding, its error handler, what stands before the text and its bytes, the text."""


@contextlib.contextmanager
def encoded() -> Iterator[Data]:
    """Documents in many encodings, as loading describes them."""
    with tempfile.TemporaryDirectory(prefix="abyme-conformance-") as folder:
        documents = []
        for name, (encoding, errors, before, bom, text) in ENCODINGS.items():
            path = Path(folder) / name
            path.write_bytes((before + text).encode(encoding, errors))
            found = path.stat()
            documents.append(
                Document(
                    name,
                    str(path),
                    found.st_size,
                    found.st_mtime_ns,
                    found.st_ino,
                    encoding,
                    errors,
                    bom,
                )
            )
        yield Data("documents", tuple(documents))


def verified(quote: Quote, data: Data) -> bool:
    """Whether the bytes of the document that a quote names are its text."""
    document = next(each for each in data.documents if each.name == quote.document)
    if quote.start is None or quote.end is None:
        return False
    found = document.read(quote.start, quote.end - quote.start)
    return found == quote.text.encode(document.encoding, document.errors)


class TextChecks(Trial):
    """``context`` is the data, whole and exact, however large it is and in whatever encoding."""

    @within(SECONDS)
    async def test_one_text_is_a_str(self) -> None:
        """A real one, which all of the standard library takes."""
        code = (
            "import re, io, json\ntype(context).__name__, context.split(), context[-5:],\\\n"
            " re.findall('[a-z]+', context), io.StringIO(context).readline(), hash(context) != 0"
        )
        (result,) = await self.cells(code, context="one two\nthree\n")
        expected = "('str', ['one', 'two', 'three'], 'hree\\n', ['one', 'two', 'three'], "
        prints(result, expected + "'one two\\n', True)\n")

    @within(SECONDS)
    async def test_a_text_of_many_megabytes_is_a_str(self) -> None:
        """Twelve million characters, some of them wide."""
        text = "line of text é\n" * 800_000
        code = (
            "type(context).__name__, len(context), context.count('é'), context[-15:],"
            " context[6_000_000:6_000_015]"
        )
        (result,) = await self.cells(code, context=text)
        expected = ("str", len(text), 800_000, text[-15:], text[6_000_000:6_000_015])
        prints(result, f"{expected!r}\n")

    @within(SECONDS)
    async def test_a_text_too_large_for_a_str_is_a_lazy_one(self) -> None:
        """Beyond ``text_bytes``: it measures, slices, searches and iterates as the ``str`` would.

        What would copy it whole raises in the cell and hurts nothing.
        """
        box = self.sandbox_with(text_bytes=1 << 20)
        if box is None:
            raise Untried("sandbox_with(text_bytes) gives none; say there how to make one")
        text = "".join(f"line {i}: café {i % 97}\n" for i in range(150_000))
        at = text.index("line 99999:")
        cells = (
            "type(context) is str, len(context), context[-9:], context[2_000_000:2_000_020]",
            "'line 149999' in context, context.find('line 99999:'), context.count('café 96\\n')",
            "import itertools\n[m.start() for m in context.finditer(r'line 9999\\d:')],"
            " list(itertools.islice(context, 2)), sum(1 for _ in context)",
            "context.upper()",
            "context[:12]",
        )
        first, second, third, whole, last = await self.cells(*cells, context=text, sandbox=box)
        measured = (False, len(text), text[-9:], text[2_000_000:2_000_020])
        prints(first, f"{measured!r}\n")
        prints(second, f"(True, {at}, {text.count('café 96' + chr(10))})\n")
        starts = [text.index(f"line {i}:") for i in range(99_990, 100_000)]
        lines = text.splitlines(keepends=True)
        prints(third, f"({starts!r}, {lines[:2]!r}, 150000)\n")
        holds(whole.ended == "raised", f"a copy of all of it: {whole.ended!r}")
        prints(last, f"{text[:12]!r}\n")

    @within(SECONDS)
    async def test_a_thousand_documents_are_one_mapping(self) -> None:
        """Names to texts in their order, by name or position, read-only; a wrong name is an error
        that can be caught.
        """
        texts = {f"folder/{i:04}.txt": f"document {i}\n{'é' * (i % 50)}\n" for i in range(1_000)}
        names = list(texts)
        code = (
            "len(context), list(context)[:2], context['folder/0007.txt'], context[999],"
            " 'folder/0500.txt' in context, sum(map(len, context.values()))"
        )
        cells = (code, "context['nosuch']", "context['x'] = 'y'", "list(context) == context.names")
        first, missing, written, _ = await self.cells(*cells, context=texts)
        total = sum(map(len, texts.values()))
        expected = (1_000, names[:2], texts[names[7]], texts[names[999]], True, total)
        prints(first, f"{expected!r}\n")
        holds(missing.error is not None, "a wrong name raised nothing")
        if missing.error is not None:
            holds("nosuch" in missing.error.message, f"the message: {missing.error.message!r}")
        raises(written, "TypeError")

    @within(SECONDS)
    async def test_texts_are_what_their_bytes_decode_to(self) -> None:
        """In many encodings, with byte order marks, and with bytes of no encoding at all."""
        with encoded() as data:
            names = list(ENCODINGS)
            codes = [f"print(ascii(context[{name!r}]))" for name in names]
            results = await self.cells(*codes, context=data)
        for name, result in zip(names, results, strict=True):
            same(name, output_of(result), f"{ENCODINGS[name][-1]!a}\n")

    @within(SECONDS)
    async def test_every_byte_comes_through(self) -> None:
        """A file of all 256 bytes, most of them no UTF-8, can be told from any other."""
        raw = bytes(range(256)) * 300 + b"\n"
        with tempfile.TemporaryDirectory(prefix="abyme-conformance-") as folder:
            path = Path(folder) / "raw"
            path.write_bytes(raw)
            found = os.stat(path)
            document = Document("raw", str(path), len(raw), found.st_mtime_ns, found.st_ino)
            code = "context.encode('utf-8', 'surrogateescape') == bytes(range(256)) * 300 + b'\\n'"
            (result,) = await self.cells(code, context=Data("text", (document,)))
        prints(result, "True\n")

    @within(SECONDS)
    async def test_grep_and_search_find_where_things_stand(self) -> None:
        """Over all documents: name, line from 1, positions that slice out what was found."""
        texts = {f"{i}.txt": f"nothing {i}\nor little\n" for i in range(200)}
        texts["77.txt"] = "a line\nthe needle lies hére\nthe end\n"
        code = (
            "hit, = grep('needle l')\npassage = search('needle')[0]\n"
            "hit.document, hit.line, context[hit.document][hit.start:hit.end], hit.text,"
            " passage.document, 'needle' in passage.text,"
            " context[passage.document][passage.start:passage.end] == passage.text"
        )
        (result,) = await self.cells(code, context=texts)
        found = ("77.txt", 2, "needle l", "the needle lies hére", "77.txt", True, True)
        prints(result, f"{found!r}\n")

    @within(SECONDS)
    async def test_quotes_come_with_offsets_that_the_host_can_check(self) -> None:
        """Of bytes in the document as it lies on disk, whatever its encoding; with their line."""
        with encoded() as data:
            quoted = {name: item[-1].splitlines()[1] for name, item in ENCODINGS.items()}
            codes = [f"FINAL(1, quotes=[({n!r}, {t!a})])" for n, t in quoted.items()]
            results = await self.cells(*codes, context=data)
            for (name, text), result in zip(quoted.items(), results, strict=True):
                quote = _only_quote(name, result)
                same(f"{name}: document and text", (quote.document, quote.text), (name, text))
                holds(verified(quote, data), f"{name}: other bytes stand at {quote!r}")
                same(f"{name}: the line", quote.line, 2)

    @within(SECONDS)
    async def test_what_was_found_is_quoted_where_it_was_found(self) -> None:
        """Results of ``grep`` and ``search`` are quoted at their own places, although the same
        text stands earlier too.
        """
        text = "the same\nother\nthe same\n" + "x\n" * 900 + "a needle here\nthe same\n"
        code = (
            "hits = grep('the same')\nfound = search('needle')[0]\n"
            "FINAL('x', quotes=[hits[1], hits[2], 'other', found])"
        )
        (result,) = await self.cells(code, context=text)
        output_of(result)
        lines = [] if result.finish is None else [quote.line for quote in result.finish.quotes]
        same("the lines of the quotes", lines[:3], [3, 905, 2])
        holds(len(lines) == 4, "a passage of search is no quote")

    @within(SECONDS)
    async def test_a_quote_is_exact_or_an_error(self) -> None:
        """One character that differs is an error in the cell, which names the quote."""
        cells = ("FINAL('9', quotes=['cafe opens'])", "FINAL('9', quotes=['café opens'])")
        wrong, right = await self.cells(*cells, context="first\nthe café opens\n")
        holds("cafe opens" in raises(wrong, "ValueError"), "the message does not say which")
        holds(right.finish is not None and len(right.finish.quotes) == 1, "the right one is lost")


def _only_quote(name: str, result: CellResult) -> Quote:
    output_of(result)
    if result.finish is None or len(result.finish.quotes) != 1:
        raise Broken(f"{name}: not one quote but {result.finish!r}")
    return result.finish.quotes[0]
