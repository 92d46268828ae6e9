"""The questions of the benchmark: read from TOML files of one form, and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["telling", "free"]
"""Whether a question keeps a telling word of its passage or is a free paraphrase."""

LONGEST_PASSAGE = 1_200
"""Characters of the longest quoted passage that counts."""


@dataclass(frozen=True)
class Question:
    """What is asked of which corpus; ``gold``: strings of which a hit holds one."""

    set: str
    corpus: str
    kind: Kind
    ask: str
    gold: tuple[str, ...]

    def hit(self, passage: str) -> bool:
        """Whether a passage is short enough to count and holds a gold string."""
        plain = spaced(passage)
        return len(passage) <= LONGEST_PASSAGE and any(spaced(gold) in plain for gold in self.gold)

    def rank(self, passages: Sequence[str]) -> int:
        """The place, from 1, of the first passage that is a hit; 0 where none is."""
        return next((at for at, each in enumerate(passages, 1) if self.hit(each)), 0)


def spaced(text: str) -> str:
    """``text`` with one space for white space of any length."""
    return " ".join(text.split())


def load(path: Path) -> list[Question]:
    """The questions of a file. Raises ``ValueError`` for one that is not of the form."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    questions = []
    for number, item in enumerate(table.get("question", []), 1):
        if (
            item.get("kind") not in get_args(Kind)
            or not all(isinstance(item.get(key), str) for key in ("ask", "corpus"))
            or not (isinstance(item.get("gold"), list) and item["gold"])
        ):
            raise ValueError(
                f"{path.name}, question {number}: needs corpus, kind (telling or free), ask and "
                "gold (a list of strings)"
            )
        name = item.get("set", table.get("set", path.stem))
        gold = tuple(item["gold"])
        questions.append(Question(name, item["corpus"], item["kind"], item["ask"], gold))
    return questions


def without_gold(questions: Iterable[Question], files: Sequence[Path]) -> list[str]:
    """The gold strings that no file of the corpus holds."""
    missing = {spaced(gold) for question in questions for gold in question.gold}
    for path in files:
        if not missing:
            break
        text = spaced(path.read_text(encoding="utf-8", errors="replace"))
        missing = {gold for gold in missing if gold not in text}
    return sorted(missing)
