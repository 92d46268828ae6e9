"""Streams: read to their end into the run's folder, whatever they are, and never waited for."""

from __future__ import annotations

import gzip
import io
import os
import resource
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from abyme.context import spool
from abyme.context.documents import Data, Document
from abyme.context.load import load
from abyme.errors import DataError


def loaded(context: Any, tmp_path: Path, **options: Any) -> Data:
    return load(context, folder=tmp_path / "run" / "data", **options)


def text_of(document: Document) -> str:
    raw = document.read(document.bom, document.bytes)
    return raw.decode(document.encoding, document.errors)


def test_what_is_piped_in_is_one_text(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    content = "één regel\n" * 300_000  # more than a pipe holds

    def send() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(content.encode())

    sending = threading.Thread(target=send)
    sending.start()
    with os.fdopen(reader, "rb") as stream:
        data = loaded(stream, tmp_path)
        sending.join()
    document = data.documents[0]
    assert (data.kind, document.name, document.owned) == ("text", "stdin", True)
    assert text_of(document) == content
    assert stat.S_IMODE(Path(document.path).stat().st_mode) == 0o600


def test_streams_of_any_kind_and_their_names(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("plain")
    with gzip.open(tmp_path / "packed.log.gz", "wb") as file:
        file.write("gepackt: ß".encode("latin-1") * 10)
    with (
        (tmp_path / "plain.txt").open("rb") as plain,
        gzip.open(tmp_path / "packed.log.gz") as packed,
    ):
        data = loaded([plain, packed, io.BytesIO(b"one"), io.BytesIO(b"two"), "text"], tmp_path)
    assert {document.name: text_of(document) for document in data.documents} == {
        "plain.txt": "plain",
        "packed.log.gz": "gepackt: ß" * 10,
        "stdin": "one",
        "stdin (2)": "two",
        "text-0005": "text",
    }
    assert data.documents[1].encoding == "latin-1"


def test_a_dict_names_a_stream(tmp_path: Path) -> None:
    data = loaded({"log": io.BytesIO("wide".encode("utf-16"))}, tmp_path)
    assert [(each.name, text_of(each)) for each in data.documents] == [("log", "wide")]


class Raising:
    name = "/somewhere/broken.gz"

    def read(self, size: int) -> bytes:
        raise EOFError("the end came early")


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (io.BytesIO(), "standard input is empty: there is nothing to ask about"),
        (io.BytesIO(b"\xef\xbb\xbf"), "standard input is empty: there is nothing to ask about"),
        (
            io.StringIO("text"),
            "standard input gives text, not bytes: "
            'pass sys.stdin.buffer, or open the file with "rb"',
        ),
        (
            Raising(),
            "broken.gz cannot be read (the end came early): check what sends it",
        ),
        (
            io.BytesIO(bytes(range(256)) * 10),
            "standard input is binary data (NUL bytes), not text: convert it to text first",
        ),
    ],
)
def test_streams_that_are_no_data(tmp_path: Path, stream: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        loaded(stream, tmp_path)
    assert str(caught.value) == message
    with pytest.raises(DataError):
        loaded(["text", stream], tmp_path / "list")


def test_a_closed_stream_is_said(tmp_path: Path) -> None:
    stream = io.BytesIO(b"x")
    stream.close()
    with pytest.raises(DataError, match="cannot be read"):
        loaded(stream, tmp_path)


class Stop(Exception):
    """What ends the loading."""


def test_a_pipe_that_sends_nothing_is_not_waited_for(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    told: list[tuple[int, int]] = []

    def stop(documents: int, size: int) -> None:
        told.append((documents, size))
        if len(told) == 2:
            raise Stop

    os.write(writer, b"begun")
    with os.fdopen(reader, "rb") as stream, pytest.raises(Stop):
        loaded(stream, tmp_path, on_progress=stop)
    os.close(writer)
    assert told == [(0, 5), (0, 5)]
    assert list((tmp_path / "run" / "data").iterdir()) == []


def test_a_pipe_that_does_not_block(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)

    def send() -> None:
        for _ in range(3):
            time.sleep(0.05)
            os.write(writer, b"part ")
        os.close(writer)

    sending = threading.Thread(target=send)
    sending.start()
    with os.fdopen(reader, "rb") as stream:
        assert text_of(loaded(stream, tmp_path).documents[0]) == "part " * 3
    sending.join()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(DataError, match="free some space"):
            loaded(io.BytesIO(b"x" * (3 << 20)), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "run" / "data").iterdir()) == []


def test_a_stream_stops_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_CHECKED_EVERY", 4 << 20)
    assert loaded(io.BytesIO(b"x" * (9 << 20)), tmp_path / "room").bytes == 9 << 20
    monkeypatch.setattr(spool, "_LEFT_FREE", 1 << 60)
    monkeypatch.setattr(spool, "_LEFT_PART", 1.0)  # more than any disk with a file on it has free

    class Endless:
        given = 0

        def read(self, size: int) -> bytes:
            self.given += size
            return b"y\n" * (size // 2)

    stream = Endless()
    with pytest.raises(DataError, match=r"nearly full after 4 MB of data: .*head -c 1G.*--runs"):
        loaded(stream, tmp_path)
    assert stream.given == 4 << 20
    assert list((tmp_path / "run" / "data").iterdir()) == []
    # What is small is taken whatever is free.
    assert loaded(io.BytesIO(b"small"), tmp_path).bytes == 5


def test_a_large_stream_is_never_whole_in_memory(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from abyme.context.load import load\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "data = load(sys.stdin.buffer, folder=Path(sys.argv[1]) / 'data')\n"
        "print(data.bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        for _ in range(100):
            process.stdin.write(b"a line\n" * 150_000)
        process.stdin.close()
        size, grown = map(int, process.stdout.read().split())
    assert size == 105_000_000
    assert grown < 20_000  # KiB
