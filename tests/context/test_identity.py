"""Identity: hashes and quotes are of the bytes that were loaded, or there is DataChanged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from abyme.context.documents import Document
from abyme.context.identity import sha256, verify_span
from abyme.context.load import load
from abyme.errors import DataChanged

CONTENT = "Die Größe zählt.\r\n".encode() * 100_000  # more than one block


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_bytes(CONTENT)
    os.utime(path, ns=(10**18, 10**18))  # so that any later write gives another time
    return path


@pytest.fixture
def document(path: Path) -> Document:
    return load(path, folder=path.parent / "run" / "data").documents[0]


def truncate(path: Path) -> None:
    os.truncate(path, len(CONTENT) // 2)


def truncate_and_hide(path: Path) -> None:
    truncate(path)
    os.utime(path, ns=(10**18, 10**18))


def overwrite(path: Path) -> None:
    path.write_bytes(CONTENT.replace(b"D", b"d"))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(CONTENT)
    os.utime(other, ns=(10**18, 10**18))
    other.replace(path)


def delete(path: Path) -> None:
    path.unlink()


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES = [truncate, truncate_and_hide, overwrite, replace, delete, become_fifo]


def test_the_hash_is_that_of_the_bytes(document: Document) -> None:
    assert sha256(document) == hashlib.sha256(CONTENT).hexdigest()


def test_the_hash_of_text_handed_over(tmp_path: Path) -> None:
    document = load("Grüße \ud800", folder=tmp_path / "run" / "data").documents[0]
    expected = "Grüße \ud800".encode("utf-8", "surrogatepass")
    assert sha256(document) == hashlib.sha256(expected).hexdigest()


def test_hashing_stops_when_told(document: Document) -> None:
    answers = iter([False, True])
    assert sha256(document, lambda: next(answers)) is None


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_has_no_hash(
    path: Path, document: Document, change: Callable[[Path], None]
) -> None:
    change(path)
    for ask in (
        document.check,
        lambda: sha256(document),
        lambda: verify_span(document, 0, 1, b"D"),
    ):
        with pytest.raises(DataChanged, match=r"^a\.txt (changed while|can no longer be read)"):
            ask()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_while_hashing_is_noticed(
    path: Path, document: Document, change: Callable[[Path], None]
) -> None:
    calls = iter(range(100))

    def change_once() -> bool:
        if next(calls) == 0:
            change(path)
        return False

    with pytest.raises(DataChanged, match=r"^a\.txt "):
        sha256(document, change_once)


def test_descriptors_are_closed_whatever_happens(path: Path, document: Document) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    sha256(document, lambda: True)
    overwrite(path)
    for _ in range(3):
        with pytest.raises(DataChanged):
            sha256(document)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_quotes_are_checked_byte_for_byte(document: Document) -> None:
    size = len(CONTENT)
    assert verify_span(document, 4, 11, "Größe".encode())
    assert verify_span(document, 0, size, CONTENT)
    assert verify_span(document, size, size, b"")
    assert not verify_span(document, 4, 11, "Grösse".encode())
    assert not verify_span(document, 4, 10, "Größe".encode())
    assert not verify_span(document, 0, size, CONTENT[:-1] + b"x")


@pytest.mark.parametrize(("start", "end"), [(-2, 1), (5, 2), (0, 10**9), (10**9, 10**9 + 3)])
def test_spans_outside_the_document_hold_no_quote(document: Document, start: int, end: int) -> None:
    assert not verify_span(document, start, end, b"abc")
