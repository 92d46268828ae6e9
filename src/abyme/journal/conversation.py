"""One question's messages, replies and cells, for a loop that goes through them again."""

from __future__ import annotations

import msgspec

from abyme.errors import JournalError
from abyme.events import Event
from abyme.types import Answer, CellResult, Message, Reply


class Cell(msgspec.Struct, frozen=True):
    """A cell that was started: what it takes to run it again. ``result``: None where it is open.

    ``question``: the number of the question that it was written for.
    """

    cell: int
    turn: int
    code: str
    clock: float
    question: int = 1
    result: CellResult | None = None


class Exchange(msgspec.Struct, frozen=True):
    """A question that was dealt with; ``answer`` is None where its run was left without one."""

    question: str
    answer: Answer | None
    messages: tuple[Message, ...]


class Conversation:
    """One question's messages, replies and cells, for a loop that goes through them again.

    With nothing in it, it is that of a new question.
    """

    def __init__(self, question: str, number: int, turns_before: int, cells_before: int) -> None:
        self.question = question
        self.number = number
        self.turns_before = turns_before
        self.cells_before = cells_before
        self.messages: list[Message] = []
        self.replies: dict[str, Reply] = {}
        self.cells: dict[int, Cell] = {}
        self.facts: set[Event] = set()
        self.resumed_at = -1
        """The length of its history when it was resumed although it had come to an end."""
        self.over = False

    def stop(self) -> None:
        """Something new has happened: what else is recorded belongs to a course not taken."""
        self.over = True

    def message(self, index: int, role: str) -> Message | None:
        """The recorded message of that place in the history."""
        if self.over or index >= len(self.messages):
            return None
        if self.messages[index].role != role:
            self.stop()
            return None
        return self.messages[index]

    def has_reply(self, key: str) -> bool:
        """Whether the model's reply to this call is recorded."""
        return not self.over and key in self.replies

    def reply(self, key: str) -> Reply | None:
        """The recorded reply; without one the tape is over, as by :meth:`stop`."""
        if self.has_reply(key):
            return self.replies[key]
        self.stop()
        return None

    def has(self, event: Event) -> bool:
        """Whether this fact of the loop's is recorded."""
        return not self.over and event in self.facts

    def went_on(self, index: int) -> bool:
        """Whether a turn that left a history of ``index`` messages was not the last one."""
        return not self.over and (index < len(self.messages) or index == self.resumed_at)

    def cut_off(self, cell: int) -> Cell | None:
        """The cell that its run was killed in, where it is this one."""
        found = None if self.over else self.cells.get(cell)
        return found if found is not None and found.result is None else None

    def result(self, cell: int, code: str) -> CellResult | None:
        """The recorded result of a cell.

        Raises :class:`JournalError` where another code ran under its number: the replies are
        read otherwise now than they were then.
        """
        found = None if self.over else self.cells.get(cell)
        if found is None:
            return None
        if found.code != code:
            raise JournalError(
                f"this version of abyme finds other code in the reply of turn {found.turn} than "
                "the one that ran it: go on with that version, or fork the run before that turn"
            )
        return found.result
