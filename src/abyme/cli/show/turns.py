"""How a run's head, turns and end are told, in brief and in full."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from abyme.cli.show.calls import call_tree, calls_in_full
from abyme.cli.show.page import Code, Line, Piece, Rule, Span, Style, line
from abyme.cli.show.values import Cell, End, Head, Note, RootReply, Section, Turn
from abyme.cli.text import (
    answer_run,
    bytes_text,
    closing_line,
    cost_text,
    counts_text,
    fitting,
    models_text,
    plural,
    printable,
    quote_place,
    quote_rows,
)
from abyme.dialects.cells import spoken
from abyme.events import NodeEnded, NodeStarted, cell_of, parent_of
from abyme.types import Answer, CellResult

_PROSE = 6
_CODE = (30, 5)
_OUTPUT = (12, 5)
_ERROR = (4, 8)
"""Lines that are shown of the beginning and the end of a text, in brief."""
_ROW = 400
"""Characters of one of their lines."""
_LABEL = 10
_STATUS: dict[str, Style] = {"complete": "good", "partial": "title", "failed": "bad"}


def head(parts: Head) -> Iterator[Piece]:
    """What was asked, of whom, about what, held by what."""
    started = parts.started
    if started is None:
        return
    yield line(
        ("run ", "dim"),
        (parts.run, "bold"),
        (f" · {_when(parts.at)} · abyme {started.version}", "dim"),
        rest=" " * _LABEL,
    )
    if parts.node is not None and parent_of(parts.node.node):
        yield from _child_head(parts, parts.node)
        return
    base = f" · {started.base_url}" if started.base_url else ""
    models = models_text(started.model, started.sub_model, started.child_models)
    yield _labelled("model", models + base)
    yield _question(started.question)
    if parts.data is not None:
        data = f"{plural(parts.data.documents, 'document')}, {bytes_text(parts.data.bytes)}"
        if parts.data.skipped:
            data += f"; skipped: {counts_text(parts.data.skipped)}"
        yield _labelled("data", data)
    if parts.worker is not None:
        layers = ", ".join(parts.worker.layers) or "not confined"
        yield _labelled("sandbox", f"{parts.worker.sandbox}, {layers}")


def _child_head(parts: Head, node: NodeStarted) -> Iterator[Piece]:
    """What a child was asked, by which cell, of whom, about what."""
    cell = f", asked by cell {cell_of(node.key)} of {node.parent}"
    yield _labelled("child", f"{node.node}{cell}")
    yield _labelled("model", node.model)
    yield _question(node.question)
    yield _labelled("data", parts.given or "not known")


def turn_in_brief(turn: Turn, width: int) -> Iterator[Piece]:
    """A turn: its reply's prose in short, its code, what came of it, the calls it made."""
    yield from _turn_head(turn)
    reply = turn.reply
    if reply is not None and reply.text:
        prose = spoken(reply.text).strip() if turn.cells else reply.text.strip()
        rows = "\n".join(row for row in prose.split("\n") if row.strip())
        if rows:
            yield from _rows(rows, "  ", "", (_PROSE, 0) if turn.cells else _OUTPUT)
        if not turn.cells and not turn.final:
            yield line(("no code in this reply", "dim"), margin="  ")
    for cell in turn.cells:
        yield _cell_head(cell)
        yield Code(_brief(cell.code.strip("\n"), _CODE), "    ")
        yield from call_tree(cell.calls, width)
        yield from _result(cell.result, brief=True, width=width)
    yield from _notes(turn.after)


def turn_in_full(turn: Turn) -> Iterator[Piece]:
    """A turn with all its texts: what the model was told, its reply, code, calls, output."""
    yield from _turn_head(turn)
    for told in turn.told:
        yield line(("the model was told:", "dim"), margin="  ")
        yield from _rows(told, "    ", "")
    if turn.reply is not None and turn.reply.text:
        yield line(("it replied:", "dim"), margin="  ")
        yield from _rows(turn.reply.text, "    ", "")
    for cell in turn.cells:
        yield _cell_head(cell)
        yield Code(cell.code.strip("\n"), "    ")
        yield from calls_in_full(cell.calls)
        yield from _result(cell.result, brief=False, width=0)
    yield from _notes(turn.after)


def ending(end: End) -> Iterator[Piece]:
    """The answer with its quotes and what the run took; or where the journal stops."""
    yield from _notes(end.notes)
    if end.ended is not None:
        yield from _child_ended(end.ended)
        return
    if end.answer is None:
        when = f", at {_when(end.at)}" if end.at else ""
        yield Rule("no answer yet" if end.going else "no answer")
        if end.left:
            yield line("The run went on without this child, and has ended: nobody waited for it.")
        elif end.going:
            yield line(f"The run is still going. This is its journal so far{when}.")
        else:
            yield line(f"The journal ends here{when}: the run was killed, no process has it open.")
        return
    yield from _answer(end.answer)
    yield line((answer_run(end.answer), "dim"), rest="  ")


def _child_ended(ended: NodeEnded) -> Iterator[Piece]:
    """What a child handed to its parent's code, and what it and all below it took."""
    yield Rule("answer" if ended.status == "complete" else "draft")
    if ended.text:
        yield from _rows(ended.text, "", "")
    yield line("")
    facts = [
        plural(ended.turns, "turn"),
        plural(ended.usage.calls, "call"),
        f"{ended.usage.tokens:,} tokens",
        cost_text(ended.cost),
        f"{ended.seconds:.2f} s",
    ]
    style: Style = _STATUS.get(ended.status, "dim")
    yield line((ended.status, style), f" · {' · '.join(facts)}", rest="  ")
    if ended.error:
        yield line((ended.error, "bad"), rest="  ")


