"""Encodings: the text comes out as it was written, and what is no text is called what it is."""

from __future__ import annotations

import codecs
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abyme.context.documents import Document
from abyme.context.encoding import SAMPLE, Binary, Encoding, detect
from abyme.context.load import load

PLAIN = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))

RUSSIAN = "Это обычный русский текст, написанный для проверки кодировки.\n"
JAPANESE = "これは日本語のテキストです。文字コードの判定を試験するために書かれました。\n"
CHINESE = "这是一个用于测试编码检测的中文文本。我们希望它能够被正确识别。\n"
FRENCH = "Le café est fermé à cause de la grève. Où êtes-vous allés cet été ?\n"
SWEDISH = "Det här är en svensk text, som också innehåller alla särskilda bokstäver.\n"
POLISH = "Zażółć gęślą jaźń. Łódź jest pięknym miastem, w którym żyją ludzie.\n"
QUOTES = "“Smart quotes” – that’s what the word processor does … and it stays.\n"


def seen(raw: bytes) -> Encoding | Binary:
    """What is detected where the whole document is one sample."""
    return detect(raw, b"", b"", len(raw))


def decoded(raw: bytes) -> str:
    found = seen(raw)
    assert isinstance(found, Encoding), found
    return raw[found.bom :].decode(found.name, found.errors)


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        (FRENCH, "latin-1", "latin-1"),
        (SWEDISH, "latin-1", "latin-1"),
        ("grève, très, même\n", "latin-1", "latin-1"),
        ("café\n", "latin-1", "latin-1"),
        ("plain words " * 50 + "\n20 °C\n", "latin-1", "latin-1"),
        (QUOTES, "cp1252", "cp1252"),
        (RUSSIAN, "cp1251", "cp1251"),
        (RUSSIAN, "koi8-r", "koi8_r"),
        (POLISH, "cp1250", "cp1250"),
        (JAPANESE, "shift_jis", "cp932"),
        (JAPANESE, "euc_jp", "euc_jp"),
        (CHINESE, "gb18030", "gb18030"),
        (FRENCH, "utf-8", "utf-8"),
        (JAPANESE, "utf-16-le", "utf-16-le"),
        (RUSSIAN, "utf-16-be", "utf-16-be"),
        (FRENCH, "utf-16-le", "utf-16-le"),
        (JAPANESE, "utf-32-le", "utf-32-le"),
        (FRENCH, "utf-32-be", "utf-32-be"),
    ],
)
@pytest.mark.parametrize("times", [1, 200])
def test_text_comes_out_as_it_was_written(text: str, codec: str, name: str, times: int) -> None:
    raw = (text * times).encode(codec)
    found = seen(raw)
    assert isinstance(found, Encoding)
    assert found.name == name
    assert raw.decode(found.name, found.errors) == text * times


