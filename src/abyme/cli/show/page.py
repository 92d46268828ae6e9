"""Lines with styles, and the two ways they are put out: onto a terminal, and as plain text.

Whatever a document or a model wrote is made harmless here, at the one place that all of it passes.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from abyme.cli.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Style = Literal["", "dim", "bold", "title", "bad", "good", "call"]
Span = tuple[str, Style]
Write = Callable[[str], None]

_RICH: dict[Style, str] = {
    "": "",
    "dim": "dim",
    "bold": "bold",
    "title": "bold cyan",
    "bad": "red",
    "good": "green",
    "call": "magenta",
}
_TAB = 4
_PLAIN_WIDTH = 200


class Line(NamedTuple):
    """One line, wrapped where it is too long; ``rest`` is the margin of what is wrapped."""

    spans: tuple[Span, ...]
    margin: str = ""
    rest: str | None = None


class Code(NamedTuple):
    """Python, highlighted where there are colours."""

    text: str
    margin: str = ""


class Rule(NamedTuple):
    """Where a part begins: its title, and figures of it."""

    title: str
    facts: str = ""


Piece = Line | Code | Rule


class Page(Protocol):
    """Takes pieces and puts them out."""

    width: int
    """Columns, for those that cut their texts to it."""

    def put(self, piece: Piece) -> None:
        """Put out one piece."""


def line(*spans: Span | str, margin: str = "", rest: str | None = None) -> Line:
    """A line of texts, with or without a style each."""
    return Line(tuple((s, "") if isinstance(s, str) else s for s in spans), margin, rest)


class PlainPage:
    """Text without colours or wrapping: for pipes and files."""

    width = _PLAIN_WIDTH

    def __init__(self, write: Write) -> None:
        self._write = write

    def put(self, piece: Piece) -> None:
        """See :class:`Page`."""
        match piece:
            case Line(spans, margin, _):
                self._write((margin + "".join(_one_line(text) for text, _ in spans)).rstrip(" "))
            case Code(text, margin):
                for row in printable(text).split("\n"):
                    self._write((margin + row).rstrip(" "))
            case Rule(title, facts):
                self._write("")
                self._write(f"── {title}" + (f" · {facts}" if facts else ""))


class TerminalPage:
    """Colours, wrapping and highlighting, for a terminal of ``width`` columns."""

    def __init__(self, write: Write, width: int) -> None:
        self.width = max(40, width)
        self._write = write

    def put(self, piece: Piece) -> None:
        """See :class:`Page`."""
        from rich.text import Text

        match piece:
            case Line(spans, margin, rest):
                text = Text(overflow="fold")
                for said, style in spans:
                    text.append(_one_line(said).expandtabs(_TAB), _RICH[style])
                self._wrapped(text, margin, margin if rest is None else rest)
            case Code(code, margin):
                for row in self._highlighted(code):
                    self._wrapped(row, margin, margin + "  ")
            case Rule(title, facts):
                self._rule(_one_line(title), _one_line(facts))

    def _wrapped(self, text: Text, margin: str, rest: str) -> None:
        from rich.text import Text

        text.rstrip()
        rows = [text]
        if len(margin) + text.cell_len > self.width:
            room = max(20, self.width - max(len(margin), len(rest)))
            rows = list(text.wrap(self._console, room))
        for number, row in enumerate(rows):
            row.rstrip()
            before = margin if number == 0 else rest
            self._print(Text().append(before, "dim").append_text(row))

    def _rule(self, title: str, facts: str) -> None:
        from rich.text import Text

        room = self.width - len(title) - len(facts) - 8
        self._print(Text())
        head = Text().append("── ", "dim").append(title, _RICH["title"])
        if facts and room < 2:
            self._print(head.append(" " + "─" * max(2, self.width - len(title) - 4), "dim"))
            self._wrapped(Text(facts, "dim"), "   ", "   ")
            return
        head.append(" " + "─" * room + ("──" if not facts else ""), "dim")
        self._print(head.append(f" {facts} ──" if facts else "──", "dim"))

    def _highlighted(self, code: str) -> Iterator[Text]:
        from rich.syntax import Syntax

        syntax = Syntax("", "python", theme="ansi_dark", background_color="default")
        text = syntax.highlight(printable(code).expandtabs(_TAB))
        yield from text.split("\n", allow_blank=False)

    def _print(self, text: Text) -> None:
        self._console.print(text, no_wrap=True, overflow="ignore", crop=False, end="")
        file = self._console.file
        assert isinstance(file, io.StringIO)
        self._write(file.getvalue())
        file.seek(0)
        file.truncate()

    @functools.cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(
            file=io.StringIO(),
            force_terminal=True,
            width=self.width,
            highlight=False,
            markup=False,
            emoji=False,
        )


def _one_line(text: str) -> str:
    return printable(text).replace("\n", " ")
