"""Everything that can happen in a run, as one tagged union.

An event is a fact. It is written to the run's journal before anything acts on it; the console,
``stream``, ``abyme show`` and the cost report are folds over events and know nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from abyme.types import Answer, CellResult, Role, Usage

CallKind = Literal["root", "final", "llm_query", "rlm_query"]
ROOT = "0"
"""The id of the node that every run begins with."""


class Event(msgspec.Struct, frozen=True, tag_field="event", tag=True, omit_defaults=True):
    """Base of all events."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """On which terms a run goes on: of whom it asks, with which limits, where its code runs.

    The fields are those of :class:`RunStarted`, which has them in one row with its own.
    """

    version: str
    model: str
    sub_model: str
    base_url: str
    limits: dict[str, Any]
    tools: tuple[str, ...] = ()
    python: str = ""
    priced: bool = True
    prices: dict[str, tuple[float, float]] = {}
    sandbox: str = ""
    parameters: dict[str, tuple[str, ...]] = {}
    cache: bool = False
    child_models: tuple[str, ...] = ()


class RunStarted(Event, frozen=True):
    """A run was asked for: what, of whom, with which limits (fields of ``Limits`` by name)."""

    run: str
    version: str
    question: str
    model: str
    sub_model: str
    base_url: str
    limits: dict[str, Any]
    format: int
    """The version of the journal's format: :data:`abyme.journal.format.VERSION`."""
    tools: tuple[str, ...] = ()
    python: str = ""
    priced: bool = True
    """False where the price of a model is not known: the dollar limit then cannot bind."""
    sandbox: str = ""
    """Where code runs; ``process, unsafe-local`` where nothing holds it."""
    prices: dict[str, tuple[float, float]] = {}
    """By model: US dollars per million tokens in and out, where the caller named them."""
    parameters: dict[str, tuple[str, ...]] = {}
    """Of the tools by name: how their parameters are called, in order."""
    cache: bool = False
    """Equal sub-calls are made once."""
    redacted: bool = False
    """Texts are kept as hashes alone: nothing of the run can be done again."""
    child_models: tuple[str, ...] = ()
    """Of nodes of depth 1, 2 and so on, the last for all below; empty: all have ``sub_model``."""

    @property
    def terms(self) -> Terms:
        """What of it later events may replace."""
        return Terms(**{name: getattr(self, name) for name in Terms.__struct_fields__})


class RunResumed(Event, frozen=True, kw_only=True):
    """A run that was killed, or had ended without its answer, goes on from where it was.

    ``in_flight``: keys of the calls that had gone out and whose reply nobody has. They are asked
    again, and what was reserved for them (``charged_tokens``, ``charged_cost`` in US dollars, None
    where a price is not known) counts as spent: the endpoint may have billed it.
    ``torn_bytes``: of a last line that was cut off. ``changed``: documents that are not what they
    were, by index, and were accepted so; a ``DocumentLoaded`` for each follows.
    """

    terms: Terms
    in_flight: tuple[str, ...] = ()
    charged_tokens: int = 0
    charged_cost: float | None = 0.0
    torn_bytes: int = 0
    changed: tuple[int, ...] = ()


class RunForked(Event, frozen=True, kw_only=True):
    """All lines before this one are those of the run ``parent``, up to the end of turn ``turn``.

    From here on it is the run ``run``, which has spent nothing yet.
    """

    run: str
    parent: str
    turn: int
    terms: Terms


class QuestionAsked(Event, frozen=True, kw_only=True):
    """A further question to the same data and REPL, in a conversation of its own.

    The node's messages count from 0 again; its turns and cells go on counting: ``turns`` were
    begun before. ``number`` is that of the question in its session: 2 for the first that follows.
    """

    question: str
    number: int
    turns: int
    terms: Terms


class DocumentLoaded(Event, frozen=True):
    """A document's identity; a later one of the same index takes its place.

    ``path`` is absolute; of what was handed over (``owned``) it is relative to the run's folder,
    and empty in a run without texts, which keeps it under no name.
    ``bom``: bytes at its start that are no text. ``measures``: characters, lines and characters of
    the longest line, where they are known.
    """

    index: int
    name: str
    path: str
    bytes: int
    mtime_ns: int
    inode: int
    encoding: str
    errors: str
    owned: bool = False
    bom: int = 0
    measures: tuple[int, int, int] | None = None


class DataLoaded(Event, frozen=True):
    """All documents are known. ``skipped`` counts files by the reason they were left out."""

    kind: Literal["text", "documents"]
    documents: int
    bytes: int
    skipped: dict[str, int] = {}


class DocumentHashed(Event, frozen=True):
    """``sha256`` in hex over the document's bytes; ``copied``: it lies in the run's folder."""

    index: int
    sha256: str
    copied: bool = False


class DataMeasured(Event, frozen=True):
    """Exact counts, where those shown at the start were estimated from samples."""

    characters: int
    lines: int
    longest_line: int


