"""How much of a parent's data its child would have, held against counting byte by byte."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abyme.context.handing import Documents, Handed, NodeData, Piece
from abyme.context.load import load
from abyme.context.sharing import share_of, without

TEXTS = {"a": "".join(f"{i} one\n" for i in range(900)), "b": "ß two\n" * 700, "c": "x"}


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    folder = tmp_path_factory.mktemp("sharing")
    data = load(dict(TEXTS), folder=folder / "data")
    return Documents(data, {}, folder / "data", lambda *_: None)


def bytes_of(node: NodeData) -> set[tuple[int, int]]:
    """Every byte of the run's documents that a node has."""
    return {
        (index, place)
        for index, document in zip(node.indices, node.data.documents, strict=True)
        for place in range(document.offset + document.bom, document.offset + document.bytes)
    }


PLACES = st.integers(0, 5_000)
PIECES = st.one_of(
    st.builds(Piece, document=st.just(0), start=PLACES, end=PLACES),
    st.builds(Piece, document=st.integers(0, 2)),
    st.builds(Piece, text=st.sampled_from(["made", TEXTS["a"]])),
)
ASKED = st.lists(PIECES, max_size=5).map(
    lambda pieces: Handed(
        pieces=tuple(
            Piece(
                document=piece.document,
                start=min(piece.start, piece.end or 0),
                end=None if piece.end is None else max(piece.start, piece.end),
                text=piece.text,
                name=str(number),
            )
            for number, piece in enumerate(pieces)
        )
    )
)


@settings(max_examples=60, deadline=None)
@given(ASKED, ASKED)
def test_bytes_that_both_have_are_counted_once(
    documents: Documents, first: Handed, second: Handed
) -> None:
    parent = asyncio.run(documents.hand_over(documents.root, first))
    child = asyncio.run(documents.hand_over(documents.root, second))
    have, given = bytes_of(parent), bytes_of(child)
    assert share_of(parent, child) == pytest.approx(len(have & given) / max(1, len(have)))
    assert share_of(parent, parent) == 1.0


def test_what_was_copied_into_a_text_is_taken_out_of_it(tmp_path: Path) -> None:
    data = load(dict(TEXTS), folder=tmp_path)
    whole = sum(len(text.encode()) for text in TEXTS.values())
    joined = "--".join(TEXTS.values())
    assert without(data, f"What? {joined}!") == ("What? ----!", whole)
    assert without(data, TEXTS["a"][100:-100]) == ("", len(TEXTS["a"]) - 200)
    assert without(data, "none of it") == ("none of it", 0)
    assert without(data, "") == ("", 0)
