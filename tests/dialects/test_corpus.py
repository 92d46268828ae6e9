"""Every reply of the corpus leads to what its row says."""

from __future__ import annotations

import pytest

from abyme.dialects.finish import FinishRule
from abyme.dialects.literals import literal_argument
from abyme.dialects.messages import Fenced
from abyme.types import Finish
from dialects.corpus import CORPUS, REPORTED, Row, ran

DIALECT = Fenced()


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: row.id)
def test_reply(row: Row) -> None:
    cells = DIALECT.cells(row.reply)
    assert cells == row.cells
    if cells:
        assert literal_argument(cells) is row.literal
        check_verdict(row)
    else:
        check_prose(row)


def check_prose(row: Row) -> None:
    finish = DIALECT.prose_finish(row.reply)
    assert (finish.text if finish else None) == row.prose
    assert (finish.variable or None if finish else None) == row.variable


def check_verdict(row: Row) -> None:
    rule = FinishRule()
    if row.held is not None:
        held = Finish(row.held, row.held)
        rule.judge([f"FINAL({row.held!r})"], [ran("seen")], held)
    assert row.results is not None
    finish = None if row.finish is None else Finish(row.finish, row.finish)
    verdict = rule.judge(row.cells, row.results, finish)
    assert (type(verdict).__name__ if verdict else "") == row.verdict


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(CORPUS) >= 60
    assert len({row.id for row in CORPUS}) == len(CORPUS)
    assert sum(bool(row.link) for row in REPORTED) == len(REPORTED) >= 30
