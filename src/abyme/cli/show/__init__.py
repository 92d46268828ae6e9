"""``abyme show``: a run told again from its journal."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from abyme.cli.show import turns
from abyme.cli.show.family import family, has_children, overview
from abyme.cli.show.fold import Counter, parts
from abyme.cli.show.page import Page, Piece, PlainPage, TerminalPage, Write
from abyme.cli.show.values import End, Head, Section, Turn
from abyme.cli.text import plural
from abyme.errors import JournalError
from abyme.events import ROOT, NodeStarted, node_of
from abyme.journal.format import JOURNAL
from abyme.journal.reader import Record, read
from abyme.journal.summary import is_going, is_run_id
from abyme.types import Answer

_Told = TypeVar("_Told")


def show(
    folder: Path,
    write: Write,
    *,
    turn: int | None = None,
    node: str = ROOT,
    width: int | None = None,
) -> None:
    """Tell the run in ``folder``, or only turn ``turn``, that one in full; of its ``node``.

    ``write`` puts out one line. ``width``: the columns of the terminal it leads to; None where it
    leads elsewhere and plain text is wanted. Raises :class:`JournalError` where the journal cannot
    be read or there is no such turn or node.
    """
    page: Page = PlainPage(write) if width is None else TerminalPage(write, width)
    going = is_going(folder)
    for piece in _checked(folder, _pieces(folder, turn, node, page.width, going)):
        page.put(piece)


def show_json(
    folder: Path, write: Write, *, turn: int | None = None, node: str | None = None
) -> None:
    """Write every event, or those of one turn or node, as one line of JSON each."""
    for line in _checked(folder, event_lines(read(folder), turn, node)):
        write(line)


def event_lines(
    records: Iterable[Record], turn: int | None = None, node: str | None = None
) -> Iterator[str]:
    """Every event as one line of JSON, with its number and time.

    Of ``turn`` only, if given: the root's, or that of ``node``. Of ``node`` only, if that is given:
    what befell it, and that children of its own began and ended. Raises :class:`JournalError` where
    there is no such turn or node.
    """
    whose = ROOT if node is None else node
    counter, last, there = Counter(whose), 0, False
    for record in records:
        number = counter.turn_of(record.event)
        last = max(last, counter.asked)
        there = there or (isinstance(record.event, NodeStarted) and record.event.node == whose)
        is_its_own = number > 0 or node_of(record.event) == whose
        if (turn is None and (node is None or is_its_own)) or (turn == number and number > 0):
            line = {"seq": record.seq, "at": record.at, **_plain(record.event)}
            yield json.dumps(line, ensure_ascii=False)
    if node is not None and not there:
        raise _no_node(node)
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


def _pieces(folder: Path, turn: int | None, node: str, width: int, going: bool) -> Iterator[Piece]:
    found, which = False, Head()
    run = folder.name if is_run_id(folder.name) else ""
    for part in parts(read(folder), only=turn, run=run, going=going, node=node):
        match part:
            case Head() if node != ROOT and part.node is None:
                raise _no_node(node)
            case Head() if turn is None:
                yield from turns.head(part)
                if has_children(folder):
                    yield from overview(family(read(folder), node), width, going=going)
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


def _no_node(node: str) -> JournalError:
    return JournalError(f"there is no node {node[:40]!r}: `abyme show` has the tree of this run")


def _no_turn(turn: int, count: int) -> JournalError:
    return JournalError(f"there is no turn {turn}: this run has {plural(count, 'turn')}")


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, str_keys=True)
