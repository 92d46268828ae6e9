"""Which parts of a reply are code to run.

Fences tagged ``repl``, ``python`` or ``py`` are cells; so are a few spellings of the same that
models use (``python3``, ``ipython``, ``pycon``, ``tool_code``, ``{python}``, and the wrappers
``<repl>`` and ``<python>`` on lines of their own). An untagged fence (or ``<code>``) is one only
where no tagged one is present and it holds a program: not prose, not JSON, not a bare word.
Everything else is no cell: other languages, JSON tool calls, code inside ``<think>``.

Where a cell ends is found by parsing. A fence line inside valid Python can only stand inside a
string, so a closing fence counts when the code before it is complete; where no closing fence makes
it complete, the first one counts and the model gets to see its SyntaxError. A fence that is never
closed runs to the end of the reply: servers that stop at ```` ``` ```` swallow the closing fence,
and a program that was cut in half mostly shows itself by its SyntaxError. In a reply that is known
to have been cut at the token limit it is not run.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

_TAGS = frozenset({"repl", "python", "py", "python3", "py3", "ipython", "pycon", "tool_code"})
_PLAIN = frozenset({"", "text", "txt", "plaintext"})
_THOUGHT = "thought"
"""The tag given to what a reasoning model thought aloud."""

_OPENING = re.compile(
    r"(?P<indent>[ \t]{0,16}+(?:(?:[-*+]|\d{1,3}[.)])[ \t]++)?+)"
    r"(?:(?P<mark>`{3,}+|~{3,}+)(?P<info>[^`]*+)|<(?P<element>repl|python|code)>[ \t]*+)",
    re.IGNORECASE,
)
_TAG = re.compile(r"[{.\s]*+([\w+#-]*+)")
_THINKS = re.compile(r"\s*+(?:<(think|thinking|reasoning|thought)>|\[(think)\])", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(r"</(?:think|thinking|reasoning|thought)>|\[/think\]", re.IGNORECASE)

_MOST_CELLS = 1_000
"""Cells of one reply that are run: nobody means more."""
_ATTEMPTS = 32
"""Closing fences tried for one cell."""
_CELL_CHARACTERS = 200_000
_REPLY_CHARACTERS = 400_000
"""Characters parsed for one cell and for one reply: beyond, the first closing fence counts.
Dense code parses at about a megabyte a second, and a reply may be hostile."""


class Block(NamedTuple):
    """A stretch of a reply that is not prose: its lines from ``start`` up to, not with, ``end``."""

    tag: str
    code: str
    start: int
    end: int

    @property
    def tagged(self) -> bool:
        """True for a fence whose tag says that it is to be run."""
        return self.tag in _TAGS


def cells(reply: str, *, cut: bool = False) -> tuple[str, ...]:
    """The code of ``reply``, cell by cell, in order; empty where there is nothing to run.

    ``cut``: the reply ended at a token limit. A cell that is not closed is then no cell: half of
    a program may still run, and spend.
    """
    tagged: list[str] = []
    plain: list[str] = []
    with quietly():
        reader = _Reader(reply)
        for block in reader.blocks():
            if not block.code.strip() or (cut and not reader.closes(block)):
                continue
            if block.tagged:
                tagged.append(block.code)
            elif not block.tag:
                plain.append(block.code)
            if len(tagged) == _MOST_CELLS:
                break
        return tuple(tagged or filter(_is_program, plain[:_MOST_CELLS]))


def spoken(reply: str) -> str:
    """``reply`` without its thoughts and without fences in a language (plain ones stay)."""
    reader = _Reader(reply)
    with quietly():
        hidden = [block for block in reader.blocks() if block.tag not in _PLAIN]
    kept: list[str] = []
    at = 0
    for block in hidden:
        kept += reader.lines[at : block.start]
        kept.append("")
        at = block.end
    return "\n".join(kept + reader.lines[at:])


def parse(code: str) -> ast.Module | None:
    """The syntax tree of ``code``, top-level ``await`` allowed, or None where it does not parse.

    To be called inside :func:`quietly`.
    """
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        return cast(ast.Module, compile(code, "<reply>", "exec", flags, dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # ValueError: NUL or a lone surrogate. The last two: nesting too deep for the parser.
        return None


class _Fence(NamedTuple):
    """An opening fence: what stands before it, its marks, its tag."""

    indent: str
    mark: str
    tag: str

    @classmethod
    def at(cls, line: str) -> _Fence | None:
        """The fence that ``line`` opens, if any."""
        if "`" not in line and "~" not in line and "<" not in line:
            return None
        match = _OPENING.fullmatch(line)
        if match is None:
            return None
        if element := match["element"]:
            tag = "" if element.lower() == "code" else element.lower()
            return cls(match["indent"], f"<{element.lower()}>", tag)
        found = _TAG.match(match["info"])
        return cls(match["indent"], match["mark"], found[1].lower() if found else "")

    @property
    def tagged(self) -> bool:
        return self.tag in _TAGS

    def closed_by(self, line: str) -> bool:
        """True where ``line`` is a closing fence: the same mark, at least as long, and no more."""
        line = line.strip()
        if self.mark[0] == "<":
            return line.lower() == f"</{self.mark[1:]}"
        return len(line) >= len(self.mark) and not line.strip(self.mark[0])

    def cut_off_by(self, line: str) -> bool:
        """True where ``line`` opens a cell: this fence was then never meant to hold that line."""
        inner = _Fence.at(line)
        if inner is None or not inner.tagged:
            return False
        return self.mark[0] == "<" or inner.mark.startswith(self.mark)

    def code(self, lines: Sequence[str]) -> str:
        """``lines`` as code: without the fence's indentation and without interpreter prompts."""
        if self.indent:
            lines = [_unindented(line, self.indent) for line in lines]
        first = next((line for line in lines if line.strip()), "")
        if first.startswith(">>>"):
            lines = [line[4:] for line in lines if line.startswith((">>>", "..."))]
        code = "\n".join(lines)
        return textwrap.dedent(code) if first[:1] in (" ", "\t") else code


