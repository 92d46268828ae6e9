"""Every field of every event has a rule for journals without texts."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from abyme import Answer
from abyme.events import JOURNALLED
from abyme.journal.reader import read
from abyme.journal.redaction import FIELDS
from support.runs import cell, scripted_rlm


@pytest.mark.parametrize("kind", [*get_args(JOURNALLED), *FIELDS], ids=lambda kind: kind.__name__)
def test_every_field_has_a_rule(kind: type[msgspec.Struct]) -> None:
    assert set(FIELDS[kind]) == set(kind.__struct_fields__)


def test_a_session_without_texts(runs: Path) -> None:
    rlm = scripted_rlm(runs, [cell("FINAL('one')")], redact=True)
    with rlm.session("some text") as session:
        answers: list[Answer] = [session.ask("first?"), session.ask("what of zebras?")]
        folder = runs / session.run
    assert [answer.text for answer in answers] == ["one", "one"]
    assert all(answer.status == "complete" for answer in answers)
    assert "zebras" not in (folder / "journal.jsonl").read_text()
    assert sum(1 for _ in read(folder)) > 10
