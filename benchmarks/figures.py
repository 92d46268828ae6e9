"""What a benchmark is given, what it gives back, and how that is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from abyme import RLM, Limits
from benchmarks.endpoint import ROOT, SUB, Endpoint

T = TypeVar("T")

Unit = Literal["ms", "MB"]


@dataclass(frozen=True)
class Row:
    """One figure. ``ours`` and ``floor`` are medians in seconds, or in bytes.

    ``compared``: what the target bounds, of ``ours`` and ``floor``. Without a target the row is
    there to be known.
    """

    name: str
    ours: float
    floor: float | None = None
    unit: Unit = "ms"
    compared: Literal["ratio", "difference", "alone"] = "alone"
    target: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """What is held against the target."""
        if self.floor is None or self.compared == "alone":
            return self.ours
        return self.ours / self.floor if self.compared == "ratio" else self.ours - self.floor

    @property
    def verdict(self) -> str:
        """``ok``, ``over``, or nothing where there is no target."""
        if self.target is None:
            return ""
        return "ok" if self.value <= self.target else "over"

    def cells(self) -> tuple[str, ...]:
        """The row of the printed table."""
        floor = "" if self.floor is None else self._shown(self.floor)
        value = "" if self.floor is None or self.compared == "alone" else self._compared(self.value)
        target = "" if self.target is None else f"≤ {self._compared(self.target)}"
        return (self.name, self._shown(self.ours), floor, value, target, self.verdict)

    def _compared(self, value: float) -> str:
        if self.compared == "ratio":
            return f"{value:.2f} ×"
        sign = "+" if self.compared == "difference" and value >= 0 else ""
        return sign + self._shown(value)

    def _shown(self, value: float) -> str:
        if self.unit == "MB":
            return f"{value / 1e6:,.1f} MB" if abs(value) >= 1e5 else f"{value / 1e3:,.1f} kB"
        value *= 1e3
        return f"{value:,.0f} ms" if abs(value) >= 100 else f"{value:.3g} ms"


@dataclass(frozen=True)
class Bench:
    """What every benchmark works with: the model server, a folder to fill, how often to repeat."""

    endpoint: Endpoint
    folder: Path
    quick: bool

    def rounds(self, usual: int) -> int:
        """``usual``, or a third of it where this is a quick run."""
        return max(2, usual // 3) if self.quick else usual

    def rlm(self, *, sub_model: str = SUB, path: str = "v1", **limits: Any) -> RLM:
        """An RLM whose root and sub-model are the server's; by another path it is another's."""
        return RLM(
            ROOT,
            sub_model=sub_model,
            base_url=f"http://127.0.0.1:{self.endpoint.port}/{path}",
            api_key="",
            limits=Limits(**limits),
            runs=self.folder / "runs",
        )

    def text(self, megabytes: int) -> Path:
        """A file of so many million bytes of ASCII text in lines; always the same text."""
        path = self.folder / f"{megabytes}MB.txt"
        if not path.exists():
            with path.open("w", encoding="ascii") as file:
                for number in range(megabytes):
                    file.write(_megabyte(number))
        return path


_SENTENCE = "the river carried seven wooden boats past a quiet town while its people slept"


def _megabyte(number: int) -> str:
    """A million characters: sentences in an order of their own, a marker in the last line."""
    words = _SENTENCE.split()
    sentences = []
    for index in range(len(words)):
        turned = words[index:] + words[:index]
        sentences.append(" ".join(turned) + f" {number * 31 + index:05d}.")
    block = "\n".join(sentences) + "\n"
    end = f"marker-{number:06d} stands here\n"
    whole = block * (1_000_000 // len(block) + 1)
    return whole[: 1_000_000 - len(end) - 1] + "\n" + end


def alternate(
    rounds: int, ours: Callable[[], T], floor: Callable[[], T]
) -> tuple[list[T], list[T]]:
    """Both, in turns (A B A B …), after one of each that is not counted."""
    ours(), floor()
    pairs = [(ours(), floor()) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def cell(code: str) -> str:
    """A root's reply that holds one cell."""
    return f"```repl\n{code}\n```"


def table(rows: Sequence[Row]) -> str:
    """The rows, aligned, with their notes beneath."""
    head = ("figure", "abyme", "floor", "compared", "target", "")
    lines = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    shown = [
        "  ".join(
            part.rjust(width) if column else part.ljust(width)
            for column, (part, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    shown.insert(1, "-" * max(map(len, shown)))
    notes = [f"{row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([*shown, "", *notes])