class Given(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node was given of the run's documents, by reference.

    ``parts``, in order: ``(first, count)`` are whole documents in a row, by their index;
    ``(index, start, end)`` is one document from byte ``start`` of its file to byte ``end``.
    ``names`` are what each document is called in the node's REPL, where that is not its own name.
    """

    kind: Literal["text", "documents"]
    parts: tuple[tuple[int, ...], ...] = ()
    names: tuple[str, ...] = ()


class NodeStarted(Event, frozen=True):
    """A node of the recursion: the root is "0", its children "0.1", "0.2" in their order.

    A child answers a call of its parent's code, whose key is ``key``; ``given`` is its data (the
    root has all documents). ``seed``: of ``random`` in its REPL.
    """

    node: str
    parent: str
    depth: int
    question: str
    seed: int = 0
    key: str = ""
    model: str = ""
    given: Given | None = None


class NodeEnded(Event, frozen=True, kw_only=True):
    """A child is over, and with it the call ``key`` of its parent's code.

    ``status`` is that of an answer, or ``cancelled``: nobody waits for it any more. Where it is
    ``complete`` the call's value is ``value``; else ``error`` is why, and ``text`` its best draft.
    ``usage``, ``cost`` (US dollars, None where a price is not known) and ``seconds`` are those of
    the child and all below it, since it was started.
    """

    node: str
    key: str
    status: Literal["complete", "partial", "failed", "cancelled"]
    text: str = ""
    value: Any = None
    error: str = ""
    error_type: str = ""
    usage: Usage = Usage()
    cost: float | None = None
    seconds: float = 0.0
    turns: int = 0

    @property
    def details(self) -> dict[str, Any]:
        """What the exception in the parent's code has beside its message."""
        return {"draft": self.text, "status": self.status, "cost": self.cost}


class MessageAdded(Event, frozen=True):
    """The node's history grew by one message.

    Histories only grow, but where a run is resumed behind a limit: what it was told of that limit
    is dropped. Then, and after a further question, an ``index`` comes again: it is the length of
    the history from which this message goes on.
    """

    node: str
    index: int
    role: Role
    text: str


class CallStarted(Event, frozen=True):
    """A model call was reserved and goes out. ``key`` is the call's identity.

    One that was in flight when its run was killed is started again under the same key.
    Root calls: ``node/turn``, ``node/final``, each with the turn's number. Calls from code:
    ``node/cell/request hash/k-th occurrence``. ``prompt`` is empty for root
    calls: their text is the node's messages so far.
    """

    key: str
    node: str
    cell: int
    kind: CallKind
    model: str
    prompt: str = ""
    messages: int = 0
    max_tokens: int | None = None
    reserved_tokens: int = 0
    reserved_cost: float | None = None


class CallRefused(Event, frozen=True):
    """A call was refused before anything was sent or reserved: nothing was spent on it."""

    key: str
    node: str
    cell: int
    kind: CallKind
    error: str
    error_type: str


class AttemptFailed(Event, frozen=True):
    """One attempt of a call failed; the next follows after ``wait`` seconds."""

    key: str
    attempt: int
    error: str
    status: int | None = None
    wait: float = 0.0


class SurrogatesReplaced(Event, frozen=True):
    """Lone surrogates cannot be sent as JSON: this many became U+FFFD in the request."""

    key: str
    count: int


class CallEnded(Event, frozen=True):
    """A model call is over: ``error`` is empty where it gave ``text``.

    ``charged``: the reservation was charged as spent because what happened is not known.
    """

    key: str
    text: str = ""
    usage: Usage = Usage()
    cost: float | None = None
    seconds: float = 0.0
    attempts: int = 1
    error: str = ""
    error_type: str = ""
    cut: bool = False
    charged: bool = False


class CallGivenUp(Event, frozen=True):
    """The code that had made this call gave it up before it was answered: a cancelled coroutine.

    Where it had gone out, its ``CallEnded`` has been told before.
    """

    key: str


class CallCached(Event, frozen=True):
    """A call was not made: it is given the reply of the equal call ``source``, at no cost.

    Only where the run was asked to keep replies.
    """

    key: str
    node: str
    cell: int
    kind: CallKind
    source: str


class HostCalled(Event, frozen=True):
    """Code asked the host for something that is no model call: ``budget``, a tool, a job.

    ``arguments`` of ``llm_start`` are in short: ``prompts`` is how many there are, and each has its
    own ``CallStarted``.
    """

    key: str
    node: str
    cell: int
    name: str
    arguments: dict[str, Any]


class HostAnswered(Event, frozen=True):
    """The answer to a ``HostCalled``: its value, or the type and message of its error."""

    key: str
    value: Any = None
    error: str = ""
    error_type: str = ""
    seconds: float = 0.0


