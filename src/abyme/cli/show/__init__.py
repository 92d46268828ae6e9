"""``abyme show``: a run told again from its journal."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from abyme.cli.show import turns
from abyme.cli.show.fold import Counter, parts
from abyme.cli.show.page import Page, Piece, PlainPage, TerminalPage, Write
from abyme.cli.show.values import End, Head, Section, Turn
from abyme.cli.text import plural
from abyme.errors import JournalError
from abyme.journal.format import JOURNAL
from abyme.journal.reader import Record, read
from abyme.journal.summary import is_going, is_run_id
from abyme.types import Answer

_Told = TypeVar("_Told")


def show(folder: Path, write: Write, *, turn: int | None = None, width: int | None = None) -> None:
    """Tell the run in ``folder``, or only its turn ``turn``, that one in full.

    ``write`` puts out one line. ``width``: the columns of the terminal it leads to; None where it
    leads elsewhere and plain text is wanted. Raises :class:`JournalError` where the journal cannot
    be read or there is no such turn.
    """
    page: Page = PlainPage(write) if width is None else TerminalPage(write, width)
    going = is_going(folder)
    for piece in _checked(folder, _pieces(folder, turn, page.width, going)):
        page.put(piece)


def show_json(folder: Path, write: Write, *, turn: int | None = None) -> None:
    """Write every event, or those of one turn, as one line of JSON each."""
    for line in _checked(folder, event_lines(read(folder), turn)):
        write(line)


def event_lines(records: Iterable[Record], turn: int | None = None) -> Iterator[str]:
    """Every event as one line of JSON, with its number and time; of ``turn`` only, if given.

    Raises :class:`JournalError` where there is no such turn.
    """
    counter, last = Counter(), 0
    for record in records:
        number = counter.turn_of(record.event)
        last = max(last, counter.asked)
        if turn is None or (turn == number and turn > 0):
            line = {"seq": record.seq, "at": record.at, **_plain(record.event)}
            yield json.dumps(line, ensure_ascii=False)
    if turn is not None and not 0 < turn <= last:
        raise _no_turn(turn, last)


def answer_json(answer: Answer) -> str:
    """The answer's fields under their own names, as one JSON object."""
    return json.dumps(_plain(answer), ensure_ascii=False, indent=2)


def _checked(folder: Path, told: Iterator[_Told]) -> Iterator[_Told]:
    """What is told, as far as a journal holds numbers and values that no run would write."""
    try:
        yield from told
    except (ValueError, OverflowError, RecursionError) as error:
        raise JournalError(f"{folder / JOURNAL} holds what cannot be shown: {error}") from error


def _pieces(folder: Path, turn: int | None, width: int, going: bool) -> Iterator[Piece]:
    found, which = False, Head()
    run = folder.name if is_run_id(folder.name) else ""
    for part in parts(read(folder), only=turn, run=run, going=going):
        match part:
            case Head() if turn is None:
                yield from turns.head(part)
            case Head():
                which = part
            case Turn() if turn is None:
                yield from turns.turn_in_brief(part, width)
            case Turn():
                found = True
                yield from itertools.islice(turns.head(which), 1)  # the line that names the run
                yield from turns.turn_in_full(part)
            case Section() if turn is None:
                yield from turns.section(part)
            case End() if turn is None:
                yield from turns.ending(part)
            case End(turns=count) if not found:
                raise _no_turn(turn or 0, count)
            case _:
                pass


def _no_turn(turn: int, count: int) -> JournalError:
    return JournalError(f"there is no turn {turn}: this run has {plural(count, 'turn')}")


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, str_keys=True)
