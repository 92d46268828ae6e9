"""What a run shows on a terminal while it goes on: a tree of turns whose last branch moves.

What is over is printed once and stays; the turn that is under way is drawn anew ten times a second.
Everything happens in the thread of whoever calls, so that the engine's is never held up by a
terminal. ``rich`` is imported with this module: import it once the run is under way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from abyme.cli.ask.notices import Notices
from abyme.cli.ask.turns import Child, Turn, Turns
from abyme.cli.text import (
    bytes_text,
    children_text,
    cost_text,
    count_text,
    limit_text,
    plural,
    printable,
    seconds_text,
)
from abyme.events import ROOT, Event, TurnEnded
from abyme.progress import Progress, Tally

_EVERY = 0.1
"""Seconds between two frames."""
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_CODE_LINES = 12
_OUTPUT_LINES = 3
_CHILDREN = 3
"""Children at work of which each has a line."""
_KEPT_FREE = 10
"""Lines of the terminal that code leaves to all else."""


class LiveTree:
    """A display on stderr. Takes events as they come; ``tick`` draws, ``close`` leaves it tidy."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._tally = Tally()
        self._turns = Turns()
        self._notices = Notices()
        self._recalled = 0
        """Turns of before, that are not shown."""
        self._drawn = 0.0
        self._frame = 0
        self._over: Turn | None = None
        """The turn that ended last; printed when it is known whether another follows."""
        self._highlighted = ("", Text(""))
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        # Hidden it would stay hidden wherever this process is stopped or killed.
        self._console.show_cursor(True)

    def recall(self, events: Sequence[Event], seconds: float) -> None:
        """Take what happened before the run goes on, without a word."""
        self._tally.recall(events, seconds)
        self._turns.recall(events)
        turn = self._turns.current
        in_turn = turn is not None and turn.seconds is None
        self._notices.recall(self._tally.progress, in_turn=in_turn)
        self._recalled = len(self._turns.all)

    def take(self, event: Event) -> None:
        """Take one event; what is worth a line of its own is printed above what moves."""
        self._tally.take(event)
        before = len(self._turns.all)
        self._turns.take(event)
        if len(self._turns.all) > before:
            self._live.update(self._moving())  # what is over must not be drawn under its own line
            self._print_over("├── ")
        margin = "│   " if len(self._turns.all) > self._recalled else ""
        for line in self._notices.lines(event):
            is_bad = line.startswith(("warning", "limit", "attempt", "the worker", "child "))
            text = Text(printable(line), "yellow" if is_bad else "")
            for part in text.wrap(self._console, max(20, self._console.width - len(margin))):
                self._console.print(Text.assemble((margin, "dim"), part))
        if isinstance(event, TurnEnded) and event.node == ROOT:
            self._over = self._turns.current

    def tick(self) -> None:
        """Called several times a second: draws what moves anew."""
        now = time.monotonic()
        if now - self._drawn >= _EVERY:
            self._drawn = now
            self._frame += 1
            self._live.update(self._moving(), refresh=True)

    def close(self) -> None:
        """Take away what moves. What was printed stays."""
        self._live.update(Text(""))
        self._live.stop()
        turn = self._turns.current
        if turn is not None and turn.seconds is None:  # the run ended within it
            self._print_over("├── ")
            turn.seconds = time.monotonic() - turn.began
            self._over = turn
        self._print_over("└── ")

    def _print_over(self, branch: str) -> None:
        if self._over is not None:
            line = Text.assemble((branch, "dim"), _finished(self._over))
            line.truncate(self._console.width, overflow="ellipsis")
            self._console.print(line, soft_wrap=True)
            self._over = None

    # -- what moves ----------------------------------------------------------------------------

    def _moving(self) -> RenderableType:
        now = self._tally.progress
        spinner = (_FRAMES[self._frame % len(_FRAMES)] + " ", "cyan")
        turn = self._turns.current
        if turn is None:
            return Text.assemble(spinner, _loading(now))
        branch = Tree(Text.assemble(spinner, _doing(turn, now)), guide_style="dim")
        if turn.seconds is None:
            self._add_details(branch, turn, now)
        totals = Table.grid(padding=(0, 1))
        totals.add_row(Text(_totals(now), "dim"), ProgressBar(1.0, now.used, width=10))
        # A `^C` that the terminal echoes at the end must not wrap: then a line would stay behind.
        return Constrain(Group(branch, totals), self._console.width - 3)

    def _add_details(self, branch: Tree, turn: Turn, now: Progress) -> None:
        if turn.says:
            branch.add(_line(turn.says, "italic"))
        if turn.code:
            branch.add(self._code(turn.code))
        printed = [line for line in turn.output.split("\n")[-_OUTPUT_LINES - 1 :] if line.strip()]
        for line in printed[-_OUTPUT_LINES:]:
            branch.add(_line(f"> {line}", "dim"))
        if now.children_at_work or now.children_waiting:
            children = branch.add(_children(turn, now))
            longest = list(self._turns.at_work.values())[:_CHILDREN]
            for child in longest if self._console.height > 2 * _KEPT_FREE else ():
                children.add(_line(_working(child), "dim"))
        if now.sub_calls_in_flight or now.sub_calls_waiting:
            branch.add(_sub_calls(turn, now))
        if now.jobs:
            branch.add(_line(f"{plural(now.jobs, 'job')} not fetched yet", "dim"))

    def _code(self, code: str) -> Text:
        """The beginning of the code that runs, coloured; coloured once, not for every frame."""
        if self._highlighted[0] != code:
            room = max(3, min(_CODE_LINES, self._console.height - _KEPT_FREE))
            lines = printable(code.strip("\n")).split("\n")
            width = max(20, self._console.width - 6)
            shown = "\n".join(_cut(line, width) for line in lines[:room])
            text = Syntax("", "python", theme="ansi_dark").highlight(shown)
            text.rstrip()
            if len(lines) > room:
                text.append(f"\n… {plural(len(lines) - room, 'more line')}", "dim")
            self._highlighted = (code, text)
        return self._highlighted[1]


