"""Server-sent events come out whole, however the bytes were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abyme.errors import BadReply
from abyme.models import sse

SAMPLE = (
    b"\xef\xbb\xbf: keep-alive\r\n\r\n"
    b'data: {"a": "caf\xc3\xa9"}\r\n\r\n'
    b"event: message\nid: 7\ndata:no space\n\n"
    b"data: two\ndata: lines\n\n"
    b": another comment\n"
    b"data\n\n"
    b'error: {"code": 400}\n\n'
    b"data: [DONE]"
)
EVENTS = [
    '{"a": "café"}'.encode(),
    b"no space",
    b"two\nlines",
    b"",
    b'{"error":{"code": 400}}',
    b"[DONE]",
]


def read(pieces: list[bytes]) -> list[bytes]:
    stream = sse.EventStream()
    events = [event for piece in pieces for event in stream.feed(piece)]
    return events + stream.finish()


@pytest.mark.parametrize("position", range(len(SAMPLE) + 1))
def test_events_do_not_depend_on_where_the_chunks_were_split(position: int) -> None:
    assert read([SAMPLE[:position], SAMPLE[position:]])[:3] == EVENTS[:3]
    assert read([SAMPLE[:position], SAMPLE[position:]])[-2:] == EVENTS[-2:]


def test_events_do_not_depend_on_chunks_at_all() -> None:
    assert read([bytes([byte]) for byte in SAMPLE]) == read([SAMPLE])


LINES = st.text("ab é漢😀:\x00\x0b\x0c\x1c\x85\u2028", max_size=20).map(str.encode)
"""Also what str.splitlines, but no event stream, takes for the end of a line."""


@given(st.lists(LINES, max_size=5))
def test_payloads_survive_any_line_ending(payloads: list[bytes]) -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        data = b"".join(b"data: " + payload + end + end for payload in payloads)
        assert read([data[:9], data[9:]]) == payloads


def test_an_event_without_its_blank_line_is_not_lost() -> None:
    assert read([b"data: [DONE]\n"]) == [b"[DONE]"]


def test_comments_and_fields_are_told_from_what_is_no_event_stream() -> None:
    for data, expected in ((b": ping\n", True), (b"data: 1\n", True), (b"<html>\n", False)):
        stream = sse.EventStream()
        stream.feed(data)
        assert stream.seen is expected


def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_LINE", 100)
    stream = sse.EventStream()
    stream.feed(b"x" * 100)
    with pytest.raises(BadReply, match="a line of more than"):
        stream.feed(b"x")
