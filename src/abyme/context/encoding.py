"""Which codec turns a document's bytes into text, or why they are no text.

Decoding with what :func:`detect` says never fails, whatever lies in the parts it has not seen:

==================  =====================  ====================================================
codec               errors                 bytes that the codec cannot read
==================  =====================  ====================================================
utf-8, cp…, CJK     ``surrogateescape``    come back as lone surrogates, none is lost
latin-1             ``surrogateescape``    there are none
utf-16-le, -be      ``surrogatepass``      lone surrogates stay what they are
utf-16, odd size    ``backslashreplace``   shown as ``\\xNN`` (``surrogatepass`` would raise)
utf-32-le, -be      ``backslashreplace``   shown as ``\\xNN``
==================  =====================  ====================================================
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

SAMPLE = 65_536
"""Bytes of a document's head that are looked at; a document no larger is seen whole."""
ALIGNMENT = 4
"""Samples from inside a document begin at multiples of this, as UTF-16 and UTF-32 need it."""


class Encoding(NamedTuple):
    """How to decode: a Python codec that leaves byte order marks alone, and ``bom`` to skip."""

    name: str = "utf-8"
    errors: str = "surrogateescape"
    bom: int = 0


class Binary(NamedTuple):
    """Not text: what it seems to be ("a PDF"), and what the user can do about it."""

    reason: str
    advice: str = "convert it to text first"


_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MARK_BEGINS = (b"\xef", b"\xff", b"\xfe", b"\x00\x00\xfe")
_PDF = Binary("a PDF", "turn it into text first, for instance with pdftotext")
_IMAGE = Binary("an image", "read its text first, for instance with tesseract")
_OFFICE = Binary("an old Office document", "save it as text first")
_MAGIC = (
    (b"\x1f\x8b", Binary("gzip data", "unpack it first, for instance with zcat")),
    (b"PK\x03\x04", Binary("a zip archive (or .docx, .xlsx)", "unzip it or save it as text first")),
    (b"BZh", Binary("bzip2 data", "unpack it first, for instance with bzcat")),
    (b"\xfd7zXZ\x00", Binary("xz data", "unpack it first, for instance with xzcat")),
    (b"\x28\xb5\x2f\xfd", Binary("zstd data", "unpack it first, for instance with zstdcat")),
    (b"7z\xbc\xaf\x27\x1c", Binary("a 7z archive", "unpack it first")),
    (b"Rar!\x1a\x07", Binary("a rar archive", "unpack it first")),
    (b"\x89PNG\r\n\x1a\n", _IMAGE),
    (b"\xff\xd8\xff", _IMAGE),
    (b"GIF8", _IMAGE),
    (b"II*\x00", _IMAGE),
    (b"MM\x00*", _IMAGE),
    (b"RIFF", Binary("an image, sound or film (RIFF)")),
    (b"OggS", Binary("sound or film (Ogg)", "transcribe it first")),
    (b"ID3", Binary("sound (MP3)", "transcribe it first")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OFFICE),
    (b"SQLite format 3\x00", Binary("an SQLite database", "export it as text, with sqlite3 .dump")),
    (b"PAR1", Binary("Parquet data", "export it as CSV or JSON first")),
    (b"\x7fELF", Binary("a program (ELF)")),
    (b"\x00asm", Binary("a program (WebAssembly)")),
    (b"\xca\xfe\xba\xbe", Binary("a program (Java class or Mach-O)")),
)
_TAR = Binary("a tar archive", "unpack it first, for instance with tar -xf")

# Tab, line ends, form feed, backspace and escape (colours in logs) belong to text.
_CONTROLS = bytes(set(range(1, 32)) - set(b"\t\n\v\f\r\b\x1b"))
_ODD = b"\x00" + _CONTROLS

_WESTERN = "cp1252"
_EASTERN = ["cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r"]
_ORDINARY = "àâãäåçèéêëîïñôöùûüßáíóúÀÂÃÄÅÇÈÉÊÑÖÜ°«»§£©¿¡\xa0".encode("latin-1")
"""Where these are the only bytes above ASCII, one or two at a time, the text is western."""
_CJK = ["cp932", "euc_jp", "gb18030", "big5", "cp949"]
_ENOUGH = 64
"""Bytes from which on the share of odd characters says something."""
_WIDE_ENOUGH = 16
"""Bytes from which on zeros at every other place are taken for UTF-16."""


def detect(head: bytes, middle: bytes, tail: bytes, size: int) -> Encoding | Binary:
    """Decide from samples of a document of ``size`` bytes how its text is encoded.

    ``head`` is its beginning, and all of it where ``middle`` and ``tail`` are empty; these begin
    at multiples of :data:`ALIGNMENT`, and ``tail`` goes to the end. Never raises.
    """
    if marked := _by_mark(head, size):
        return marked
    sample = head + middle + tail
    utf8 = _is_utf8(head, middle, tail)
    odd = len(sample) - len(sample.translate(None, _ODD))
    if sample.startswith(b"%PDF-"):
        return _PDF
    if utf8 and not odd:
        return Encoding()
    if binary := _by_magic(sample):
        return binary
    nuls = sample.count(0)
    many = len(sample) // 10 if utf8 else len(sample) // 20
    if nuls and (odd > many or not utf8) and (wide := _wide(head, size)):
        return wide
    if nuls and not utf8:
        return Binary("binary data (NUL bytes)")
    if len(sample) >= _ENOUGH and nuls > many:
        return Binary("binary data (NUL bytes)")
    if len(sample) >= _ENOUGH and odd - nuls > many:
        return Binary("binary data (control characters)")
    if utf8 or _mostly_utf8(head):
        return Encoding()
    return _legacy(head, middle, tail)