def _finished(turn: Turn) -> Text:
    text = Text(f"{turn.line()} · {seconds_text(turn.seconds or 0)}")
    if turn.says:
        text.append(f"  {printable(turn.says)}", "dim italic")
    return text


def _doing(turn: Turn, now: Progress) -> str:
    elapsed = seconds_text(time.monotonic() - turn.began)
    if now.stage == "thinking":
        heard = f", {count_text(turn.heard)} characters" if turn.heard else ""
        return f"turn {turn.number} · the model writes{heard} · {elapsed}"
    return f"turn {turn.number} · cell {turn.cells} runs · {elapsed}"


def _children(turn: Turn, now: Progress) -> RenderableType:
    """``3 children at work, 17 done``, and a bar of it."""
    done = turn.children
    total = done + now.children_at_work + now.children_waiting
    parts = [f"{children_text(now.children_at_work)} at work"]
    if now.children_waiting:
        parts.append(f"{now.children_waiting:,} waiting")
    parts.append(f"{done - turn.children_failed:,} done")
    return _share(", ".join(parts), turn.children_failed, done, total)


def _working(child: Child) -> str:
    seconds = seconds_text(time.monotonic() - child.began)
    turn = f"turn {child.turn} · " if child.turn else ""
    return f"{child.node} · {turn}{seconds} · {' '.join(child.question[:200].split())}"


def _sub_calls(turn: Turn, now: Progress) -> RenderableType:
    """``120 done · 64 in flight · 816 waiting · 2 failed``, and a bar of it."""
    done = turn.sub_calls
    total = done + now.sub_calls_in_flight + now.sub_calls_waiting
    parts = [f"{done - turn.failed:,} done", f"{now.sub_calls_in_flight:,} in flight"]
    if now.sub_calls_waiting:
        parts.append(f"{now.sub_calls_waiting:,} waiting")
    return _share("sub-calls: " + " · ".join(parts), turn.failed, done, total)


def _share(said: str, failed: int, done: int, total: int) -> RenderableType:
    """A line, and a bar of how much of it is done."""
    text = Text(said)
    if failed:
        text.append(f" · {failed:,} failed", "red")
    row = Table.grid(padding=(0, 1))
    row.add_row(text, ProgressBar(total, done, width=12))
    return row


def _totals(now: Progress) -> str:
    """What is spent, each beside its limit where it has one."""
    limits = now.limits
    parts = [f"{now.usage.tokens:,}{_of(limits.get('max_tokens'), '{:,}')} tokens"]
    if now.cost is not None:
        parts.append(f"{cost_text(now.cost)}{_of(limits.get('max_cost'), '${:g}')}")
    parts.append(f"{now.calls:,}{_of(limits.get('max_calls'), '{:,}')} calls")
    most = limits.get("max_seconds")
    parts.append(seconds_text(now.seconds) + (f" of {limit_text(most)}" if most else ""))
    return " · ".join(parts)


def _of(limit: float | None, form: str) -> str:
    return "" if limit is None else f" of {form.format(limit)}"


def _loading(now: Progress) -> str:
    if not now.documents:
        return f"loading: {bytes_text(now.bytes)} so far" if now.bytes else "loading the data …"
    return f"loading: {plural(now.documents, 'document')}, {bytes_text(now.bytes)}"


def _line(text: str, style: str) -> Text:
    return Text(printable(text), style, no_wrap=True, overflow="ellipsis")


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
