"""The dialect of fenced code: prompts, and the messages that report on turns.

Every part of a message has a size that the data and the code cannot change, so that neither
reaches the conversation beyond what is shown. What is shown stands in a fence that is longer than
any fence in it, so that printed text cannot pass for ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from string import Template

import msgspec

from abyme.dialects.base import MOST_REMINDERS, Earlier, Opening, TurnReport, TurnStatus
from abyme.dialects.cells import cells
from abyme.dialects.prose import ProseFinish, prose_finish
from abyme.dialects.status import failed_calls, one_line, status_line
from abyme.events import DataMeasured, WorkerRestored
from abyme.inside.shorten import shorten
from abyme.sandbox.base import Function
from abyme.types import CellResult, Ended, JobStatus, Message, Variable

_NAME = 60
_LINE = 200
_JOBS = 5
"""Jobs that a message tells of one by one."""
_EARLIER = 5
"""Earlier questions that are told of, the last ones."""
_FEWEST = 200
"""Characters that the output of a cell gets at least, however many cells share the room."""
_RECURSION = {
    True: (
        "a child with a REPL of its own works on the question, over `context`: any part of the "
        "data (a slice, documents, a dict of name to text), handed over by reference, however "
        "large. It knows nothing else: say all that it needs. A child is for a part that takes "
        "looking and several steps; where one prompt can answer, a plain call is cheaper. One that "
        "fails raises `ChildFailed`, which has its `.draft`. "
        "`rlm_start(questions, contexts=None)` begins them as a job."
    ),
    False: "plain calls here (recursion is off): the context is put before the question.",
}
_DID_NOT_PARSE = frozenset({"SyntaxError", "IndentationError", "TabError"})
_ENDED: dict[Ended, str] = {
    "done": "",
    "raised": "raised (what it assigned before is kept)",
    "exited": "called sys.exit(): it ended there, variables are kept",
    "interrupted": "was stopped at its time limit (what it assigned is kept): do less in a cell",
    "died": "ended its worker, and with it the state of the REPL",
}


class Fenced(msgspec.Struct, frozen=True, kw_only=True):
    """The dialect of ```` ```repl ```` fences. The sizes are in characters."""

    output_chars: int = 10_000
    """Output shown of one turn, shared among its cells."""
    traceback_chars: int = 4_000
    variables_chars: int = 1_500
    question_chars: int = 2_000
    """Length up to which the question is restated whole."""
    message_chars: int = 20_000
    """The whole of a message."""

    def cells(self, reply: str, *, cut: bool = False) -> tuple[str, ...]:
        """The code of ``reply``: see :mod:`abyme.dialects.cells`."""
        return cells(reply, cut=cut)

    def prose_finish(self, reply: str) -> ProseFinish | None:
        """The answer in prose: see :mod:`abyme.dialects.prose`."""
        return prose_finish(reply)

    def opening(self, opening: Opening) -> tuple[Message, ...]:
        """The system prompt, then the question, the data and the first status line."""
        system = prompt("root").substitute(
            max_turns=opening.status.max_turns,
            output_chars=f"{self.output_chars:,}",
            sub_chars=f"{opening.sub_window_chars:,}",
            recursion=_RECURSION[opening.status.recursion],
            cell_seconds=f"{opening.cell_seconds:g}",
            model=", model=None" if len(opening.models) > 1 else "",
            models=_models(opening.models),
            tools=_tools(opening.tools),
        )
        parts = [
            _earlier(opening.earlier, opening.cells),
            self._kept(opening.variables),
            f"Question:\n{opening.question}",
            f"The data:\n{opening.description}",
            status_line(opening.status),
        ]
        told = "\n\n".join(part for part in parts if part)
        return (Message("system", system.strip()), Message("user", told))

    def turn_message(self, report: TurnReport) -> str:
        """What the cells printed and how they ended, notes, the question, the status line."""
        body = "\n\n".join(part for part in self._body(report) if part)
        calls = sum(result.calls for result in report.results)
        failed = [line for result in report.results for line in result.failed_calls]
        end = (
            f"Question:\n{self._restated(report.question)}\n\n{jobs_line(report.jobs)}"
            f"{status_line(report.status, calls, failed)}"
        )
        return f"{shorten(body, self.message_chars - len(end) - 2)}\n\n{end}"

    def reminder(self, count: int, question: str = "", status: TurnStatus | None = None) -> str:
        """A few lines on how code is written and how an answer is handed over."""
        parts = [prompt("reminder").substitute(count=count, most=MOST_REMINDERS).strip()]
        if question:
            parts.append(f"Question:\n{self._restated(question)}")
        if status is not None:
            parts.append(status_line(status))
        return "\n\n".join(parts)

    def final_request(self, reason: str, question: str, draft: str = "") -> str:
        """The last request: an answer in plain text, from what is known."""
        best = f"\nThe best answer so far: «{shorten(draft, 5 * _LINE)}». Repeat or correct it.\n"
        filled = prompt("final").substitute(
            reason=shorten(reason.rstrip("."), _LINE),
            question=self._restated(question),
            draft=best if draft else "",
        )
        return filled.strip()

    def final_answer(self, reply: str) -> ProseFinish | None:
        """The answer in the last reply: models wrap it in a fence out of habit."""
        return prose_finish(reply) or prose_finish("\n".join(cells(reply)))

    def _body(self, report: TurnReport) -> Iterator[str]:
        shares = _shares([len(result.output) for result in report.results], self.output_chars)
        numbered = enumerate(zip(report.results, shares, strict=True), report.first)
        for number, (result, share) in numbered:
            yield self._cell(number, result, share)
        if (missing := report.cells - len(report.results)) > 0:
            which = (
                "The cell after it was" if missing == 1 else f"The {missing} cells after it were"
            )
            yield f"{which} not run."
        yield failed_calls(report.results)
        yield _restored(report.restored)
        yield _measured(report.measured)
        yield from (shorten(note, 3 * _LINE) for note in report.notes)
        yield self._variables(report.results)
        yield shorten(report.note, 5 * _LINE)

    def _cell(self, number: int, result: CellResult, share: int) -> str:
        ended = _ENDED[result.ended] or "ran"
        if result.error is not None and result.error.type in _DID_NOT_PARSE:
            ended = "did not run: it is not valid Python"
        parts = [f"Cell {number} {ended}."]
        output = shorten(result.output, share, result.output_chars)
        if output.strip():
            parts.append(f"Output ({max(result.output_chars, len(output)):,} characters):")
            parts.append(fenced(output))
        elif result.error is None:
            parts.append("(no output)")
        parts += [f"Note: {one_line(note, 2 * _LINE)}" for note in result.notes[:5]]
        if result.error is not None:
            lines = result.error.traceback or f"{result.error.type}: {result.error.message}"
            parts.append(fenced(shorten(lines.strip(), self.traceback_chars)))
        return "\n".join(parts)

    def _variables(self, results: Sequence[CellResult]) -> str:
        latest: dict[str, Variable] = {}
        for result in results:
            for variable in result.variables:
                latest.pop(variable.name, None)
                latest[variable.name] = variable
        told = self._named(list(latest.values()))
        return f"New or changed variables: {told}" if told else ""

    def _kept(self, variables: Sequence[Variable]) -> str:
        """What earlier questions left, the newest first: that is what a question goes on from."""
        told = self._named(variables[::-1])
        return f"Variables that are there, the last changed first: {told}" if told else ""

    def _named(self, variables: Sequence[Variable]) -> str:
        line, shown = "", 0
        for variable in variables:
            more = _variable(variable)
            if len(line) + len(more) > self.variables_chars:
                break
            line = f"{line}; {more}" if line else more
            shown += 1
        left = len(variables) - shown
        return f"{line}; and {left:,} more: print(SHOW_VARS())" if left else line

    def _restated(self, question: str) -> str:
        if len(question) <= self.question_chars:
            return question
        return (
            f"{question[: self.question_chars]}…\n(cut here: it has {len(question):,} characters "
            "in all, and stands whole in the first message)"
        )


@cache
def prompt(name: str) -> Template:
    """A packaged prompt; ``$name`` stands for what is filled in, braces for themselves."""
    folder = resources.files("abyme.dialects") / "prompts"
    return Template((folder / f"{name}.md").read_text(encoding="utf-8"))


def fenced(text: str) -> str:
    """``text`` in a fence that nothing inside can close."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    mark = "`" * (longest + 1)
    return f"{mark}\n{text}\n{mark}"


