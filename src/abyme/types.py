"""The values that the parts hand to each other. All are frozen; all can be written as JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant"]
Status = Literal["complete", "partial", "failed"]
Ended = Literal["done", "raised", "exited", "interrupted", "died"]


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation with a model."""

    role: Role
    text: str


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one call or of many. ``cached_tokens`` are part of ``input_tokens``."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    calls: int = 0
    estimated: bool = False
    """True where any of it was estimated from characters, for want of the endpoint's own count."""

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.calls + other.calls,
            self.estimated or other.estimated,
        )


class Reply(msgspec.Struct, frozen=True):
    """What a model answered to one request."""

    text: str
    usage: Usage = Usage(calls=1)
    cut: bool = False
    """True where the endpoint stopped at the token limit (``finish_reason`` "length")."""
    model: str = ""
    """The model's name as the endpoint gave it; empty where it gave none."""
    pause: float = 0.0
    """Seconds for which the endpoint takes nothing more, as its rate-limit headers say."""


class Quote(msgspec.Struct, frozen=True):
    """A passage of the data, byte for byte.

    ``start`` and ``end`` are byte offsets in the document as it lies on disk; ``line`` counts
    from 1. ``verified`` is True once the host has read those bytes itself and found them equal.
    """

    text: str
    document: str = ""
    line: int | None = None
    start: int | None = None
    end: int | None = None
    verified: bool = False


class Finish(msgspec.Struct, frozen=True):
    """An answer that code handed over: ``FINAL`` and its aliases, or the ``answer`` dict."""

    value: Any
    """The value as JSON has it; equal to ``text`` where the value is not JSON."""
    text: str
    via: str = "FINAL"
    quotes: tuple[Quote, ...] = ()


class Variable(msgspec.Struct, frozen=True):
    """A variable that a cell made or changed. Its size is said, its value never shown."""

    name: str
    type: str
    size: str = ""


class CellError(msgspec.Struct, frozen=True):
    """The exception that ended a cell. ``traceback`` is already cut head and tail."""

    type: str
    message: str
    traceback: str


class FailedCall(msgspec.Struct, frozen=True):
    """A sub-call that failed: why, and its place in its batch (None outside of a batch)."""

    error: str
    index: int | None = None


class CellResult(msgspec.Struct, frozen=True):
    """What became of one cell.

    ``ended``: ``done``; ``raised`` (state kept); ``exited`` (``sys.exit``: state kept);
    ``interrupted`` (at its deadline, state kept); ``died`` (the worker is gone, state lost).
    """

    ended: Ended
    output: str = ""
    """What it printed, cut head and tail to the cap."""
    output_chars: int = 0
    """The true length of what it printed, in characters."""
    error: CellError | None = None
    variables: tuple[Variable, ...] = ()
    finish: Finish | None = None
    draft: str = ""
    """``answer["content"]`` where it is set but not ready."""
    calls: int = 0
    """Sub-calls it made (each item of a batch counts)."""
    failed_calls: tuple[FailedCall, ...] = ()
    notes: tuple[str, ...] = ()
    """What else the model should know of it, one line each."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    """Highest resident size of the worker so far."""

    @property
    def ok(self) -> bool:
        """True where the cell ran to its end without raising."""
        return self.ended == "done"


class Answer(msgspec.Struct, frozen=True):
    """What a run hands back, whatever happened to it.

    ``status`` is ``complete``; ``partial`` (a limit, an interruption or a failure came first:
    ``reason`` says which, ``text`` is the best draft there is); or ``failed`` (no model ever
    replied). ``cost`` is in US dollars and None where the price of a model is not known.
    """

    text: str
    value: Any
    status: Status
    reason: str = ""
    quotes: tuple[Quote, ...] = ()
    usage: Usage = Usage()
    cost: float | None = None
    seconds: float = 0.0
    turns: int = 0
    peak_bytes: int = 0
    """Highest resident size of a worker of this run."""
    cpu_seconds: float = 0.0
    """CPU time that the workers of this run used."""
    run: str = ""
    """The run's id: the name of its folder under ``runs``."""
    layers: tuple[str, ...] = ()
    """What held the code in every worker of this run; empty where nothing did, or none started."""
    head: str = ""
    """The hash of the journal's last line, this answer's own: ``abyme verify --head`` takes it."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        from abyme.display import answer_repr

        return answer_repr(self)

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        from abyme.display import answer_html

        return answer_html(self)


class JobStatus(msgspec.Struct, frozen=True):
    """How far a job is: ``done`` of its ``total`` calls are over, ``failed`` of them in vain.

    ``name``: the function that began it, in cell ``cell``. ``ended``: why no more comes of it.
    """

    number: int
    name: str
    cell: int
    total: int
    done: int
    failed: int
    ended: str = ""

    @property
    def told(self) -> str:
        """``job 1 (llm_start, cell 3): 512 of 2,000 done, 3 failed``."""
        failed = f", {self.failed:,} failed" if self.failed else ""
        ended = f" ({self.ended})" if self.ended else ""
        done = f"{self.done:,} of {self.total:,} done"
        return f"job {self.number} ({self.name}, cell {self.cell}): {done}{failed}{ended}"
