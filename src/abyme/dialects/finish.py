"""When an answer counts.

An answer is handed over by a call that was executed; :class:`FinishRule` decides whether it stands.
An answer that the model typed, rather than computed, may have been made up before the output beside
it was seen: such an answer is held for one turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from abyme.dialects.literals import literal_argument
from abyme.inside.shorten import shorten
from abyme.types import CellResult, Ended, Finish

_SHOWN = 400
"""Characters of an answer that a note to the model repeats."""


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The answer stands: the run is complete."""

    finish: Finish


class Held(msgspec.Struct, frozen=True, tag=True):
    """A typed answer beside output that had not been seen: ``message`` asks to confirm it."""

    finish: Finish
    message: str


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """An answer in a reply that did not run to its end; ``message`` says why it does not count."""

    finish: Finish
    message: str


Verdict = Accepted | Held | Rejected

_BROKE_OFF: dict[Ended, str] = {
    "raised": "raised an exception",
    "interrupted": "was interrupted at its deadline",
    "died": "ended with the worker",
}


class FinishRule:
    """Judges the answers of one node, reply by reply.

    ``draft`` is the last answer that was handed over, whatever became of it, or the last text put
    into ``answer["content"]``: what a run that cannot go on returns as its partial answer.
    ``misfit`` says why an answer is not of the type that was asked for; "" where it is.
    """

    def __init__(self, misfit: Callable[[Finish], str] | None = None) -> None:
        self._misfit = misfit
        self.draft: Finish | None = None
        self._held: Finish | None = None
        self._content = ""

    def judge(
        self, cells: Sequence[str], results: Sequence[CellResult], finish: Finish | None
    ) -> Verdict | None:
        """What becomes of ``finish``, the last one that the cells of this reply recorded.

        None where they recorded none. A typed answer that was held is accepted when it comes
        again, since the output it was held for has been shown by then.
        """
        self._note_draft(results)
        if finish is None:
            return None
        self.draft = finish
        if (reason := _broken(cells, results)) is not None:
            return Rejected(finish, f"{_quoted(finish)} does not count: {reason}.")
        if self._misfit is not None and (why := self._misfit(finish)):
            return Rejected(finish, f"{_quoted(finish)} does not count: {why}")
        unseen = any(result.output_chars > 0 or result.calls > 0 for result in results)
        confirmed = self._held is not None and _says_the_same(self._held.text, finish.text)
        if unseen and not confirmed and literal_argument(cells):
            self._held = finish
            return Held(finish, f"{_quoted(finish)} is held for one turn: {_WHY_HELD}")
        return Accepted(finish)

    def _note_draft(self, results: Sequence[CellResult]) -> None:
        """Take ``answer["content"]`` where it is new; it stays set while later cells run."""
        text = next((result.draft for result in reversed(results) if result.draft), "")
        if text and text != self._content:
            self._content = text
            self.draft = Finish(value=text, text=text, via="answer")


_WHY_HELD = (
    "it was typed out beside code whose output you had not seen. Look at that output now. If the "
    "answer stands, hand over the same value again in a cell; if not, go on working."
)


def _broken(cells: Sequence[str], results: Sequence[CellResult]) -> str | None:
    """Why this reply cannot carry an answer. ``sys.exit()`` after the answer is no reason."""
    for number, result in enumerate(results, 1):
        if result.ended in _BROKE_OFF:
            return f"cell {number} of its reply {_BROKE_OFF[result.ended]}"
    if len(results) < len(cells):
        return f"only {len(results)} of the {len(cells)} cells of its reply ran"
    return None


def _says_the_same(held: str, given: str) -> bool:
    """One repeats the other, perhaps with words around it: ``110`` and ``110 kettles``."""
    if held == given:
        return True
    shorter, longer = sorted((_words(held), _words(given)), key=len)
    return bool(shorter.strip()) and shorter in longer


def _words(text: str) -> str:
    """The words of a text between single spaces, so that ``4`` is not in ``42`` or ``4.2``."""
    words = re.findall(r"\w+(?:[.,]\w+)*", text.casefold())
    return f" {' '.join(words)} "


def _quoted(finish: Finish) -> str:
    return f"The answer «{shorten(finish.text, _SHOWN)}»"