def jobs_line(jobs: Sequence[JobStatus]) -> str:
    """How far each job is, in a line of bounded length with its line break; "" without any."""
    if not jobs:
        return ""
    told = [one_line(job.told, _LINE) for job in jobs[:_JOBS]]
    if more := jobs[_JOBS:]:
        done, total = sum(job.done for job in more), sum(job.total for job in more)
        told.append(f"{len(more):,} more jobs: {done:,} of {total:,} done")
    return f"{'; '.join(told)}\n"


def _earlier(earlier: Sequence[Earlier], cells: int) -> str:
    """What was asked before, in short; what it made is still there."""
    if not earlier:
        return ""
    count = len(earlier)
    before = "another question" if count == 1 else f"{count:,} other questions"
    parts = [
        f"This question follows {before} in the same REPL: what was made there is still there. "
        f"Cells are counted on from {cells + 1:,}. Calls, time and cost are those of all questions "
        "together, turns those of this one. `history[i]` is an earlier exchange whole: a dict with "
        "`question`, `answer` (the value), `text` (the answer as text) and `messages` (dicts with "
        "`role` and `text`: your code of then, and what came of it)."
    ]
    for number in range(max(0, count - _EARLIER), count):
        asked = one_line(earlier[number].question, 2 * _LINE)
        parts.append(f"`history[{number}]` asked: {asked}\n{_answered(earlier[number])}")
    return "\n\n".join(parts)