class _Reader:
    """Reads a reply once, from top to bottom, and finds its blocks."""

    def __init__(self, reply: str) -> None:
        self.lines = reply.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._budget = _REPLY_CHARACTERS

    def blocks(self) -> Iterator[Block]:
        """All blocks in order."""
        at = 0
        while at < len(self.lines):
            block = self._block(at)
            if block is not None:
                yield block
            at = block.end if block is not None else at + 1

    def closes(self, block: Block) -> bool:
        """Whether the block's closing fence is there."""
        fence = _Fence.at(self.lines[block.start])
        return fence is None or fence.closed_by(self.lines[block.end - 1])

    def _block(self, at: int) -> Block | None:
        """The block that begins at line ``at``, if one does."""
        line = self.lines[at]
        if at == 0 and (headless := self._end_of_headless_thought()) is not None:
            return self._thought(0, headless)
        if _THINKS.match(line):
            return self._thought(at, self._find_thought_end(at))
        fence = _Fence.at(line)
        if fence is None:
            return None
        return self._cell(fence, at) if fence.tagged else self._other(fence, at)

    def _end_of_headless_thought(self) -> int | None:
        """Where thinking ends whose beginning the chat template kept for itself."""
        for at, line in enumerate(self.lines):
            if _THINKS.match(line):
                return None
            line = line.strip()
            if line[:1] in ("<", "[") or line[-1:] in (">", "]"):
                found = _THOUGHT_ENDS.search(line)
                if found and (found.start() == 0 or found.end() == len(line)):
                    return at
        return None

    def _find_thought_end(self, at: int) -> int:
        ends = (i for i in range(at, len(self.lines)) if _THOUGHT_ENDS.search(self.lines[i]))
        return next(ends, len(self.lines))

    def _thought(self, start: int, end: int) -> Block:
        """The thought up to line ``end``; what follows the last end there is left to be read."""
        if end < len(self.lines):
            *_, last = _THOUGHT_ENDS.finditer(self.lines[end])
            self.lines[end] = self.lines[end][last.end() :]
        return Block(_THOUGHT, "", start, end)

    def _other(self, fence: _Fence, start: int) -> Block:
        """A fence that is not tagged as code: the first closing fence ends it.

        So does the beginning of a cell where it has no tag at all: a stray fence must not swallow
        the cells that follow. In another language (``markdown``) such a line is content.
        """
        end = start + 1
        while end < len(self.lines):
            line = self.lines[end]
            if fence.closed_by(line):
                return Block(fence.tag, fence.code(self.lines[start + 1 : end]), start, end + 1)
            if not fence.tag and fence.cut_off_by(line):
                break
            end += 1
        return Block(fence.tag, fence.code(self.lines[start + 1 : end]), start, end)

    def _cell(self, fence: _Fence, start: int) -> Block:
        """A cell: up to the first closing fence at which it is complete, else to the first."""
        first: Block | None = None
        for attempt, end in enumerate(self._ends(fence, start)):
            code = fence.code(self.lines[start + 1 : end])
            after = end + 1 if fence.closed_by(self.lines[end]) else end
            block = Block(fence.tag, code, start, after)
            if self._complete(code):
                return block
            first = first or block
            if attempt >= _ATTEMPTS or not _may_hold_a_fence(code):
                return first
        rest = fence.code(self.lines[start + 1 :])
        if first is None:
            return Block(fence.tag, _without_attached_fence(rest, fence), start, len(self.lines))
        if self._complete(rest):
            return Block(fence.tag, rest, start, len(self.lines))
        return first

    def _ends(self, fence: _Fence, start: int) -> Iterator[int]:
        """Lines at which the cell that begins at ``start`` may end."""
        for at in range(start + 1, len(self.lines)):
            line = self.lines[at]
            if fence.closed_by(line) or fence.cut_off_by(line):
                yield at

    def _complete(self, code: str) -> bool:
        """True where ``code`` parses, or where too much has been parsed to find out."""
        if len(code) > min(_CELL_CHARACTERS, self._budget):
            return True
        self._budget -= len(code)
        return parse(code) is not None