class WorkerStarted(Event, frozen=True):
    """A worker is ready for cells; ``layers``: what holds its code, nothing where empty."""

    node: str
    pid: int
    sandbox: str
    layers: tuple[str, ...]


class WorkerEnded(Event, frozen=True):
    """The worker is gone although nobody asked it to go."""

    node: str
    how: str


class Checkpointed(Event, frozen=True):
    """All that the cells up to ``cell`` made is kept as the blob ``blob`` (its SHA-256).

    It was written by a worker: only a worker may read it. Superseded ones are removed.
    """

    node: str
    cell: int
    blob: str
    bytes: int
    seconds: float = 0.0


class CheckpointRefused(Event, frozen=True):
    """A checkpoint after ``cell`` was due and cannot be had: which variable, or what else."""

    node: str
    cell: int
    reason: str


class WorkerRestored(Event, frozen=True):
    """A fresh worker re-ran completed cells; ``lost`` are names that could not come back.

    After a worker that died, and where a run is resumed or forked.

    ``differing``: cells whose output or ending was not the same the second time. ``saved``: cells
    that were not re-run, because a checkpoint had what they made.
    """

    node: str
    cells: tuple[int, ...]
    lost: tuple[str, ...] = ()
    differing: tuple[int, ...] = ()
    saved: tuple[int, ...] = ()


class CellStarted(Event, frozen=True):
    """A cell is about to run; cells are numbered over the whole node, from 1.

    One that its run was killed in is started again under the same number. ``clock``: what the
    cell's clock says when it begins, in seconds since 1970.
    """

    node: str
    turn: int
    cell: int
    code: str
    clock: float = 0.0


class CellEnded(Event, frozen=True):
    """A cell is over, however it ended."""

    node: str
    turn: int
    cell: int
    result: CellResult


class FinishHeld(Event, frozen=True):
    """A literal answer given before its reply's own output had been seen: held for one turn."""

    node: str
    turn: int
    text: str


class TurnEnded(Event, frozen=True):
    """A reply of the node's model was dealt with."""

    node: str
    turn: int


class LimitReached(Event, frozen=True):
    """A limit ended the node's ordinary work; ``limit`` is a field of ``Limits`` or "window"."""

    node: str
    limit: str
    detail: str


class RunEnded(Event, frozen=True):
    """The last event of every run that was not killed, until it is resumed or asked on.

    ``answer.head`` is the hash of the line that this event is; in the line itself it is empty.
    """

    answer: Answer

    def with_head(self, head: str) -> RunEnded:
        """The same once its line's hash is known."""
        return RunEnded(msgspec.structs.replace(self.answer, head=head))


class DataLoading(Event, frozen=True):
    """Data is being loaded: what there is so far. Not journalled: ``DataLoaded`` has the whole."""

    documents: int
    bytes: int


class OutputAdded(Event, frozen=True):
    """A running cell printed. Not journalled: ``CellEnded`` carries the whole."""

    node: str
    cell: int
    text: str


class CallsAsked(Event, frozen=True):
    """Code asked for ``count`` sub-calls. Not journalled: each has its own events as it starts.

    ``children``: they are nodes of their own.
    """

    node: str
    cell: int
    count: int
    children: bool = False


class TextAdded(Event, frozen=True):
    """The root's reply grew while it streamed. Not journalled: ``CallEnded`` carries the whole."""

    key: str
    text: str


Emit = Callable[[Event], None]


def node_of(event: Event) -> str:
    """The node that an event befell; "" for one of the whole run.

    What a child's parent is told of (``NodeStarted``, ``NodeEnded``) befell the child.
    """
    node: str = getattr(event, "node", "")
    if not node and (key := getattr(event, "key", "")):
        node = key.partition("/")[0]
    return node


def cell_of(key: str) -> int:
    """The cell that made the call of this key; 0 for a call that no code made."""
    _, cell, *request = f"{key}/".split("/")
    return int(cell) if len(request) > 1 and cell.isdecimal() and len(cell) < 10 else 0


def parent_of(node: str) -> str:
    """The id of a node's parent; "" for the root."""
    return node.rpartition(".")[0]


JOURNALLED = (
    RunStarted
    | RunResumed
    | RunForked
    | QuestionAsked
    | DocumentLoaded
    | DataLoaded
    | DocumentHashed
    | DataMeasured
    | NodeStarted
    | NodeEnded
    | MessageAdded
    | CallStarted
    | CallRefused
    | AttemptFailed
    | SurrogatesReplaced
    | CallEnded
    | CallCached
    | CallGivenUp
    | HostCalled
    | HostAnswered
    | WorkerStarted
    | Checkpointed
    | CheckpointRefused
    | WorkerEnded
    | WorkerRestored
    | CellStarted
    | CellEnded
    | FinishHeld
    | TurnEnded
    | LimitReached
    | RunEnded
)
PASSING = (DataLoading, OutputAdded, TextAdded, CallsAsked)
"""Events that only listeners see."""
