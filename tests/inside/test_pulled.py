"""Bytes that are pulled piece by piece, held against bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.inside.arrivals import WHOLE_BELOW, Arrivals
from abyme.inside.codec import Frame, FrameError, encode
from abyme.inside.decoding import decoder
from abyme.inside.pulled import KEPT_BYTES, MOST_PARTS, MOST_PULLED, PIECE, Part, Pieces, Pulled
from abyme.inside.rawframes import RAW, RawDecoder, encode_raw
from abyme.inside.text import LazyText

CONTENT = random.Random(4).randbytes(PIECE * 5 + 4321)


class Far:
    """The other side: answers as the host does, and keeps what it was asked."""

    def __init__(self, *documents: bytes, lost: int | None = None) -> None:
        self.documents = documents
        self.lost = lost
        self.asked: list[Sequence[Part]] = []

    def pull(self, parts: Sequence[Part]) -> bytes:
        self.asked.append(parts)
        assert sum(size for _, _, size in parts) <= MOST_PULLED
        found = []
        for index, start, size in parts:
            if index == self.lost:
                break
            found.append(self.documents[index][start : start + size])
        return b"".join(found)


def pulled(content: bytes = CONTENT, kept: int = KEPT_BYTES) -> tuple[Pulled, Far]:
    far = Far(content)
    return Pulled(Pieces(far.pull, kept), 0, len(content)), far


places = st.integers(-PIECE, PIECE * 6) | st.sampled_from([0, PIECE, PIECE * 2 - 1, len(CONTENT)])


@settings(deadline=None, max_examples=200)
@given(places, places)
def test_slices_are_those_of_bytes(start: int, stop: int) -> None:
    data, _ = pulled(kept=PIECE * 2)
    assert data[start:stop] == CONTENT[start:stop]
    assert data[start:] == CONTENT[start:]
    if 0 <= start < len(CONTENT):
        assert data[start] == CONTENT[start]


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(CONTENT)), st.integers(1, 9), places.filter(lambda at: at >= 0), places)
def test_what_is_found_is_what_bytes_find(at: int, size: int, start: int, end: int) -> None:
    data, _ = pulled(kept=PIECE * 2)
    needle = CONTENT[at : at + size]
    end = max(0, end)
    if needle:
        assert data.find(needle) == CONTENT.find(needle)
        assert data.rfind(needle) == CONTENT.rfind(needle)
        assert data.find(needle, start, end) == CONTENT.find(needle, start, end)
        assert data.rfind(needle, start, end) == CONTENT.rfind(needle, start, end)


def test_needles_across_pieces_and_steps_are_found() -> None:
    content = bytearray(b"." * (3 << 20))
    for at in (PIECE - 3, (1 << 20) - 1, (2 << 20) - 4):
        content[at : at + 6] = b"needle"
    data, _ = pulled(bytes(content))
    assert data.find(b"needle") == PIECE - 3
    assert data.find(b"needle", PIECE) == (1 << 20) - 1
    assert data.rfind(b"needle") == (2 << 20) - 4
    assert data.rfind(b"needle", 0, (2 << 20) + 1) == (1 << 20) - 1
    assert data.find(b"absent") == data.rfind(b"absent") == -1


def test_in_order_more_is_pulled_at_once_and_little_is_kept() -> None:
    data, far = pulled(bytes(range(256)) * (1 << 16), kept=PIECE * 4)
    assert b"".join(data[at : at + 1000] for at in range(0, len(data), 1000)) == data[:]
    sizes = [part[0][2] for part in far.asked]
    assert sizes[0] == PIECE and MOST_PULLED in sizes
    assert len(data._pieces._kept) <= MOST_PULLED // PIECE
    far.asked.clear()
    for at in (9_000_000, 1_000_000, 14_000_000):
        data[at : at + 10]
    assert max(part[0][2] for part in far.asked) == PIECE


def test_a_text_over_pulled_bytes_is_a_text() -> None:
    text = "".join(f"{n} äöü 日本 line\n" for n in range(60_000))
    data, _ = pulled(text.encode(), kept=PIECE * 2)
    lazy = LazyText(data, "utf-8")
    assert (len(lazy), lazy.find("59999 "), lazy.count("日本")) == (
        len(text), text.find("59999 "), 60_000
    )  # fmt: skip
    assert lazy[700_000:700_050] == text[700_000:700_050]
    assert decoder("utf-8", "strict").decode(data, 0, len(data)) == text


def test_other_bytes_than_were_asked_for_are_an_error() -> None:
    data = Pulled(Pieces(lambda parts: b"too few"), 0, 1000)
    with pytest.raises(OSError, match="other bytes"):
        data[:100]
    with pytest.raises(OSError, match="other bytes"):
        Pieces(lambda parts: b"").several([(0, 0, 5)])


def test_small_documents_come_together_up_to_the_first_that_cannot_be_read() -> None:
    contents = [b"%d" % n * (n + 1) for n in range(100)]
    contents[30] = b"L" * WHOLE_BELOW
    far = Far(*contents, lost=20)
    documents = [{"bytes": len(each)} for each in contents]
    arrivals = Arrivals(documents, Pieces(far.pull))
    assert arrivals.open(0, 10) == contents[:10]
    assert arrivals.open(15, 10) == contents[15:20]
    assert arrivals.open(21, 64) == contents[21:30]
    (large,) = arrivals.open(30, 10)
    assert isinstance(large, Pulled) and large[:] == contents[30]
    assert len(arrivals.open(31, 1000)) == MOST_PARTS
    with pytest.raises(OSError, match="other bytes"):
        arrivals.open(20, 1)


def test_a_document_that_cannot_be_opened_where_it_is_mounted_is_pulled() -> None:
    far = Far(b"pulled")
    arrivals = Arrivals([{"bytes": 6, "path": "/no/such/file"}], Pieces(far.pull))
    assert arrivals.open(0, 1) == [b"pulled"]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 50))
def test_raw_bytes_between_frames_come_through_in_any_pieces(raw: list[bytes], size: int) -> None:
    stream, expected = b"", []
    for number, data in enumerate(raw):
        frame: Frame = {"t": "reply", "id": number, "value": "é" * number}
        stream += encode(frame) + encode_raw(number, data)
        expected += [frame, {"t": "pulled", "id": number, "value": data}]
    reader = RawDecoder()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [frame for piece in pieces for frame in reader.feed(piece)] == expected


@pytest.mark.parametrize("length", [0, 7, MOST_PULLED + 9, (1 << 31) - 1])
def test_raw_bytes_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(FrameError, match="no frame"):
        list(RawDecoder().feed((RAW | length).to_bytes(4, "big") + b"x" * 20))
