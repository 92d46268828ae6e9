"""What a child is given: never more than its parent has, and exactly what was named."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from abyme.context.documents import PAGE, Document
from abyme.context.handing import Documents, Handed, Handing, NodeData, Piece
from abyme.context.load import load
from abyme.errors import CallFailed

TEXTS = {"a.txt": "ä" * 3000 + "one\n" * 3000, "b.txt": "two\n" * 5000, "c.txt": "c"}


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    folder = tmp_path_factory.mktemp("handing")
    data = load(dict(TEXTS), folder=folder / "data")
    return Documents(data, {}, folder / "data", lambda *_: None)


def hand(documents: Documents, parent: NodeData, asked: Handed | None) -> NodeData:
    return asyncio.run(documents.hand_over(parent, asked))


def bytes_of(document: Document) -> bytes:
    return document.read(document.bom, document.bytes - document.bom)


PLACES = st.one_of(st.integers(0, 40_000), st.sampled_from([0, 1, PAGE, PAGE + 1, 9000, 20_000]))
PIECES = st.builds(
    Piece,
    document=st.integers(0, 4),
    start=PLACES,
    end=st.one_of(st.none(), PLACES),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=1), st.lists(PIECES, min_size=1, max_size=1))
@example([Piece(document=0, start=2, end=9000)], [Piece(document=0, start=0, end=20)])
@example([Piece(document=0, start=0, end=0)], [Piece(document=0, start=0, end=1)])
def test_no_chain_of_children_sees_more_than_its_parent(
    documents: Documents, first: list[Piece], second: list[Piece]
) -> None:
    """And what it sees is that part of it, byte for byte."""
    parent = documents.root
    seen = [bytes_of(document) for document in parent.data.documents]
    for pieces in (first, second):
        try:
            child = hand(documents, parent, Handed(kind="text", pieces=tuple(pieces)))
        except CallFailed:
            return
        (piece,) = pieces
        assert piece.document is not None and piece.document < len(seen)
        whole = parent.data.documents[piece.document]
        start = max(piece.start, whole.bom) - whole.bom if piece.end is not None else 0
        end = len(seen[piece.document]) if piece.end is None else piece.end - whole.bom
        assert bytes_of(child.data.documents[0]) == seen[piece.document][start : max(start, end)]
        assert documents.of(child.given).data == child.data, "and so it is found again"
        parent = child
        seen = [bytes_of(document) for document in child.data.documents]


@pytest.mark.parametrize(
    "pieces",
    [
        [Piece(document=3)],
        [Piece(document=0, start=5, end=4)],
        [Piece(document=0, start=0, end=10**9)],
        [Piece(document=2), Piece(document=2)],
        [Piece(text="a", name="x"), Piece(text="b", name="x")],
    ],
)
def test_what_is_refused(documents: Documents, pieces: list[Piece]) -> None:
    with pytest.raises(CallFailed):
        hand(documents, documents.root, Handed(pieces=tuple(pieces)))


def test_parts_of_utf_16_begin_and_end_with_characters(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("wide text\n" * 2000, "utf-16")
    data = load(tmp_path / "w.txt", folder=tmp_path / "data")
    documents = Documents(data, {}, tmp_path / "data", lambda *_: None)
    whole = documents.root.data.documents[0]
    part = hand(
        documents,
        documents.root,
        Handed(kind="text", pieces=(Piece(document=0, start=whole.bom + 20, end=whole.bom + 40),)),
    )
    assert bytes_of(part.data.documents[0]).decode(whole.encoding) == "wide text\n"
    with pytest.raises(CallFailed, match="no part of"):
        odd = Piece(document=0, start=whole.bom + 1, end=whole.bom + 21)
        hand(documents, documents.root, Handed(kind="text", pieces=(odd,)))


def test_the_same_as_a_text_for_a_prompt(documents: Documents) -> None:
    handing = Handing(documents, documents.root)

    def text(**asked: Any) -> str:
        return asyncio.run(handing.text(Handed(**asked)))

    assert text(whole=True) == "\n\n".join(TEXTS.values())
    assert text(pieces=(Piece(document=2), Piece(text="mine"))) == "c\n\nmine"
    assert asyncio.run(handing.text(None)) == ""