@pytest.mark.parametrize(
    ("mark", "codec"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
@pytest.mark.parametrize("text", [FRENCH, JAPANESE, "x", "", "\ufeffa second mark is text"])
def test_a_mark_decides_and_is_no_text(mark: bytes, codec: str, text: str) -> None:
    raw = mark + text.encode(codec)
    found = seen(raw)
    assert isinstance(found, Encoding)
    assert (found.name, found.bom) == (codec, len(mark))
    assert decoded(raw) == text


def test_utf16_that_begins_with_nul_is_not_taken_for_utf32() -> None:
    text = "\0" + FRENCH
    assert decoded(codecs.BOM_UTF16_LE + text.encode("utf-16-le")) == text


@PLAIN
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_utf8_is_never_taken_for_anything_else(text: str) -> None:
    raw = f"{text} and so on, in plain words\n".encode() * 3
    found = seen(raw)
    assert isinstance(found, Binary) or found == Encoding(bom=found.bom)


def test_a_few_nuls_and_control_characters_are_text() -> None:
    for text in ("a\0b", "\0", "name\0value\0" + "x" * 100, "\x1b[31mred\x1b[0m " * 30, "\f\v\b"):
        assert seen(text.encode()) == Encoding()


def test_stray_bytes_in_utf8_come_back() -> None:
    raw = (JAPANESE * 20).encode() + b"\xff\xc3"
    assert seen(raw) == Encoding()
    assert decoded(raw).encode("utf-8", "surrogateescape") == raw


@PLAIN
@given(st.binary(max_size=400), st.binary(max_size=40), st.binary(max_size=40), st.booleans())
def test_decoding_never_fails_whatever_was_not_seen(
    head: bytes, middle: bytes, tail: bytes, odd: bool
) -> None:
    size = 4 * SAMPLE + odd
    found = detect(head, middle, tail, size)
    if isinstance(found, Encoding):
        rest = (head + middle + tail).ljust(size, b"\xd8")
        assert rest[found.bom :].decode(found.name, found.errors) is not None


@PLAIN
@given(st.binary(max_size=60))
@pytest.mark.parametrize("codec", ["cp1252", "cp1251", "cp932", "euc_jp", "gb18030", "big5"])
def test_surrogateescape_suits_every_older_codec(codec: str, raw: bytes) -> None:
    assert raw.decode(codec, "surrogateescape") is not None


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_keeps_lone_surrogates_and_shows_half_a_unit(codec: str) -> None:
    text = FRENCH + "\ud800 \udc00" + FRENCH
    mark = codecs.BOM_UTF16_LE if codec.endswith("le") else codecs.BOM_UTF16_BE
    raw = mark + text.encode(codec, "surrogatepass")
    assert decoded(raw) == text
    assert decoded(mark + FRENCH.encode(codec) + b"\x41") == FRENCH + r"\x41"


@pytest.mark.parametrize("cut", range(4))
def test_characters_on_the_borders_of_samples(tmp_path: Path, cut: int) -> None:
    raw = b"x" * cut + "日本語のテキスト🦉".encode() * 20_000
    path = tmp_path / "large.txt"
    path.write_bytes(raw)
    document = load(path, folder=tmp_path / "run" / "data").documents[0]
    assert (document.encoding, document.errors) == ("utf-8", "surrogateescape")


@pytest.mark.parametrize("codec", ["latin-1", "utf-16-le", "utf-16", "cp932"])
@pytest.mark.parametrize("end", ["\n", " "])
def test_large_files_of_other_encodings(tmp_path: Path, codec: str, end: str) -> None:
    text = (JAPANESE if codec == "cp932" else FRENCH).replace("\n", end) * 5_000
    path = tmp_path / "large.txt"
    path.write_bytes(text.encode(codec))
    document: Document = load(path, folder=tmp_path / "run" / "data").documents[0]
    raw = path.read_bytes()[document.bom :]
    assert raw.decode(document.encoding, document.errors) == text


def a_tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"), io.BytesIO(b""))
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"%PDF-1.4\nplain\n", "a PDF"),
        (b"\x1f\x8b\x08\0\0\0", "gzip data"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "an image"),
        (a_tar(), "a tar archive"),
        (b"SQLite format 3\x00\x10\0\x01\x01", "an SQLite database"),
        (b"\x7fELF\x02\x01\x01\0", "a program (ELF)"),
        (bytes(range(256)), "binary data (NUL bytes)"),
        (b"\0" * 100, "binary data (NUL bytes)"),
        (b"ab\0" * 100, "binary data (NUL bytes)"),
        (b"caf\xe9 \0", "binary data (NUL bytes)"),
        (b"ab\x01" * 100, "binary data (control characters)"),
        (bytes([200, 1, 201, 2, 65]) * 50, "binary data (control characters)"),
    ],
)
def test_binary_data_is_called_what_it_is(raw: bytes, reason: str) -> None:
    found = seen(raw)
    assert isinstance(found, Binary)
    assert found.reason == reason
    assert found.advice


@pytest.mark.parametrize("text", ["GIF89a is a format\n", "PAR1 is a name\n", "RIFF, a shop\n"])
def test_text_that_begins_like_a_binary_format_is_text(text: str) -> None:
    assert seen(text.encode()) == Encoding()