def section(parts: Section) -> Iterator[Piece]:
    """Where the run goes on another way; the answer of the question before comes first."""
    if parts.answer is not None:
        yield from _answer(parts.answer)
    if parts.note:
        yield line("")
        yield line((parts.note, "title"))
    if parts.question:
        yield Rule(f"question {parts.number}")
        yield from _rows(parts.question.strip(), "", "bold")


def _answer(answer: Answer) -> Iterator[Piece]:
    yield Rule("answer")
    yield from _rows(answer.text, "", "")
    yield from _quotes(answer)
    yield line("")
    yield _closing(answer)


def _closing(answer: Answer) -> Line:
    said = closing_line(answer)[len(answer.status) :]
    worker = ""
    if answer.peak_bytes:
        worker = f" · {bytes_text(answer.peak_bytes)} peak · {answer.cpu_seconds:.2f} s CPU"
    return line((answer.status, _STATUS[answer.status]), said, worker, rest="  ")


def _quotes(answer: Answer) -> Iterator[Piece]:
    for quote in answer.quotes:
        checked: Span = (" ✓ verified", "good") if quote.verified else (" ✗ not verified", "bad")
        yield line(quote_place(quote), checked, margin="  ")
        yield from (line(row, margin="    ") for row in quote_rows(quote, answer))


def _turn_head(turn: Turn) -> Iterator[Piece]:
    yield from _notes(turn.before)
    title = f"turn {turn.number}" + (", the last call" if turn.final else "")
    yield Rule(title, _reply_facts(turn.reply))
    yield from _notes(turn.attempts)
    reply = turn.reply
    if reply is not None and reply.in_flight:
        yield line(("in flight", "call"), margin="  ")
    elif reply is None or not reply.ended:
        yield line(("no reply is recorded", "bad"), margin="  ")
    elif reply.error:
        yield line((f"✗ failed: {reply.error}", "bad"), margin="  ")
    elif reply.cut:
        yield line(("the reply was cut at its token limit", "bad"), margin="  ")


def _reply_facts(reply: RootReply | None) -> str:
    if reply is None or not reply.ended:
        return ""
    usage = reply.usage
    cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    facts = [f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out"]
    if reply.cost:
        facts.append(cost_text(reply.cost))
    return " · ".join([*facts, f"{reply.seconds:.2f} s"])


def _cell_head(cell: Cell) -> Line:
    result = cell.result
    again: Span = (" · cut off, and run again" if cell.again else "", "dim")
    if result is None:
        state: Span = (
            (" · it is running", "call") if cell.in_flight else (" · it never ended", "bad")
        )
        return line((f"cell {cell.number}", "bold"), state, again, margin="  ")
    facts = (
        f" · {result.seconds:.2f} s · {result.cpu_seconds:.2f} s CPU · "
        f"{bytes_text(result.peak_bytes)} peak"
    )
    ended: Span = (f" · {result.ended}", "dim" if result.ok else "bad")
    return line((f"cell {cell.number}", "bold"), ended, (facts, "dim"), again, margin="  ")


def _result(result: CellResult | None, *, brief: bool, width: int) -> Iterator[Piece]:
    if result is None:
        return
    if result.output:
        yield from _rows(result.output.rstrip("\n"), "  > ", "", _OUTPUT if brief else None)
        if result.output_chars > len(result.output):
            whole = f"it printed {result.output_chars:,} characters; this is what was kept of them"
            yield line((whole, "dim"), margin="  > ")
    if result.error is not None:
        error = (result.error.traceback or result.error.message).strip()
        yield from _rows(error, "  ! ", "bad", _ERROR if brief else None)
    if result.variables and not brief:
        names = ", ".join(
            f"{item.name}: {item.type}" + (f" ({item.size})" if item.size else "")
            for item in result.variables
        )
        yield line(("variables: ", "dim"), names, margin="  ")
    for note in result.notes:
        yield line((note, "dim"), margin="  ")
    if result.finish is not None:
        said = printable(" ".join(result.finish.text.split()))
        said = fitting(said, min(width, 100) - 20) if brief else said
        yield line((f"{result.finish.via} → ", "good"), said, margin="  ")


def _notes(notes: Iterable[Note]) -> Iterator[Line]:
    for note in notes:
        yield line((note.text, "bad" if note.bad else "title"), margin="  ")


def _rows(
    text: str, margin: str, style: Style, ends: tuple[int, int] | None = None
) -> Iterator[Line]:
    """A text line by line; with ``ends`` only so many lines of its beginning and its end."""
    shown = text if ends is None else _brief(text, ends)
    for row in shown.replace("\r\n", "\n").split("\n"):
        yield line((row, style), margin=margin)


def _brief(text: str, ends: tuple[int, int]) -> str:
    first, last = ends
    rows = text.split("\n")
    if len(rows) > first + last + 1:
        left_out = f"… {len(rows) - first - last:,} more lines"
        rows = [*rows[:first], left_out, *rows[len(rows) - last :]]
    return "\n".join(
        row if len(row) <= _ROW else f"{row[:_ROW]}… ({len(row) - _ROW:,} more characters)"
        for row in rows
    )


def _labelled(label: str, text: str, style: Style = "") -> Line:
    return line((f"{label}: ", "dim"), (text, style), rest=" " * _LABEL)


def _question(text: str) -> Line:
    """On one line; of one that holds a text of its own, the beginning."""
    return _labelled("question", _brief(" ".join(text.split()), _OUTPUT), "bold")


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