def _answered(exchange: Earlier) -> str:
    """An answer is made of data: it stands in a fence, as all does that is shown."""
    why = f" ({one_line(exchange.short_of, _LINE)})" if exchange.short_of else ""
    if not exchange.answer.strip():
        return f"No answer was found{why}."
    how = f"The answer is perhaps not whole{why}" if why else "The answer"
    return f"{how}:\n{fenced(shorten(exchange.answer.strip(), 5 * _LINE))}"


def _models(models: Sequence[str]) -> str:
    if len(models) < 2:
        return ""
    return f" `model` may be {' or '.join(repr(one_line(name, _LINE)) for name in models)}."


def _tools(tools: Sequence[Function]) -> str:
    if not tools:
        return ""
    lines = [f"- `{_signature(tool)}`: {one_line(tool.doc, 3 * _LINE)}" for tool in tools]
    return "\n".join(["", "Functions that the user added; a failure raises:", "", *lines, ""])


def _signature(tool: Function) -> str:
    parameters = tool.signature or f"({', '.join(tool.parameters)})"
    return one_line(tool.name + parameters, 2 * _LINE)


def _shares(lengths: Sequence[int], room: int) -> list[int]:
    """How much of ``room`` each output gets: the short ones whole, the long ones equal parts."""
    shares = [0] * len(lengths)
    shortest_first = sorted(range(len(lengths)), key=lengths.__getitem__)
    for done, index in enumerate(shortest_first):
        part = max(room // (len(lengths) - done), _FEWEST)
        shares[index] = min(lengths[index], part)
        room -= shares[index]
    return shares


def _restored(restored: WorkerRestored | None) -> str:
    if restored is None:
        return ""
    if restored.cells:
        cells = _listed([str(cell) for cell in restored.cells])
        text = f"A fresh worker re-ran the cells {cells}, their calls answered from the record."
        if restored.saved:
            text += f" What cells up to {restored.saved[-1]} had made was kept."
    elif restored.saved:
        text = f"A fresh worker has what cells up to {restored.saved[-1]} had made."
    else:
        text = "The REPL is new and empty; the data and the calls are there."
    if restored.lost:
        text += f" Lost: {_listed(restored.lost)}."
    if restored.differing:
        numbers = _listed([str(cell) for cell in restored.differing])
        text += f" These cells did not do the same the second time: {numbers}."
    return text


def _measured(measured: DataMeasured | None) -> str:
    if measured is None:
        return ""
    return (
        f"The data has been measured exactly: {measured.characters:,} characters, "
        f"{measured.lines:,} lines, the longest of {measured.longest_line:,} characters."
    )


def _variable(variable: Variable) -> str:
    size = f" ({one_line(variable.size, _NAME)})" if variable.size else ""
    return f"{one_line(variable.name, _NAME)}: {one_line(variable.type, _NAME)}{size}"


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(one_line(name, _NAME) for name in names[:most]) + more
