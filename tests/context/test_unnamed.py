"""What was handed over to a run that keeps no texts: all of it there, and nothing under a name."""

from __future__ import annotations

import asyncio
import io
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from abyme.context.documents import Document
from abyme.context.identity import sha256, verify_span
from abyme.context.load import load
from abyme.context.unnamed import SHORT, Unnamed
from abyme.errors import DataChanged, DataError
from abyme.sandbox.process import ProcessSandbox
from support.boxes import box
from support.repl import opened

SHORT_TEXT = "short é \ud800"
LONG_TEXT = "a long líne\n" * (SHORT // 4)
TEXTS: dict[str, str | bytes] = {"short": SHORT_TEXT, "long": LONG_TEXT, "bytes": b"some bytes"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def unnamed(folder: Path) -> Iterator[Unnamed]:
    held = Unnamed(folder)
    yield held
    held.close()


def documents(folder: Path, unnamed: Unnamed) -> dict[str, tuple[Document, bytes]]:
    """Documents of every kind, and what they hold."""
    stream = b"from a stream\n" * 300_000
    loaded = load({**TEXTS, "none": ""}, folder=folder / "data", unnamed=unnamed)
    piped = load(io.BytesIO(stream), folder=folder / "data", unnamed=unnamed)
    whole = [SHORT_TEXT.encode("utf-8", "surrogatepass"), LONG_TEXT.encode(), b"some bytes", stream]
    found = (*loaded.documents, *piped.documents)
    pairs = zip(found, whole, strict=True)
    return dict(zip(("short", "long", "bytes", "stream"), pairs, strict=True))


def test_all_of_it_is_there_and_nothing_has_a_name(folder: Path, unnamed: Unnamed) -> None:
    for document, whole in documents(folder, unnamed).values():
        assert (document.path, document.owned, document.bytes) == ("", True, len(whole))
        assert b"".join(document.blocks()) == b"".join(document.blocks(7_000)) == whole
        assert document.read(3, 5) == whole[3:8] and document.read(len(whole) - 2, 9) == whole[-2:]
        assert document.read(len(whole), 5) == b"" == document.read(0, 0)
        assert verify_span(document, 2, 9, whole[2:9]) and len(sha256(document)) == 64
        document.check()
        descriptor = document.open()
        assert os.pread(descriptor, len(whole) + 1, 0) == whole
        assert os.fstat(descriptor).st_nlink == 0
        os.close(descriptor)
    assert list(folder.iterdir()) == []


def test_who_is_handed_one_can_only_read_it(folder: Path, unnamed: Unnamed) -> None:
    for document, whole in documents(folder, unnamed).values():
        one, other = document.open(), document.open()
        with pytest.raises(OSError):
            os.write(one, b"x")
        with pytest.raises(OSError):
            os.ftruncate(one, 0)
        os.lseek(one, 5, os.SEEK_SET)
        assert os.read(other, 4) == whole[:4], "nobody else moves where it reads"
        os.close(one)
        os.close(other)


def test_it_is_gone_with_its_run(folder: Path, unnamed: Unnamed) -> None:
    found = documents(folder, unnamed)
    unnamed.close()
    for kind in ("long", "stream"):
        document, _ = found[kind]
        with pytest.raises(DataChanged, match="can no longer be read"):
            document.open()
        with pytest.raises(DataChanged, match="can no longer be read"):
            document.read(0, 1)


def test_there_may_be_more_of_them_than_descriptors(folder: Path, unnamed: Unnamed) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        short = {f"{number}": f"text {number}" for number in range(200)}
        loaded = load(short, folder=folder, unnamed=unnamed)
        assert b"".join(loaded.documents[150].blocks()) == b"text 150"
        long = {f"{number}": "x" * (SHORT + 1) for number in range(30)}
        with pytest.raises(DataError, match=r"Too many open files\): raise `ulimit -n`, or"):
            load(long, folder=folder, unnamed=unnamed)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["process", "argv", "bubblewrap", "bubblewrap-mount"])
def test_a_worker_has_it_as_ever(kind: str, tmp_path: Path, unnamed: Unnamed) -> None:
    data = load(TEXTS, folder=tmp_path / "run", unnamed=unnamed)
    cells = ["len(context['short']), context['long'][:7], context['bytes']", "len(context['long'])"]
    sandbox = ProcessSandbox() if kind == "process" else box(kind, tmp_path / "box")

    async def main() -> list[str]:
        async with asyncio.timeout(60), opened(data, sandbox=sandbox) as repl:
            return [(await repl.run(cell, code, 30)).output for cell, code in enumerate(cells, 1)]

    said = asyncio.run(main())
    assert said == ["(9, 'a long ', 'some bytes')\n", f"{len(LONG_TEXT)}\n"]
    assert list((tmp_path / "run").iterdir()) == []