def _may_hold_a_fence(code: str) -> bool:
    """Whether ``code`` may have broken off inside a string: only there can a fence line stand."""
    return '"""' in code or "'''" in code or "\\\n" in code


def _without_attached_fence(code: str, fence: _Fence) -> str:
    """``code`` without a closing fence that hangs on the end of its last line."""
    trimmed = code.rstrip()
    if fence.mark[0] != "<" and trimmed.endswith(fence.mark):
        return trimmed.rstrip(fence.mark[0])
    return code


def _unindented(line: str, indent: str) -> str:
    if line.startswith(indent):
        return line[len(indent) :]
    blank = len(line) - len(line.lstrip(" \t"))
    return line[min(blank, len(indent)) :]


def _is_program(code: str) -> bool:
    """True where untagged ``code`` parses and does something when run.

    ``yes``, ``Answer: x``, ``[1, 2]`` and ``{"a": 1}`` parse too, and do nothing.
    """
    tree = parse(code) if len(code) <= _CELL_CHARACTERS else None
    return tree is not None and any(_acts(statement) for statement in tree.body)


def _acts(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return any(isinstance(node, ast.Call | ast.Await) for node in ast.walk(statement))
    if isinstance(statement, ast.AnnAssign):
        return statement.value is not None
    return not isinstance(statement, ast.Pass | ast.Break | ast.Continue | ast.Return)


def quietly() -> warnings.catch_warnings[None]:
    """For the time of parsing: warnings about the model's code are not the host's to see."""
    return warnings.catch_warnings(action="ignore")