def _by_mark(head: bytes, size: int) -> Encoding | None:
    """What a byte order mark says, where what follows can be read so."""
    if not head.startswith(_MARK_BEGINS):
        return None
    if head.startswith(codecs.BOM_UTF8):
        return Encoding(bom=len(codecs.BOM_UTF8))
    for mark, name in _BOMS:
        if not head.startswith(mark):
            continue
        if name.startswith("utf-32") and (size % 4 or _strictly(head, name) is None):
            continue  # UTF-16 whose first character is NUL begins with the same bytes
        text = head[len(mark) :].decode(name, "replace")
        if _legible(text) >= 0.5:
            return Encoding(name, _wide_errors(name, size), len(mark))
    return None


def _by_magic(sample: bytes) -> Binary | None:
    for magic, binary in _MAGIC:
        if sample.startswith(magic):
            return binary
    return _TAR if sample[257:262] == b"ustar" else None


def _wide(head: bytes, size: int) -> Encoding | None:
    """UTF-16 or UTF-32 without a mark: zeros where ASCII has its upper bytes, and legible text."""
    if len(head) < _WIDE_ENOUGH:
        return None
    for name in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        unit = 4 if "32" in name else 2
        high = unit - 1 if name.endswith("le") else 0
        low = 0 if name.endswith("le") else unit - 1
        zeros = head[high::unit].count(0)
        if size % unit or not zeros or head[low::unit].count(0) * 4 > zeros:
            continue
        text = _strictly(head, name)
        if text is not None and _legible(text) >= 0.97:
            return Encoding(name, _wide_errors(name, size))
    return None


def _wide_errors(name: str, size: int) -> str:
    """``surrogatepass`` raises for half a UTF-16 unit, and for numbers above U+10FFFF."""
    return "surrogatepass" if "16" in name and size % 2 == 0 else "backslashreplace"


def _strictly(head: bytes, name: str) -> str | None:
    """``head`` decoded, a character cut off at its end left out; None where it is not valid."""
    try:
        return codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return None


def _legible(text: str) -> float:
    """The share of characters that a reader can see or that separate what can be seen."""
    text = text[:4096]
    seen = sum(character.isprintable() or character.isspace() for character in text)
    return seen / len(text) if text else 1.0


def _is_utf8(head: bytes, middle: bytes, tail: bytes) -> bool:
    if head.isascii() and middle.isascii() and tail.isascii():
        return True
    try:
        codecs.utf_8_decode(head, "strict", not middle and not tail)
        codecs.utf_8_decode(_from_border(middle), "strict", False)
        codecs.utf_8_decode(_from_border(tail), "strict", True)
    except UnicodeDecodeError:
        return False
    return True


def _from_border(sample: bytes) -> bytes:
    """``sample`` without the rest of a UTF-8 character that its first byte may lie in."""
    for start, byte in enumerate(sample[:4]):
        if not 0x80 <= byte < 0xC0:
            return sample[start:]
    return sample


def _mostly_utf8(head: bytes) -> bool:
    """True for UTF-8 with a few stray bytes: no other encoding makes so many valid sequences."""
    text = head.decode("utf-8", "surrogateescape")
    stray = len(re.findall("[\udc80-\udcff]", text))
    whole = len(re.findall("[^\x00-\x7f]", text)) - stray
    return whole >= 4 * stray


def _legacy(head: bytes, middle: bytes, tail: bytes) -> Encoding:
    """One of the encodings from before Unicode; where nothing speaks for one, the western."""
    telling = _telling(head, middle, tail)
    if telling.translate(None, _ORDINARY).isascii() and not re.search(rb"[\x80-\xff]{3}", telling):
        return Encoding("latin-1")  # 2 ms sooner, and surer: "grève" can be read as "grčve"
    from charset_normalizer import from_bytes  # 75 ms, and needed for few data only

    among = [_WESTERN, *_EASTERN]
    if re.search(rb"[\x80-\xff]{4}", telling):  # "20 °C" can be read as Chinese, but is not
        among += _CJK
    found = from_bytes(telling, cp_isolation=among, enable_fallback=False)
    best = found.best()
    western = best is None or any(
        _WESTERN in match.could_be_from_charset
        and match.chaos - match.coherence <= best.chaos - best.coherence
        for match in found
    )
    if best is not None and not western:
        return Encoding(best.encoding)
    # The two differ in 0x80-0x9f only: rare controls in the one, common quotes in the other.
    controls = re.search(rb"[\x80-\x9f]", head + middle + tail)
    return Encoding(_WESTERN if controls else "latin-1")


def _telling(head: bytes, middle: bytes, tail: bytes) -> bytes:
    """The lines that are not ASCII, the only ones that tell encodings apart; one sample at most.

    Samples are cut where no character can be cut: bytes below 0x30 are never a part of one.
    """
    if middle or tail:
        parts = (
            re.match(rb".*[\x00-\x2f]", head, re.DOTALL),
            re.search(rb"[\x00-\x2f].*[\x00-\x2f]", middle, re.DOTALL),
            re.search(rb"[\x00-\x2f].*", tail, re.DOTALL),
        )
        head = b"\n".join(part[0] for part in parts if part) or head
    telling = b"\n".join(line for line in head.split(b"\n") if not line.isascii())
    whole = re.match(rb".*[\x00-\x2f]", telling[:SAMPLE], re.DOTALL)
    return whole[0] if whole and len(telling) > SAMPLE else telling[:SAMPLE]
